"""Records with a key and a timestamp of their own: produced by librdkafka itself, or plainly.

The client's `produce` makes an object for each part of a record and takes two CPU seconds for a
million; its `produce_batch` knows no timestamps. So the native way is one loop without Python over
`rd_kafka_produceva` (rdkafka.h), tried out before it is trusted.
"""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from numpy.typing import NDArray

from engine.kafka.librdkafka import OBJECT_HEADER_BYTES, POINTER, TEXT, Unusable, load
from engine.kafka.messages import call_with_three
from engine.kernels.address import MAX_TEXT_BYTES, put_address
from engine.kernels.compiled import kernel

log = logging.getLogger(__name__)

Blocks = Mapping[int, NDArray[np.uint8]]

# rd_kafka_vu_t as words of 8 bytes: a type, and a union of 64 bytes
WORDS = 9
RKT, VALUE, KEY, FLAGS, TIMESTAMP = 2, 4, 5, 7, 8
COPY = 2  # RD_KAFKA_MSG_F_COPY: the value is ours again at once
ROOM_S = 0.1
SYMBOLS: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_topic_new": (POINTER, [POINTER, TEXT, POINTER]),
    "rd_kafka_topic_destroy": (None, [POINTER]),
    "rd_kafka_produceva": (POINTER, [POINTER, POINTER, ctypes.c_size_t]),
    "rd_kafka_error_code": (ctypes.c_int, [POINTER]),
    "rd_kafka_error_string": (TEXT, [POINTER]),
    "rd_kafka_error_destroy": (None, [POINTER]),
}
TRIAL_TOPIC, TRIAL_S, N_TRIES = "trial", 0.5, 20


class Produce(Protocol):
    """Queues records; what becomes of them is told by the end of the transaction."""

    def send(self, rows: pl.DataFrame, blocks: Blocks) -> None:
        """Queue rows of `engine.batch.merge.ROWS` in their order; wait while there is no room."""

    def close(self) -> None:
        """Let go of the producer."""


class PlainProduce:
    """`Producer.produce` for each record."""

    def __init__(self, producer: Producer, topic: str) -> None:
        """Nothing is queued."""
        self._producer, self._topic = producer, topic

    def send(self, rows: pl.DataFrame, blocks: Blocks) -> None:
        """Queue the rows."""
        names = ("block", "start", "end", "high", "low", "is_event", "timestamp_ms")
        for block, start, end, high, low, is_event, stamp_ms in rows.select(names).iter_rows():
            value = None if end < start else blocks[block][start:end].tobytes()
            self._queue(value, address_text(high, low) if is_event else None, stamp_ms)
        self._producer.poll(0)

    def _queue(self, value: bytes | None, key: bytes | None, stamp_ms: int) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, timestamp=stamp_ms)
            except BufferError:
                self._producer.poll(ROOM_S)
                continue
            return

    def close(self) -> None:
        """Nothing to let go."""


def address_text(high: int, low: int) -> bytes:
    """Return the canonical text of an address."""
    out = np.empty(MAX_TEXT_BYTES, np.uint8)
    return out[: put_address(out, 0, np.uint64(high), np.uint64(low))].tobytes()


class Columns(NamedTuple):
    """Rows to produce: block is an index into the addresses of the blocks."""

    block: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    is_event: NDArray[np.bool_]
    timestamp_ms: NDArray[np.int64]


class NativeProduce:
    """Records straight to librdkafka."""

    def __init__(self, library: ctypes.CDLL, producer: Producer, topic: str) -> None:
        """Make a handle of the topic; nothing is queued."""
        self._library, self._producer = library, producer
        self._client = POINTER.from_address(id(producer) + OBJECT_HEADER_BYTES).value or 0
        self._topic = library.rd_kafka_topic_new(self._client, topic.encode(), None)
        if not self._topic:
            problem = f"no handle of topic '{topic}'"
            raise Unusable(problem)
        self._function = ctypes.cast(library.rd_kafka_produceva, POINTER).value or 0

    def send(self, rows: pl.DataFrame, blocks: Blocks) -> None:
        """Queue the rows; raise KafkaException where the client refuses one."""
        names = sorted(blocks)
        addresses = np.array([blocks[name].ctypes.data for name in names], np.int64)
        columns = Columns(*(np.array(rows[name].to_numpy()) for name in Columns._fields))
        columns = columns._replace(block=np.searchsorted(names, columns.block))
        done, error = 0, 0
        while done < len(rows):
            done, error = queue_rows(
                self._function, self._client, self._topic, addresses, columns, done
            )
            if error:
                self._make_room(error)
        self._producer.poll(0)

    def _make_room(self, error: int) -> None:
        """Wait a moment where the queue is full; raise any other error."""
        library = self._library
        code, text = library.rd_kafka_error_code(error), library.rd_kafka_error_string(error)
        library.rd_kafka_error_destroy(error)
        if code != KafkaError._QUEUE_FULL:  # noqa: SLF001
            raise KafkaException(KafkaError(code, text.decode("utf-8", "replace")))
        self._producer.poll(ROOM_S)

    def close(self) -> None:
        """Give the topic's handle back."""
        self._library.rd_kafka_topic_destroy(self._topic)


@kernel
def queue_rows(
    function: int,
    client: int,
    topic: int,
    addresses: NDArray[np.int64],
    rows: Columns,
    first: int,
) -> tuple[int, int]:
    """Queue rows from `first` on; return how far it went and the error that ended it, or 0.

    `function` is the address of rd_kafka_produceva; `addresses` are those of the blocks.
    """
    parts, text = np.zeros((5, WORDS), np.int64), np.empty(MAX_TEXT_BYTES, np.uint8)
    parts[:, 0] = np.array([RKT, VALUE, KEY, FLAGS, TIMESTAMP])
    parts[0, 1], parts[3, 1] = topic, COPY
    for i in range(first, len(rows.block)):
        size = rows.end[i] - rows.start[i]
        parts[1, 1] = addresses[rows.block[i]] + rows.start[i] if size >= 0 else 0
        parts[1, 2] = max(size, 0)
        parts[2, 1] = parts[2, 2] = 0
        if rows.is_event[i]:
            parts[2, 1] = text.ctypes.data
            parts[2, 2] = put_address(text, 0, rows.high[i], rows.low[i])
        parts[4, 1] = rows.timestamp_ms[i]
        error = call_with_three(function, client, parts.ctypes.data, len(parts))
        if error != 0:
            return i, error
    return len(rows.block), 0


def open_produce(producer: Producer, topic: str, *, drain: str) -> Produce:
    """Return the native way, or the plain one where that is wanted or all that works."""
    if drain == "auto":
        try:
            library = declared(load())
            check(library)
            return NativeProduce(library, producer, topic)
        except (Unusable, KafkaException) as problem:
            log.warning("source.drain: records are produced one by one: %s", problem)
    return PlainProduce(producer, topic)


def declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Return the library with what is used here declared; raise Unusable where it lacks any."""
    try:
        for name, (result, arguments) in SYMBOLS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise Unusable(str(error)) from None
    return library


def check(library: ctypes.CDLL) -> None:
    """Produce a few records to a broker in this process; raise Unusable where any is otherwise."""
    consumer = Consumer({"test.mock.num.brokers": 1, "group.id": TRIAL_TOPIC, "log_level": 0})
    try:
        found = consumer.list_topics(TRIAL_TOPIC, timeout=TRIAL_S * N_TRIES).brokers.values()
        (broker,) = found
        producer = Producer({"bootstrap.servers": f"{broker.host}:{broker.port}", "log_level": 0})
        wanted = produce_trial(NativeProduce(library, producer, TRIAL_TOPIC))
        producer.flush(TRIAL_S * N_TRIES)
        seen = read_trial(consumer, len(wanted))
    finally:
        consumer.close()
    if seen != wanted:
        problem = f"records of a trial came as {seen}"
        raise Unusable(problem)


Seen = tuple[bytes | None, bytes | None, int]


def produce_trial(produce: Produce) -> set[Seen]:
    """Produce the records of the trial; return them as they should be seen."""
    block, at_ms = np.frombuffer(b"firstlast", np.uint8), int(time.time() * 1000)
    columns: dict[str, list[Any]] = {
        "block": [7, 7, 7],
        "start": [0, 5, 9],
        "end": [5, 9, 8],
        "high": [0, 0x20010DB8 << 32, 0],
        "low": [0xFFFF << 32 | 0xC0000201, 1, 0],
        "is_event": [True, True, False],
        "timestamp_ms": [at_ms, at_ms - 1, at_ms - 2],
    }
    kinds = {"high": pl.UInt64, "low": pl.UInt64}
    produce.send(pl.DataFrame(columns, schema_overrides=kinds), {7: block})
    produce.close()
    return {
        (b"192.0.2.1", b"first", at_ms),
        (b"2001:db8::1", b"last", at_ms - 1),
        (None, None, at_ms - 2),
    }


def read_trial(consumer: Consumer, n: int) -> set[Seen]:
    """Return (key, value, timestamp) of so many records, or of those that come in time."""
    parts = consumer.list_topics(TRIAL_TOPIC, timeout=TRIAL_S * N_TRIES).topics[TRIAL_TOPIC]
    consumer.assign([TopicPartition(TRIAL_TOPIC, p, 0) for p in parts.partitions])
    seen: set[Seen] = set()
    for _ in range(N_TRIES):
        for message in consumer.consume(n, TRIAL_S):
            if message.error() is None:
                seen.add((message.key(), message.value(), message.timestamp()[1]))
        if len(seen) >= n:
            break
    return seen
