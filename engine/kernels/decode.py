r"""Records to events in one pass over the bytes, without a parsed document in between.

Each record is judged alone, by its own bytes, so a bad one never touches its neighbours. The few
that hold an escape where we must read (`"\u0069p"`) get the status ESCAPED and are decoded by
`engine.batch.decode` through the standard library. Statuses index REASONS; 0 is an event.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Bytes, Int
from engine.kernels.alike import learn, read_alike, unknown_shape
from engine.kernels.compiled import kernel
from engine.kernels.fields import (
    ABSENT,
    BAD,
    CATEGORY,
    GOOD,
    HIDDEN,
    IP,
    PAYLOAD,
    TIME,
    TYPE,
    UNKNOWN,
    Fields,
    find_field,
    read_ip_field,
    read_number_field,
    read_type_field,
)
from engine.kernels.json_text import (
    CLOSE_OBJECT,
    COMMA,
    OPEN_OBJECT,
    skip_key,
    skip_space,
    skip_value,
)
from engine.kernels.noise import clean_bounds

REASONS = (
    "",
    "tombstone",
    "too_big",
    "blank",
    "not_json",
    "not_object",
    "missing_time",
    "bad_time",
    "time_unit",
    "missing_category",
    "bad_category",
    "missing_ip",
    "bad_ip",
    "missing_type",
    "bad_type",
    "future",
)
(OK, TOMBSTONE, TOO_BIG, BLANK, NOT_JSON, NOT_OBJECT, MISSING_TIME, BAD_TIME, TIME_UNIT) = range(9)
(MISSING_CATEGORY, BAD_CATEGORY, MISSING_IP, BAD_IP, MISSING_TYPE, BAD_TYPE, FUTURE) = range(9, 16)
ESCAPED = 255

MAX_RECORD_BYTES = 4096
MAX_TIME_S = 100_000_000_000


@kernel
def read_object(
    buffer: Bytes,
    i: int,
    end: int,
    depth: int,
    fields: Fields,
    states: Bytes,
    places: NDArray[np.int64],
) -> tuple[int, np.int64, np.int64, np.uint64, np.uint64, int, int]:
    """Read the members of the object whose brace is at i; the first of equal keys counts.

    Returns (position after or -1, time, category, high, low, kind, payload start), the last -1
    where there is no payload object. `states` (uint8[5]) gets the state of each field; HIDDEN in
    states[PAYLOAD] says that a key has an escape, so that any field may stand behind it. `places`
    (int64[5]) gets where the value of each field begins.
    """
    time = category = np.int64(0)
    high = low = np.uint64(0)
    kind, payload = UNKNOWN, -1
    states[:] = ABSENT
    i = skip_space(buffer, i + 1, end)
    if i < end and buffer[i] == CLOSE_OBJECT:
        return i + 1, time, category, high, low, kind, payload
    while True:
        key = i + 1
        i, key_end, escaped = skip_key(buffer, i, end)
        if i < 0 or i >= end:
            break
        field = find_field(buffer, key, key_end, fields)
        if escaped:
            states[PAYLOAD] = HIDDEN
        ignored = field < 0 or (states[field] != ABSENT and field != PAYLOAD)
        if not ignored:
            places[field] = i
        if ignored:
            i = skip_value(buffer, i, end, depth)
        elif field == TIME:
            i, states[TIME], time = read_number_field(buffer, i, end, depth)
        elif field == CATEGORY:
            i, states[CATEGORY], category = read_number_field(buffer, i, end, depth)
        elif field == IP:
            i, states[IP], high, low = read_ip_field(buffer, i, end, depth)
        elif field == TYPE:
            i, states[TYPE], kind = read_type_field(buffer, i, end, depth)
        else:
            if states[PAYLOAD] == ABSENT:
                states[PAYLOAD] = GOOD
                payload = i if buffer[i] == OPEN_OBJECT else -1
            i = skip_value(buffer, i, end, depth)
        if i < 0:
            break
        i = skip_space(buffer, i, end)
        if i >= end:
            break
        if buffer[i] == CLOSE_OBJECT:
            return i + 1, time, category, high, low, kind, payload
        if buffer[i] != COMMA:
            break
        i = skip_space(buffer, i + 1, end)
    return -1, time, category, high, low, kind, payload


@kernel
def is_usable(states: Bytes) -> bool:
    """Return True where at least one field could be used, so that the object is the event."""
    numbers = states[TIME] == GOOD or states[CATEGORY] == GOOD
    return bool(numbers or states[IP] >= GOOD or states[TYPE] >= GOOD)


@kernel
def field_status(states: Bytes, time: Int, kind: int, reject_unknown: bool) -> int:
    """Return the first reason why the fields are no event, or OK."""
    if states[TIME] != GOOD:
        return BAD_TIME if states[TIME] == BAD else MISSING_TIME
    if time <= 0:
        return BAD_TIME
    if time > MAX_TIME_S:
        return TIME_UNIT
    if states[CATEGORY] != GOOD:
        return BAD_CATEGORY if states[CATEGORY] == BAD else MISSING_CATEGORY
    if states[IP] != GOOD:
        return BAD_IP if states[IP] == BAD else MISSING_IP
    if states[TYPE] != GOOD:
        return MISSING_TYPE
    return BAD_TYPE if reject_unknown and kind == UNKNOWN else OK


@kernel
def read_record(
    buffer: Bytes,
    start: int,
    end: int,
    fields: Fields,
    states: Bytes,
    places: NDArray[np.int64],
) -> tuple[int, np.int64, np.int64, np.uint64, np.uint64, int]:
    """Return (status, time, category, high, low, kind) of the record buffer[start:end]."""
    nothing = (np.int64(0), np.int64(0), np.uint64(0), np.uint64(0), UNKNOWN)
    if end < start:
        return (TOMBSTONE, *nothing)
    if end - start > MAX_RECORD_BYTES:
        return (TOO_BIG, *nothing)
    start, end = clean_bounds(buffer, start, end)
    start = skip_space(buffer, start, end)
    if start == end:
        return (BLANK, *nothing)
    if buffer[start] != OPEN_OBJECT:
        after = skip_value(buffer, start, end, 0)
        whole = after >= 0 and skip_space(buffer, after, end) == end
        return (NOT_OBJECT if whole else NOT_JSON, *nothing)
    after, time, category, high, low, kind, payload = read_object(
        buffer, start, end, 1, fields, states, places
    )
    if after < 0 or skip_space(buffer, after, end) != end:
        return (NOT_JSON, *nothing)
    hidden = states[PAYLOAD] == HIDDEN
    if payload >= 0 and not hidden and not is_usable(states):
        after, time, category, high, low, kind, payload = read_object(
            buffer, payload, end, 2, fields, states, places
        )
        hidden = states[PAYLOAD] == HIDDEN
    if hidden or states[IP] == HIDDEN or states[TYPE] == HIDDEN:
        return (ESCAPED, *nothing)
    status = field_status(states, time, kind, fields.reject_unknown)
    return status, time, category, high, low, kind


class Decoded(NamedTuple):
    """One entry a record: int64 seconds, int64, two uint64 words, uint8 kind, uint8 status."""

    time: NDArray[np.int64]
    category: NDArray[np.int64]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    status: NDArray[np.uint8]


@kernel
def decode_records(
    buffer: Bytes,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    timestamps_ms: NDArray[np.int64],
    fields: Fields,
    max_future_ms: int,
) -> Decoded:
    """Decode the records buffer[starts[i]:ends[i]]; an end before its start is a null value.

    buffer is uint8[:] (read-only), starts, ends and timestamps_ms are int64[n].
    """
    n = len(starts)
    time, category = np.empty(n, np.int64), np.empty(n, np.int64)
    high, low = np.empty(n, np.uint64), np.empty(n, np.uint64)
    kinds, status = np.empty(n, np.uint8), np.empty(n, np.uint8)
    states, places, shape = np.empty(5, np.uint8), np.empty(5, np.int64), unknown_shape()
    for i in range(n):
        start, end, code = starts[i], ends[i], OK
        alike, time[i], category[i], high[i], low[i], kinds[i] = read_alike(
            buffer, start, end, shape
        )
        if not alike or not 0 < time[i] <= MAX_TIME_S or end - start > MAX_RECORD_BYTES:
            code, time[i], category[i], high[i], low[i], kinds[i] = read_record(
                buffer, start, end, fields, states, places
            )
            if code == OK and kinds[i] != UNKNOWN:
                learn(buffer, start, end, places, shape)
        if code == OK and time[i] * 1000 > timestamps_ms[i] + max_future_ms:
            code = FUTURE
        status[i] = code
    return Decoded(time, category, high, low, kinds, status)
