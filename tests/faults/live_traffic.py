"""Traffic while faults happen: people and bots, at a steady rate, whatever the engine does.

An open loop: it produces by the clock and never waits for the engine. A broker that is away makes
the client queue; it keeps the order of each partition and repeats nothing.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from tests.end_to_end.logs import event
from tests.services.kafka_client import KafkaClient

TICK_S = 0.1
DELIVERED_S = 60.0
N_PEOPLE, N_BOTS = 2_000, 20
BOT_SHARE = 0.15


class LiveTraffic:
    """`with LiveTraffic(kafka, topic, ...)`: produces until it is left, and all is acknowledged."""

    def __init__(
        self, kafka: KafkaClient, topic: str, *, n_partitions: int, events_per_s: int, seed: int
    ) -> None:
        """Nothing is produced yet."""
        settings = {
            "bootstrap.servers": kafka.bootstrap,
            "enable.idempotence": True,
            "log_level": 0,
        }
        self._producer = Producer({**settings, "linger.ms": 5, "reconnect.backoff.max.ms": 200})
        self._topic, self._n_partitions, self._rate = topic, n_partitions, events_per_s
        self._random, self._stopping = random.Random(seed), threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")
        self._failures: list[KafkaError] = []
        self.n_events = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopping.set()
        self._thread.join()
        assert self._producer.flush(DELIVERED_S) == 0, "some records were never acknowledged"
        assert not self._failures, self._failures[0]

    def produce(self, ip: str, *, n: int, partition: int) -> None:
        """Produce so many events of one address, now."""
        for category in range(n):
            self._send(ip, category, partition)
        self._producer.poll(0)

    def _run(self) -> None:
        begun_s = time.monotonic()
        while not self._stopping.wait(TICK_S):
            due = int((time.monotonic() - begun_s) * self._rate) - self.n_events
            for _ in range(due):
                self._send(self._address(), self._random.randrange(8), None)
            self.n_events += due
            self._producer.poll(0)

    def _address(self) -> str:
        if self._random.random() < BOT_SHARE:
            return f"192.0.2.{self._random.randrange(N_BOTS)}"
        number = self._random.randrange(N_PEOPLE)
        return f"10.0.{number >> 8}.{number & 255}"

    def _send(self, ip: str, category: int, partition: int | None) -> None:
        where = self._random.randrange(self._n_partitions) if partition is None else partition
        value = event(int(time.time()), ip, category=category)
        self._producer.produce(self._topic, value, partition=where, on_delivery=self._note)

    def _note(self, error: KafkaError | None, _record: Message) -> None:
        if error is not None:
            self._failures.append(error)
