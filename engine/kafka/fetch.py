"""How a consumer's messages are taken: the contract of a fetch, and the plain one.

The plain fetch works with every client library: it visits each message object once, by maps over
the methods of Message themselves, so that no frame of Python runs for a message. The native one,
`engine.kafka.native`, makes no objects at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import numpy as np
from confluent_kafka import Consumer, KafkaError, Message
from numpy.typing import NDArray

from engine.batch.decode import Records
from engine.sources import no_records

Messages = list[Message]


class Notice(NamedTuple):
    """What the client tells among the records: the end of a partition, or an error."""

    partition: int
    offset: int
    error: KafkaError


class Taken(NamedTuple):
    """Records in the order of their offsets, and what was told with them."""

    records: Records
    notices: list[Notice]

    @property
    def n_messages(self) -> int:
        """How many messages this was."""
        return len(self.records.offset) + len(self.notices)


class Fetch(Protocol):
    """Takes messages from a consumer and serves its callbacks, in the thread that owns it."""

    def attach(self, partitions: list[int]) -> None:
        """Prepare for these partitions, before they are assigned."""

    def take(self, linger_s: float) -> Taken:
        """Return what comes within that time, or earlier a full batch."""

    def serve(self, timeout_s: float) -> None:
        """Serve callbacks for up to that time; what comes meanwhile is kept for `take`."""

    def forget(self) -> None:
        """Drop what is kept: it is of an assignment that is over."""

    def close(self) -> None:
        """Let go of the consumer, before it is closed."""


class PlainFetch:
    """`Consumer.consume`, an object for each message."""

    def __init__(self, consumer: Consumer, *, max_events: int) -> None:
        """Nothing is kept."""
        self._consumer, self._max_events = consumer, max_events
        self._kept: Messages = []

    def attach(self, partitions: list[int]) -> None:
        """Nothing to prepare."""

    def take(self, linger_s: float) -> Taken:
        """Return what is kept and what comes within that time."""
        messages = self._kept + self._consumer.consume(self._max_events, linger_s)
        self._kept = []
        return taken(messages)

    def serve(self, timeout_s: float) -> None:
        """Serve callbacks; keep a message that comes before a pause has reached the client."""
        message = self._consumer.poll(timeout_s)
        if message is not None:
            self._kept.append(message)

    def forget(self) -> None:
        """Drop what is kept."""
        self._kept = []

    def close(self) -> None:
        """Nothing to let go."""


def taken(messages: Messages) -> Taken:
    """Return messages as records, and apart from them what the client tells."""
    if not any(map(Message.error, messages)):
        return Taken(records_of(messages), [])
    notices = [
        Notice(m.partition() or 0, m.offset() or 0, error)
        for m in messages
        if (error := m.error()) is not None
    ]
    return Taken(records_of([m for m in messages if m.error() is None]), notices)


def records_of(messages: Messages) -> Records:
    """Return messages as records; a missing timestamp is now."""
    if not messages:
        return no_records()
    values, sizes = values_of(messages)
    starts = np.zeros(len(sizes), np.int64)
    np.cumsum(np.maximum(sizes[:-1], 0), out=starts[1:])
    stamps = column(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, len(messages))
    return Records(
        np.frombuffer(b"".join(values) or b"\n", np.uint8),
        starts,
        starts + sizes,
        column(map(Message.partition, messages), np.int32, len(values)),
        column(map(Message.offset, messages), np.int64, len(values)),
        stamped(stamps),
        np.frombuffer(messages[0].key() or b"", np.uint8),
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


def stamped(timestamps_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put the time now where a record has no timestamp (-1)."""
    if (timestamps_ms < 0).any():
        timestamps_ms[timestamps_ms < 0] = int(time.time() * 1000)
    return timestamps_ms
