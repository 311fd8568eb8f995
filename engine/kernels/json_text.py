"""The grammar of RFC 8259 over bytes: each function takes a position and returns the one after.

-1 means that the text is not JSON there. Strings must be valid UTF-8 without raw control
characters; containers nest at most MAX_DEPTH deep. Values are skipped here, never built.
"""

from __future__ import annotations

import numpy as np

from engine.kernels.address import Bytes
from engine.kernels.compiled import kernel

MAX_DEPTH = 64

QUOTE, BACKSLASH, COMMA, COLON, MINUS, DOT = 34, 92, 44, 58, 45, 46
OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = 123, 125, 91, 93
_ZERO, _NINE, _SPACE, _U = 48, 57, 32, 117


@kernel
def skip_space(buffer: Bytes, i: int, end: int) -> int:
    """Return the first position at or after i that is not JSON whitespace."""
    while i < end:
        byte = buffer[i]
        if byte > _SPACE or not (byte == _SPACE or byte == 10 or byte == 13 or byte == 9):
            break
        i += 1
    return i


@kernel
def utf8_length(buffer: Bytes, i: int, end: int) -> int:
    """Return the length of the multi-byte UTF-8 sequence at i, or 0 (Unicode 15, table 3-7)."""
    lead = buffer[i]
    low, high = 0x80, 0xBF
    if 0xC2 <= lead <= 0xDF:
        length = 2
    elif 0xE0 <= lead <= 0xEF:
        length = 3
        low = 0xA0 if lead == 0xE0 else low
        high = 0x9F if lead == 0xED else high
    elif 0xF0 <= lead <= 0xF4:
        length = 4
        low = 0x90 if lead == 0xF0 else low
        high = 0x8F if lead == 0xF4 else high
    else:
        return 0
    if i + length > end or not low <= buffer[i + 1] <= high:
        return 0
    for k in range(i + 2, i + length):
        if not 0x80 <= buffer[k] <= 0xBF:
            return 0
    return length


@kernel
def escape_length(buffer: Bytes, i: int, end: int) -> int:
    """Return the length of the escape at the backslash i, or 0."""
    if i + 1 >= end:
        return 0
    kind = buffer[i + 1]
    if kind == _U:
        if i + 6 > end:
            return 0
        for k in range(i + 2, i + 6):
            byte = buffer[k]
            lower = byte | 0x20
            if not (_ZERO <= byte <= _NINE or 97 <= lower <= 102):
                return 0
        return 6
    for plain in (QUOTE, BACKSLASH, 47, 98, 102, 110, 114, 116):  # " \ / b f n r t
        if kind == plain:
            return 2
    return 0


@kernel
def skip_string(buffer: Bytes, i: int, end: int) -> tuple[int, bool]:
    """Return (position after the closing quote or -1, has an escape); i is behind the first."""
    escaped = False
    while i < end:
        byte = buffer[i]
        if byte == QUOTE:
            return i + 1, escaped
        length = 1
        if byte >= 0x80:
            length = utf8_length(buffer, i, end)
        elif byte == BACKSLASH:
            escaped = True
            length = escape_length(buffer, i, end)
        elif byte < _SPACE:
            length = 0
        if length == 0:
            return -1, escaped
        i += length
    return -1, escaped


@kernel
def skip_digits(buffer: Bytes, i: int, end: int) -> int:
    """Return the position after one or more digits, or -1."""
    first = i
    while i < end and _ZERO <= buffer[i] <= _NINE:
        i += 1
    return i if i > first else -1


@kernel
def skip_number(buffer: Bytes, i: int, end: int) -> tuple[int, bool]:
    """Return (position after the number or -1, is an integer literal)."""
    if i < end and buffer[i] == MINUS:
        i += 1
    first = i
    i = skip_digits(buffer, i, end)
    if i < 0 or (buffer[first] == _ZERO and i > first + 1):
        return -1, False
    whole = True
    if i < end and buffer[i] == DOT:
        whole = False
        i = skip_digits(buffer, i + 1, end)
        if i < 0:
            return -1, False
    if i < end and (buffer[i] | 0x20) == 101:  # e
        whole = False
        i += 1
        if i < end and (buffer[i] == 43 or buffer[i] == MINUS):
            i += 1
        i = skip_digits(buffer, i, end)
    return i, whole


@kernel
def is_word(buffer: Bytes, i: int, end: int, word: tuple[int, ...]) -> bool:
    """Return True where the bytes at i are those of `word` (a tuple of bytes)."""
    if i + len(word) > end:
        return False
    for k in range(len(word)):
        if buffer[i + k] != word[k]:
            return False
    return True


TRUE, FALSE, NULL = (116, 114, 117, 101), (102, 97, 108, 115, 101), (110, 117, 108, 108)


@kernel
def skip_scalar(buffer: Bytes, i: int, end: int) -> int:
    """Return the position after a string, number, true, false or null; or -1."""
    byte = buffer[i]
    if byte == QUOTE:
        return skip_string(buffer, i + 1, end)[0]
    if byte == MINUS or _ZERO <= byte <= _NINE:
        return skip_number(buffer, i, end)[0]
    if is_word(buffer, i, end, TRUE) or is_word(buffer, i, end, NULL):
        return i + 4
    return i + 5 if is_word(buffer, i, end, FALSE) else -1


@kernel
def skip_key(buffer: Bytes, i: int, end: int) -> tuple[int, int, bool]:
    """Return (position of the value after the key at i, or -1; end of the key; escaped)."""
    if i >= end or buffer[i] != QUOTE:
        return -1, -1, False
    i, escaped = skip_string(buffer, i + 1, end)
    if i < 0:
        return -1, -1, False
    key_end = i - 1
    i = skip_space(buffer, i, end)
    if i >= end or buffer[i] != COLON:
        return -1, -1, False
    return skip_space(buffer, i + 1, end), key_end, escaped


@kernel
def skip_value(buffer: Bytes, i: int, end: int, depth: int) -> int:
    """Return the position after the value at i, or -1; `depth` containers are open around it."""
    kinds, n_open = np.uint64(0), 0  # one bit for each container opened here: 1 is an object
    while True:
        if i >= end:
            return -1
        byte = buffer[i]
        closed = False
        if byte == OPEN_OBJECT or byte == OPEN_ARRAY:
            if depth + n_open >= MAX_DEPTH:
                return -1
            kinds = (kinds << np.uint64(1)) | np.uint64(byte == OPEN_OBJECT)
            n_open += 1
            i = skip_space(buffer, i + 1, end)
            closed = i < end and buffer[i] == byte + 2
            if not closed:
                if byte == OPEN_OBJECT:
                    i = skip_key(buffer, i, end)[0]
                    if i < 0:
                        return -1
                continue
        else:
            i = skip_scalar(buffer, i, end)
            if i < 0:
                return -1
        while True:
            if closed:
                i += 1
                kinds >>= np.uint64(1)
                n_open -= 1
            if n_open == 0:
                return i
            i = skip_space(buffer, i, end)
            if i >= end:
                return -1
            in_object = (kinds & np.uint64(1)) == np.uint64(1)
            closed = buffer[i] == (CLOSE_OBJECT if in_object else CLOSE_ARRAY)
            if not closed:
                break
        if buffer[i] != COMMA:
            return -1
        i = skip_space(buffer, i + 1, end)
        if in_object:
            i = skip_key(buffer, i, end)[0]
            if i < 0:
                return -1
