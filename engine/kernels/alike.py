"""The short way through a record that is shaped as an earlier one: only its values are read.

A producer writes its records alike: the same keys in the same order with the same spaces. What
lies around the four values, the literals, is compared with a record that the grammar has accepted;
then each value is read as a plain integer, a plain address, `click` or `view`. Where all agree, the
grammar would have come to the same event. Anything else, good or bad, is left to it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import MAPPED, Bytes, parse_address, scan_v4
from engine.kernels.compiled import kernel
from engine.kernels.fields import (
    CATEGORY,
    CLICK,
    CLICK_WORD,
    IP,
    TIME,
    TYPE,
    UNKNOWN,
    VIEW,
    VIEW_WORD,
)
from engine.kernels.json_text import BACKSLASH, QUOTE, is_word

# A shape, int64[14], tells of a record in the same buffer where its five literals begin and end
# (two entries each), and then which field each of the four values is; it begins with -1 if unknown.
N_VALUES = 4
VALUE_FIELDS = 2 * (N_VALUES + 1)
SHAPE_SIZE = VALUE_FIELDS + N_VALUES

MAX_DIGITS = 18  # so many always fit int64
_ZERO, _NINE, _SPACE, _DELETE = 48, 57, 32, 127

Shape = NDArray[np.int64]
Alike = tuple[bool, np.int64, np.int64, np.uint64, np.uint64, int]


@kernel
def unknown_shape() -> Shape:
    """Return a shape that no record has."""
    return np.full(SHAPE_SIZE, -1, np.int64)


@kernel
def learn(buffer: Bytes, start: int, end: int, places: NDArray[np.int64], shape: Shape) -> None:
    """Take over the shape of an accepted record; places[field] is where a value begins (int64)."""
    for k in range(N_VALUES):
        at = k
        while at > 0 and places[shape[VALUE_FIELDS + at - 1]] > places[k]:
            shape[VALUE_FIELDS + at] = shape[VALUE_FIELDS + at - 1]
            at -= 1
        shape[VALUE_FIELDS + at] = k
    for k in range(N_VALUES):
        field = shape[VALUE_FIELDS + k]
        value = places[field]
        if field == IP or field == TYPE:
            value += 1
        shape[2 * k], shape[2 * k + 1] = start, value
        start = value_end(buffer, value, field)
    shape[2 * N_VALUES], shape[2 * N_VALUES + 1] = start, end


@kernel
def value_end(buffer: Bytes, i: int, field: int) -> int:
    """Return where the value of an accepted record ends: at the quote, or after the digits."""
    if field == IP or field == TYPE:
        while buffer[i] != QUOTE:
            i += 1
        return i
    if not _ZERO <= buffer[i] <= _NINE:  # a sign
        i += 1
    while _ZERO <= buffer[i] <= _NINE:
        i += 1
    return i


@kernel
def skip_literal(buffer: Bytes, i: int, end: int, first: int, last: int) -> int:
    """Return the position after the literal buffer[first:last] if it is at i, or -1."""
    n_bytes = last - first
    if i + n_bytes > end:
        return -1
    for k in range(n_bytes):
        if buffer[i + k] != buffer[first + k]:
            return -1
    return i + n_bytes


@kernel
def read_digits(buffer: Bytes, i: int, end: int) -> tuple[int, np.int64]:
    """Return (position after, value) of a whole number without a sign, or (-1, 0)."""
    first, value = i, np.int64(0)
    while i < end and _ZERO <= buffer[i] <= _NINE:
        value = value * 10 + (np.int64(buffer[i]) - _ZERO)
        i += 1
    n_digits = i - first
    if n_digits == 0 or n_digits > MAX_DIGITS or (n_digits > 1 and buffer[first] == _ZERO):
        return -1, np.int64(0)
    return i, value


@kernel
def read_ip(buffer: Bytes, i: int, end: int) -> tuple[int, np.uint64, np.uint64]:
    """Return (position after, high, low) of an address up to a quote, or (-1, 0, 0)."""
    after, value = scan_v4(buffer, i, end)
    if 0 <= after < end and buffer[after] == QUOTE:
        return after, np.uint64(0), MAPPED | np.uint64(value)
    first = i
    while i < end and buffer[i] != QUOTE:
        if buffer[i] < _SPACE or buffer[i] >= _DELETE or buffer[i] == BACKSLASH:
            return -1, np.uint64(0), np.uint64(0)
        i += 1
    good, high, low = parse_address(buffer, first, i)
    return (i if good else -1), high, low


@kernel
def read_kind(buffer: Bytes, i: int, end: int) -> tuple[int, int]:
    """Return (position after, kind) of `click` or `view` up to a quote, or (-1, UNKNOWN)."""
    if is_word(buffer, i, end, CLICK_WORD):
        after, kind = i + len(CLICK_WORD), CLICK
    elif is_word(buffer, i, end, VIEW_WORD):
        after, kind = i + len(VIEW_WORD), VIEW
    else:
        return -1, UNKNOWN
    return (after, kind) if after < end and buffer[after] == QUOTE else (-1, UNKNOWN)


@kernel
def read_alike(buffer: Bytes, start: int, end: int, shape: Shape) -> Alike:
    """Return (has this shape, time, category, high, low, kind) of the record buffer[start:end]."""
    time = category = np.int64(0)
    high = low = np.uint64(0)
    kind, i = UNKNOWN, start
    if shape[0] < 0:
        return False, time, category, high, low, kind
    for k in range(N_VALUES):
        i = skip_literal(buffer, i, end, shape[2 * k], shape[2 * k + 1])
        if i < 0:
            break
        field = shape[VALUE_FIELDS + k]
        if field == TIME:
            i, time = read_digits(buffer, i, end)
        elif field == CATEGORY:
            i, category = read_digits(buffer, i, end)
        elif field == IP:
            i, high, low = read_ip(buffer, i, end)
        else:
            i, kind = read_kind(buffer, i, end)
        if i < 0:
            break
    if i >= 0:
        i = skip_literal(buffer, i, end, shape[2 * N_VALUES], shape[2 * N_VALUES + 1])
    return i >= 0 and i == end, time, category, high, low, kind
