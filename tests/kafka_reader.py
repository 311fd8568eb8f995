"""A consumer as the engine configures it, below one of the two fetches, and what it handed over.

A reader is stepped by its test, in the test's own thread, as `engine.kafka.source` does it.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition

from engine.batch.decode import Records
from engine.kafka.client import consumer_properties
from engine.kafka.fetch import Fetch, Notice, PlainFetch
from engine.kafka.librdkafka import load
from engine.kafka.native import NativeFetch, OnError
from engine.source_config import KafkaConf

DEADLINE_S = 30.0
CLOSE_S = 10.0
LINGER_S = 0.05
QUICK = {"log_level": 0, "heartbeat.interval.ms": 200, "fetch.wait.max.ms": 20}


class Seen(NamedTuple):
    """One record as a fetch hands it over."""

    value: bytes | None
    partition: int
    offset: int
    timestamp_ms: int


def conf_of(bootstrap: str, topic: str, *, drain: str = "auto") -> KafkaConf:
    """Return the engine's settings for a topic, with a group of its own."""
    return KafkaConf(
        bootstrap_servers=bootstrap, topic=topic, group_id=topic, drain=drain, kafka=dict(QUICK)
    )


def new_consumer(conf: KafkaConf, **callbacks: OnError) -> Consumer:
    """Return a consumer with the properties of the engine's own."""
    properties = consumer_properties(conf, f"member-{uuid.uuid4().hex}", n_partitions=4)
    return Consumer(properties | callbacks)


def new_fetch(
    kind: str, consumer: Consumer, topic: str, *, max_events: int, on_error: OnError
) -> Fetch:
    """Return the fetch of this name: "plain" or "native"."""
    if kind == "plain":
        return PlainFetch(consumer, max_events=max_events)
    return NativeFetch(load(), consumer, topic=topic, max_events=max_events, on_error=on_error)


class Reader:
    """All that was taken since the last assignment is in `seen` and `notices`.

    What the error callback heard is in `errors`.
    """

    def __init__(self, kind: str, conf: KafkaConf, *, max_events: int = 100) -> None:
        """Make both; nothing is read yet."""
        self.topic, self.is_open = conf.topic, True
        self.errors: list[KafkaError] = []
        on_error = self.errors.append
        self.consumer = new_consumer(conf, error_cb=on_error)
        self.fetch = new_fetch(
            kind, self.consumer, conf.topic, max_events=max_events, on_error=on_error
        )
        self.sizes: list[int] = []
        self._begin()

    def _begin(self) -> None:
        self.seen: list[Seen] = []
        self.notices: list[Notice] = []

    def partitions(self, offsets: Mapping[int, int]) -> list[TopicPartition]:
        """Return partitions of the topic and their offsets in the client's words."""
        return [TopicPartition(self.topic, p, offset) for p, offset in offsets.items()]

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets, as the source does."""
        self._begin()
        self.fetch.forget()
        self.fetch.attach(list(offsets))
        self.consumer.assign(self.partitions(offsets))

    def step(self) -> None:
        """Take once."""
        records, notices = taken = self.fetch.take(LINGER_S)
        self.sizes.append(taken.n_messages)
        self.seen += seen(records)
        self.notices += notices

    def read_until(self, condition: Callable[[], object], what: str) -> None:
        """Take until the condition holds."""
        end_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end_s, f"{what}: {len(self.seen)} records, {self.notices}"
            self.step()

    def read_some(self) -> None:
        """Take until there is a record."""
        self.read_until(lambda: self.seen, "a record")

    def read_to(self, ends: Mapping[int, int]) -> None:
        """Take until the client has told that each partition ends there."""
        self.read_until(lambda: ends.items() <= self.ends().items(), f"ends at {ends}")

    def ends(self) -> dict[int, int]:
        """Return where each partition has ended last."""
        eof = KafkaError._PARTITION_EOF
        return {n.partition: n.offset for n in self.notices if n.error.code() == eof}

    def close(self) -> None:
        """Let go in the order of the source, once."""
        if self.is_open:
            self.is_open = False
            self.fetch.close()
            self.consumer.close()


class Member(Reader):
    """A reader whose partitions come from the group; each is read from its beginning."""

    def __init__(self, kind: str, conf: KafkaConf, *, max_events: int = 100) -> None:
        """Join with the first step."""
        super().__init__(kind, conf, max_events=max_events)
        self.epoch, self.wanted, self.assigned = 0, None, set[int]()
        callbacks = {"on_assign": self._on_assign, "on_revoke": self._on_revoke}
        self.consumer.subscribe([self.topic], **callbacks)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign([])
        self.epoch += 1
        self.wanted = {tp.partition: 0 for tp in partitions}

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.unassign()
        self.epoch += 1
        self.wanted, self.assigned = None, set()
        self.fetch.forget()

    def step(self) -> None:
        """Take once; what comes together with a new assignment belongs to none."""
        if self.wanted is not None:
            self.assign(self.wanted)
            self.wanted, self.assigned = None, set(self.wanted)
        epoch = self.epoch
        super().step()
        if epoch != self.epoch:
            self._begin()


def seen(records: Records) -> list[Seen]:
    """Return records one by one."""
    return [
        Seen(
            None if records.ends[i] < records.starts[i] else records.value(i),
            int(records.partition[i]),
            int(records.offset[i]),
            int(records.timestamp_ms[i]),
        )
        for i in range(len(records.offset))
    ]


def returns(function: Callable[[], object]) -> bool:
    """Whether a call ends in time; it is left behind where it does not."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(CLOSE_S)
    return not thread.is_alive()
