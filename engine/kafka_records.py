"""Kafka messages as records: the plain path, which visits each message object once."""

from __future__ import annotations

import time

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from engine.batch.decode import Records
from engine.sources import no_records


def records_of(messages: list[Message]) -> Records:
    """Return messages as records; a missing timestamp is now."""
    if not messages:
        return no_records()
    n = len(messages)
    values = [m.value() for m in messages]
    sizes = np.fromiter((-1 if v is None else len(v) for v in values), np.int64, n)
    starts = np.zeros(n, np.int64)
    np.cumsum(np.maximum(sizes[:-1], 0), out=starts[1:])
    return Records(
        np.frombuffer(b"".join(v or b"" for v in values) or b"\n", np.uint8),
        starts,
        starts + sizes,
        np.fromiter((m.partition() or 0 for m in messages), np.int32, n),
        np.fromiter((m.offset() or 0 for m in messages), np.int64, n),
        timestamps_ms(messages),
    )


def timestamps_ms(messages: list[Message]) -> NDArray[np.int64]:
    """Return the record timestamps; now where a record has none."""
    stamps = np.fromiter((m.timestamp()[1] for m in messages), np.int64, len(messages))
    if (stamps < 0).any():
        stamps[stamps < 0] = int(time.time() * 1000)
    return stamps
