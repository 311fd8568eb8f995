"""Kafka messages as records: the plain path, which visits each message object once.

Everything is mapped over the methods of Message themselves: no frame of Python runs for a message.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from engine.batch.decode import Records
from engine.sources import no_records

Messages = list[Message]


def without_errors(messages: Messages) -> tuple[Messages, Messages]:
    """Return (records, events of the client such as the end of a partition)."""
    if not any(map(Message.error, messages)):
        return messages, []
    errors = [m for m in messages if m.error() is not None]
    return [m for m in messages if m.error() is None], errors


def records_of(messages: Messages) -> Records:
    """Return messages as records; a missing timestamp is now."""
    if not messages:
        return no_records()
    values, sizes = values_of(messages)
    starts = np.zeros(len(sizes), np.int64)
    np.cumsum(np.maximum(sizes[:-1], 0), out=starts[1:])
    return Records(
        np.frombuffer(b"".join(values) or b"\n", np.uint8),
        starts,
        starts + sizes,
        column(map(Message.partition, messages), np.int32, len(values)),
        column(map(Message.offset, messages), np.int64, len(values)),
        timestamps_ms(messages),
    )


def values_of(messages: Messages) -> tuple[list[bytes], NDArray[np.int64]]:
    """Return the value of each message and its length, -1 for a null one."""
    values: list[Any] = list(map(Message.value, messages))
    try:
        return values, np.array(list(map(len, values)), np.int64)
    except TypeError:
        sizes = [-1 if value is None else len(value) for value in values]
        return [value or b"" for value in values], np.array(sizes, np.int64)


def column(numbers: Iterable[Any], dtype: Any, n: int) -> NDArray[Any]:
    """Return n numbers as an array."""
    return np.fromiter(numbers, dtype, n)


def timestamps_ms(messages: Messages) -> NDArray[np.int64]:
    """Return the record timestamps; now where a record has none."""
    stamps = column(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, len(messages))
    if (stamps < 0).any():
        stamps[stamps < 0] = int(time.time() * 1000)
    return stamps
