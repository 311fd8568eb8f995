"""Records to an EVENT frame and a REJECT frame; each record is judged by its own bytes alone.

The kernel decodes all but the rare records that hide a key or a value behind a JSON escape; those
go through the standard library here, with the same rules (the first of equal keys counts).
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.kernels import decode as kernel
from engine.kernels import fields as field
from engine.kernels.address import parse_address
from engine.kernels.frozen import frozen

EVENT_SCHEMA = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "timestamp_ms": pl.Int64,
    "time": pl.Int64,
    "category": pl.Int64,
    "high": pl.UInt64,
    "low": pl.UInt64,
    "kind": pl.UInt8,
}
NO_EVENTS = pl.DataFrame(schema=EVENT_SCHEMA)
NO_REJECTS = pl.DataFrame(
    schema={"partition": pl.Int32, "offset": pl.Int64, "reason": pl.String, "value": pl.Binary}
)
SHOWN_BYTES = 200
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


NO_KEY = np.zeros(0, np.uint8)


class Records(NamedTuple):
    """Raw records: record i is buffer[starts[i]:ends[i]], a null value where ends[i] < starts[i].

    All arrays have one entry a record: int64, but partition int32. first_key: the key of the first
    record, empty where it has none.
    """

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    timestamp_ms: NDArray[np.int64]
    first_key: NDArray[np.uint8] = NO_KEY

    def value(self, i: int, most: int | None = None) -> bytes:
        """Return the bytes of record i as they came, or the first of them; none of a null value."""
        if self.ends[i] < self.starts[i]:
            return b""
        return self.buffer[self.starts[i] : self.ends[i]][:most].tobytes()


class DecodeOptions(NamedTuple):
    """What decoding depends on."""

    fields: field.Fields
    max_future_ms: int
    skip_blank: bool = False


def decode_options(
    *,
    names: tuple[str, str, str, str],
    reject_unknown: bool,
    max_future_s: int,
    skip_blank: bool = False,
) -> DecodeOptions:
    """Return options for the field names of time, category, ip and type.

    `skip_blank`: blank records are nothing at all (the empty lines of a file), not rejects.
    """
    encoded = [name.encode() for name in (*names, "payload")]
    joined = np.frombuffer(b"".join(encoded), np.uint8)
    ends = np.cumsum([len(name) for name in encoded]).astype(np.int64)
    fields = field.Fields(joined, ends, reject_unknown)
    return DecodeOptions(fields, max_future_s * 1000, skip_blank)


class DecodedBatch(NamedTuple):
    """Events in record order; rejects (partition, offset, reason, value); unknown types counted.

    Of a rejected value there are the first SHOWN_BYTES: it may be as long as Kafka takes.
    """

    events: pl.DataFrame
    rejects: pl.DataFrame
    n_unknown_type: int


def decode(records: Records, options: DecodeOptions) -> DecodedBatch:
    """Return every record as an event or as a reject with its reason."""
    decoded = kernel.decode_records(
        frozen(records.buffer),
        frozen(records.starts),
        frozen(records.ends),
        frozen(records.timestamp_ms),
        options.fields,
        options.max_future_ms,
    )
    for i in np.flatnonzero(decoded.status == kernel.ESCAPED):
        _decode_escaped(records, int(i), decoded, options)
    good = decoded.status == kernel.OK
    events = _event_frame(records, decoded)
    if not good.all():
        events = events.filter(pl.Series(good))
    n_unknown = int(np.count_nonzero(decoded.kind[good] == field.UNKNOWN))
    bad = ~good
    if options.skip_blank:
        bad &= decoded.status != kernel.BLANK
    return DecodedBatch(events, _reject_frame(records, decoded.status, bad), n_unknown)


def _event_frame(records: Records, decoded: kernel.Decoded) -> pl.DataFrame:
    columns = {
        "partition": records.partition,
        "offset": records.offset,
        "timestamp_ms": records.timestamp_ms,
        "time": decoded.time,
        "category": decoded.category,
        "high": decoded.high,
        "low": decoded.low,
        "kind": decoded.kind,
    }
    return pl.DataFrame(columns, schema=EVENT_SCHEMA)


def _reject_frame(
    records: Records, status: NDArray[np.uint8], bad: NDArray[np.bool_]
) -> pl.DataFrame:
    rows = np.flatnonzero(bad)
    if not len(rows):
        return NO_REJECTS
    columns = {
        "partition": records.partition[rows],
        "offset": records.offset[rows],
        "reason": [kernel.REASONS[code] for code in status[rows]],
        "value": [records.value(i, SHOWN_BYTES) for i in rows.tolist()],
    }
    return pl.DataFrame(columns, schema=NO_REJECTS.schema)


def _decode_escaped(
    records: Records, i: int, decoded: kernel.Decoded, options: DecodeOptions
) -> None:
    """Decode record i, whose grammar the kernel has checked, by the standard library."""
    fields = options.fields
    names = bytes(fields.names).decode()
    ends = [0, *fields.ends.tolist()]
    time_key, category_key, ip_key, type_key, _ = (
        names.encode()[a:b].decode() for a, b in zip(ends, ends[1:], strict=False)
    )
    text = records.value(i).decode().strip(" \t\r\n[],")
    members = json.loads(text, object_pairs_hook=_first_wins)
    payload = members.get("payload")
    keys = (time_key, category_key, ip_key, type_key)
    if isinstance(payload, dict) and not _is_usable(members, keys):
        members = payload
    time, category, ip, kind = (members.get(key) for key in keys)
    states = np.full(5, field.ABSENT, np.uint8)
    for which, value in enumerate((time, category)):
        good = _is_int64(value)
        states[which] = field.GOOD if good else field.NULLED if value is None else field.BAD
    good_ip, high, low = _parse_ip(ip)
    states[field.IP] = field.GOOD if good_ip else field.NULLED if ip is None else field.BAD
    states[field.TYPE] = field.NULLED if kind is None else field.GOOD
    code = {"click": field.CLICK, "view": field.VIEW}.get(
        kind if isinstance(kind, str) else "", field.UNKNOWN
    )
    decoded.time[i] = time if states[field.TIME] == field.GOOD else 0
    decoded.category[i] = category if states[field.CATEGORY] == field.GOOD else 0
    decoded.high[i], decoded.low[i], decoded.kind[i] = high, low, code
    status = kernel.field_status(states, decoded.time[i], code, fields.reject_unknown)
    late_ms = int(decoded.time[i]) * 1000 - int(records.timestamp_ms[i])
    if status == kernel.OK and late_ms > options.max_future_ms:
        status = kernel.FUTURE
    decoded.status[i] = status


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        members.setdefault(key, value)
    return members


def _is_int64(value: object) -> bool:
    return type(value) is int and INT64_MIN <= value <= INT64_MAX


def _is_usable(members: dict[str, Any], keys: tuple[str, str, str, str]) -> bool:
    time, category, ip, kind = (members.get(key) for key in keys)
    return _is_int64(time) or _is_int64(category) or ip is not None or kind is not None


def _parse_ip(value: object) -> tuple[bool, int, int]:
    if not isinstance(value, str) or not value.isascii():
        return False, 0, 0
    text = np.frombuffer(value.encode() or b" ", np.uint8)
    good, high, low = parse_address(text, 0, len(text))
    return bool(good), int(high), int(low)
