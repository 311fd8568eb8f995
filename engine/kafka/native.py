"""The native fetch: batches straight from librdkafka, tried out before it is trusted.

Partitions are forwarded to a queue of our own before they are assigned; the client's own queue is
still polled, since rebalances and errors come there. Where anything about it is not as expected,
the plain fetch does the same work with more CPU.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from numpy.typing import NDArray

from engine.batch.decode import NO_KEY, Records
from engine.config import BatchConf
from engine.kafka.fetch import Fetch, Notice, PlainFetch, Taken
from engine.kafka.librdkafka import Queue, Unusable, error_of, load
from engine.source_config import KafkaConf

log = logging.getLogger(__name__)

TRIAL_TOPIC = "trial"
TRIAL_VALUES = (b"first", b"", None, b"last")
TRIAL_TIME_MS = 1_700_000_000_000
TRIAL_CLIENT = {"log_level": 0, "group.id": "trial", "fetch.wait.max.ms": 10}
TRIAL_S, N_TRIES = 0.5, 20

Seen = tuple[bytes | None, int, int, int]
OnError = Callable[[KafkaError], None]


def open_fetch(consumer: Consumer, conf: KafkaConf, batch: BatchConf, on_error: OnError) -> Fetch:
    """Return the native fetch, or the plain one where that is wanted or all that works.

    `on_error` is the consumer's `error_cb`.
    """
    if conf.drain == "auto":
        try:
            library = load()
            check(library)
            return NativeFetch(
                library,
                consumer,
                topic=conf.topic,
                max_events=batch.max_events,
                on_error=on_error,
            )
        except (Unusable, KafkaException) as problem:
            log.warning("source.drain: native batches are off: %s; reading one by one", problem)
    return PlainFetch(consumer, max_events=batch.max_events)


class NativeFetch(PlainFetch):
    """Messages from a queue of our own; only what the client tells comes through the client."""

    def __init__(
        self,
        library: ctypes.CDLL,
        consumer: Consumer,
        *,
        topic: str,
        max_events: int,
        on_error: OnError,
    ) -> None:
        """Begin without the queue: the end of a client would wait for one that is not closed."""
        super().__init__(consumer, max_events=max_events)
        self._library, self._topic, self._on_error = library, topic, on_error
        self._queue: Queue | None = None

    def attach(self, partitions: list[int]) -> None:
        """Forward them; what was forwarded before it is assigned never takes the other way.

        The end of an earlier assignment takes a forwarding back, some time after `unassign`. A
        pause is served behind it and waited for, so that ours is the last word.
        """
        if self._queue is None:
            self._queue = Queue(
                self._library,
                self._consumer,
                capacity=self._max_events,
                on_error=self._on_error,
            )
        paused = [TopicPartition(self._topic, partition) for partition in partitions]
        self._consumer.pause(paused)
        for partition in partitions:
            self._queue.forward(self._topic, partition)
        self._consumer.resume(paused)

    def take(self, linger_s: float) -> Taken:
        """Return what the client has to tell, else what comes within that time."""
        if self._queue is None:
            return super().take(linger_s)
        self.serve(0)
        if self._kept:
            return super().take(0)
        return taken(*self._queue.take(linger_s))

    def close(self) -> None:
        """Destroy the queue."""
        if self._queue is not None:
            self._queue.close()


def taken(records: Records, error: NDArray[np.int32]) -> Taken:
    """Return messages as records, and apart from them what the client tells."""
    told = np.flatnonzero(error).tolist()
    if not told:
        return Taken(records, [])
    notices = [
        Notice(
            int(records.partition[i]),
            int(records.offset[i]),
            error_of(int(error[i]), records.value(i)),
        )
        for i in told
    ]
    buffer, good = records.buffer, error == 0
    partition, offset = records.partition[good], records.offset[good]
    bounds = records.starts[good], records.ends[good]
    key = records.first_key if good[0] else NO_KEY
    stamps = records.timestamp_ms[good]
    return Taken(Records(buffer, *bounds, partition, offset, stamps, key), notices)


def check(library: ctypes.CDLL) -> None:
    """Read a few records from a broker in this process; raise Unusable where any is not as sent.

    Raises KafkaException where that broker does not answer.
    """
    consumer = Consumer({"test.mock.num.brokers": 1, "enable.partition.eof": True, **TRIAL_CLIENT})
    try:
        _produce(consumer)
        found, ends = _read(library, consumer)
    finally:
        consumer.close()
    wanted = [
        (value, 0, offset, TRIAL_TIME_MS + offset) for offset, value in enumerate(TRIAL_VALUES)
    ]
    if found != wanted or ends != [(len(wanted), KafkaError._PARTITION_EOF)]:  # noqa: SLF001
        message = f"records of a trial came as {found} and {ends}"
        raise Unusable(message)


def _produce(consumer: Consumer) -> None:
    """Send the trial's records to the broker that lives in this consumer.

    The topic is there once it was asked for; else the client would look again a second later.
    """
    (broker,) = consumer.list_topics(TRIAL_TOPIC, timeout=TRIAL_S * N_TRIES).brokers.values()
    producer = Producer({"bootstrap.servers": f"{broker.host}:{broker.port}", "log_level": 0})
    for offset, value in enumerate(TRIAL_VALUES):
        producer.produce(TRIAL_TOPIC, value, partition=0, timestamp=TRIAL_TIME_MS + offset)
    producer.flush(TRIAL_S * N_TRIES)


def _read(library: ctypes.CDLL, consumer: Consumer) -> tuple[list[Seen], list[tuple[int, int]]]:
    """Return the trial's records, and (offset, code) of what was told behind them."""
    fetch = NativeFetch(
        library,
        consumer,
        topic=TRIAL_TOPIC,
        max_events=len(TRIAL_VALUES) + 1,
        on_error=lambda _error: None,  # what goes wrong is seen by what is missing
    )
    found: list[Seen] = []
    try:
        fetch.attach([0])
        consumer.assign([TopicPartition(TRIAL_TOPIC, 0, 0)])
        for _ in range(N_TRIES):
            records, told = fetch.take(TRIAL_S)
            found += seen(records)
            if told:
                return found, [(notice.offset, notice.error.code()) for notice in told]
    finally:
        fetch.close()  # else the end of the consumer would wait for it
    return found, []


def seen(records: Records) -> list[Seen]:
    """Return (value, partition, offset, timestamp) of each record."""
    null = records.ends < records.starts
    values = [None if null[i] else records.value(i) for i in range(len(null))]
    columns = (records.partition, records.offset, records.timestamp_ms)
    return list(zip(values, *(column.tolist() for column in columns), strict=True))
