"""What tests do with a running Kafka: make topics, write and read records, look at commits."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from tests.services.process import wait_until

REQUEST_TIMEOUT_S = 30.0
OFFSETS_TOPIC = "__consumer_offsets"
OFFSET_KEYS = (b"\x00\x00", b"\x00\x01")
"""The versions of a key under which an offset is stored; others are about members."""

MOVING = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
)
MANY = {"queue.buffering.max.messages": "1000000", "compression.type": "lz4"}

Row = tuple[int, bytes | None, int | None, bytes | None]


class Commit(NamedTuple):
    """One commit as the broker stored it; the time is the broker's."""

    time_s: float
    partition: int
    offset: int


class KafkaClient:
    """Knows a Kafka by the address of its nodes."""

    bootstrap: str

    def __init__(self, bootstrap: str) -> None:
        """Nothing is connected yet."""
        self.bootstrap = bootstrap
        self._producers: dict[frozenset[tuple[str, str]], Producer] = {}
        self._asked: tuple[str, Consumer] | None = None

    def has_leaders(self) -> bool:
        """It lists its topics, and each partition has a leader."""
        try:
            topics = self.admin.list_topics(timeout=1.0).topics.values()
        except KafkaException:
            return False
        return all(part.leader >= 0 for topic in topics for part in topic.partitions.values())

    @cached_property
    def admin(self) -> AdminClient:
        """A client for all that has no method here."""
        return AdminClient(self._client(**{"reconnect.backoff.max.ms": "200"}))

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic, wait for its leaders, return its name; `retention_ms` = retention.ms."""
        new = NewTopic(name, num_partitions=partitions, config=dotted(config))
        self.admin.create_topics([new])[name].result(REQUEST_TIMEOUT_S)
        wait_until(
            lambda: self.has_leaders() and len(self.partitions(name)) == partitions,
            deadline_s=REQUEST_TIMEOUT_S,
            what=f"{partitions} partitions of {name}",
        )
        return name

    def partitions(self, topic: str) -> list[int]:
        """The partition numbers of a topic; none if it does not exist."""
        known = self.admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        return sorted(known[topic].partitions) if topic in known else []

    def produce(self, topic: str, rows: Iterable[Row], **settings: str) -> None:
        """Write (partition, value, timestamp_ms, key) in order; return when all are stored."""
        producer = self._producer(settings)
        failures: list[KafkaError] = []
        for partition, value, timestamp_ms, key in rows:
            send = {"value": value, "key": key, "partition": partition}
            if timestamp_ms is not None:
                send["timestamp"] = timestamp_ms
            _queue(producer, topic, send, failures)
        _flush(producer, failures)

    def produce_many(self, topic: str, partition: int, values: Iterable[str]) -> None:
        """Write so many values to a partition that they are queued by one call."""
        producer = self._producer(MANY)
        failures: list[KafkaError] = []
        messages = [{"value": value} for value in values]
        n_queued = producer.produce_batch(topic, messages, partition, on_delivery=_noting(failures))
        _flush(producer, failures)
        if n_queued != len(messages):
            message = f"{len(messages) - n_queued} records were not queued"
            raise RuntimeError(message)

    def records(self, topic: str) -> list[Message]:
        """Every committed record of a topic, by partition and offset."""
        settings = {"group.id": "tests", "enable.partition.eof": "true", "fetch.wait.max.ms": "10"}
        with Consumer(self._client(**settings)) as reader:
            parts = self.partitions(topic)
            reader.assign([TopicPartition(topic, part, 0) for part in parts])
            return sorted(
                _to_the_end(reader, len(parts)), key=lambda m: (m.partition(), m.offset())
            )

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """What a group committed, by partition: (offset, metadata); none where no commit is."""
        asked = [TopicPartition(topic, part) for part in self.partitions(topic)]
        reader = self._member_of(group)
        found = _by_its_coordinator(
            lambda: reader.committed(asked, timeout=REQUEST_TIMEOUT_S), group
        )
        return {
            part.partition: (part.offset, part.metadata or "")
            for part in found
            if part.offset != OFFSET_INVALID
        }

    def _member_of(self, group: str) -> Consumer:
        """Keep the consumer of the group that was asked for last; it never joins the group.

        The admin client has a call for this, which crashes the process where the coordinator has
        just moved (librdkafka #5040).
        """
        if self._asked is None or self._asked[0] != group:
            if self._asked is not None:
                self._asked[1].close()
            self._asked = group, Consumer(self._client(**{"group.id": group}))
        return self._asked[1]

    def commit_history(self, group: str, topic: str) -> list[Commit]:
        """Every commit of a group for a topic that the broker ever took, in its order."""
        wanted, found = _key_start(group, topic), []
        for record in self.records(OFFSETS_TOPIC):
            key, value = record.key() or b"", record.value()
            if value is not None and key[2:-4] == wanted and key[:2] in OFFSET_KEYS:
                (partition,), (offset,) = (
                    struct.unpack(">i", key[-4:]),
                    struct.unpack(">q", value[2:10]),
                )
                found.append(Commit(record.timestamp()[1] / 1000, partition, offset))
        return found

    def _producer(self, settings: Mapping[str, str]) -> Producer:
        """Keep a producer for each set of settings: an idempotent one needs 1 s to begin."""
        key = frozenset(settings.items())
        if key not in self._producers:
            reliable = {"enable.idempotence": "true", "linger.ms": "5"}
            self._producers[key] = Producer(self._client(**reliable | dotted(settings)))
        return self._producers[key]

    def _client(self, **settings: str) -> dict[str, str]:
        return {"bootstrap.servers": self.bootstrap, "log_level": "0"} | settings


def dotted(settings: Mapping[str, str]) -> dict[str, str]:
    """Kafka's own names: `retention_ms` is `retention.ms`."""
    return {key.replace("_", "."): value for key, value in settings.items()}


def _by_its_coordinator(
    request: Callable[[], list[TopicPartition]], group: str
) -> list[TopicPartition]:
    """Ask until a group's coordinator answers: it may just be found, or move."""
    found: list[TopicPartition] = []

    def is_answered() -> bool:
        try:
            found[:] = request()
        except KafkaException as problem:
            if problem.args[0].code() not in MOVING:
                raise
            return False
        return True

    wait_until(is_answered, deadline_s=REQUEST_TIMEOUT_S, what=f"the coordinator of {group}")
    return found


def _key_start(group: str, topic: str) -> bytes:
    """What stands between the version and the partition in the key of a stored offset."""
    return b"".join(struct.pack(">h", len(name)) + name.encode() for name in (group, topic))


def _queue(
    producer: Producer, topic: str, send: dict[str, object], failures: list[KafkaError]
) -> None:
    """Queue one record; a full queue is served until it takes the record."""
    while True:
        try:
            producer.produce(topic, on_delivery=_noting(failures), **send)
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def _noting(failures: list[KafkaError]) -> Callable[[KafkaError | None, Message], None]:
    """Return a callback that keeps the errors."""

    def note(error: KafkaError | None, _record: Message) -> None:
        if error is not None:
            failures.append(error)

    return note


def _flush(producer: Producer, failures: list[KafkaError]) -> None:
    """Return when all that is queued is stored."""
    producer.flush(REQUEST_TIMEOUT_S)
    if failures or len(producer):
        message = f"{len(failures)} records refused, {len(producer)} not sent: {failures[:1]}"
        raise RuntimeError(message)


def _to_the_end(reader: Consumer, n_partitions: int) -> list[Message]:
    """Read until each partition said that it ends."""
    found: list[Message] = []
    n_ended = 0
    while n_ended < n_partitions:
        record = reader.poll(REQUEST_TIMEOUT_S)
        if record is None:
            message = f"no record and no end of partition within {REQUEST_TIMEOUT_S:g} s"
            raise TimeoutError(message)
        error = record.error()
        if error is None:
            found.append(record)
        elif error.code() == KafkaError._PARTITION_EOF:
            n_ended += 1
        else:
            raise KafkaException(error)
    return found
