"""The fields of an event: which one a key names, and what its value says.

Each value has a state: GOOD where it can be used, NULLED for null, BAD for what does not fit,
HIDDEN where an escape hides it. The states of a record tell why it is no event.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Bytes, parse_address
from engine.kernels.compiled import kernel
from engine.kernels.json_text import (
    MINUS,
    NULL,
    QUOTE,
    is_word,
    skip_number,
    skip_string,
    skip_value,
)

VIEW, CLICK, UNKNOWN = 0, 1, 2
MAX_INT_DIGITS = 19

# what is known of one field while its record is read
ABSENT, NULLED, GOOD, BAD, HIDDEN = 0, 1, 2, 3, 4
TIME, CATEGORY, IP, TYPE, PAYLOAD = 0, 1, 2, 3, 4

CLICK_WORD, VIEW_WORD = (99, 108, 105, 99, 107), (118, 105, 101, 119)


class Fields(NamedTuple):
    """What the decoder looks for: the five names, end to end, and where each one ends."""

    names: NDArray[np.uint8]
    ends: NDArray[np.int64]
    reject_unknown: bool


@kernel
def find_field(buffer: Bytes, start: int, end: int, fields: Fields) -> int:
    """Return which of the five fields the key buffer[start:end] names, or -1."""
    first = 0
    for field in range(5):
        last = fields.ends[field]
        if last - first == end - start:
            same = True
            for k in range(end - start):
                if buffer[start + k] != fields.names[first + k]:
                    same = False
                    break
            if same:
                return field
        first = last
    return -1


@kernel
def read_int(buffer: Bytes, i: int, end: int) -> tuple[bool, np.int64]:
    """Return (fits int64, value) of the integer literal buffer[i:end]."""
    negative = buffer[i] == MINUS
    if negative:
        i += 1
    if end - i > MAX_INT_DIGITS:
        return False, np.int64(0)
    value = np.uint64(0)
    for k in range(i, end):
        value = value * np.uint64(10) + np.uint64(buffer[k] - 48)
    limit = np.uint64(0x7FFFFFFFFFFFFFFF) + np.uint64(negative)
    if value > limit:
        return False, np.int64(0)
    return True, -np.int64(value) if negative else np.int64(value)


@kernel
def read_number_field(buffer: Bytes, i: int, end: int, depth: int) -> tuple[int, int, np.int64]:
    """Return (position after, state, value) of a time or a category."""
    if buffer[i] == MINUS or 48 <= buffer[i] <= 57:
        after, whole = skip_number(buffer, i, end)
        if after < 0 or not whole:
            return after, BAD, np.int64(0)
        fits, value = read_int(buffer, i, after)
        return after, GOOD if fits else BAD, value
    state = NULLED if is_word(buffer, i, end, NULL) else BAD
    return skip_value(buffer, i, end, depth), state, np.int64(0)


@kernel
def read_ip_field(
    buffer: Bytes, i: int, end: int, depth: int
) -> tuple[int, int, np.uint64, np.uint64]:
    """Return (position after, state, high, low) of an address."""
    if buffer[i] == QUOTE:
        after, escaped = skip_string(buffer, i + 1, end)
        if after < 0 or escaped:
            return after, HIDDEN, np.uint64(0), np.uint64(0)
        good, high, low = parse_address(buffer, i + 1, after - 1)
        return after, GOOD if good else BAD, high, low
    state = NULLED if is_word(buffer, i, end, NULL) else BAD
    return skip_value(buffer, i, end, depth), state, np.uint64(0), np.uint64(0)


@kernel
def read_type_field(buffer: Bytes, i: int, end: int, depth: int) -> tuple[int, int, int]:
    """Return (position after, state, kind) of a type."""
    if buffer[i] == QUOTE:
        after, escaped = skip_string(buffer, i + 1, end)
        if escaped:
            return after, HIDDEN, UNKNOWN
        n_bytes = after - i - 2
        if n_bytes == 5 and is_word(buffer, i + 1, end, CLICK_WORD):
            return after, GOOD, CLICK
        if n_bytes == 4 and is_word(buffer, i + 1, end, VIEW_WORD):
            return after, GOOD, VIEW
        return after, GOOD, UNKNOWN
    state = NULLED if is_word(buffer, i, end, NULL) else GOOD
    return skip_value(buffer, i, end, depth), state, UNKNOWN
