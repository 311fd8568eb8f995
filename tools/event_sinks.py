"""Where botgen's events go: a file that is whole or not there, or a Kafka topic.

A sink takes frames (key = address, value = JSON text) and counts them in `n_events`. `finish` ends
well, `discard` is the end that Ctrl-C asks for and returns the exit code. What is not there, or
not delivered, is an OSError whose text says it all.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from options import INTERRUPTED

MAX_QUEUED_MESSAGES = 200_000
EVENTS_PER_CALL = 50_000
CONNECT_TIMEOUT_S = 5.0


class FileSink:
    """One event a line, in FILE.part until complete; pipes and devices are written directly."""

    def __init__(self, name: str, *, array: bool) -> None:
        """Open `name` for one JSON array or for NDJSON; `-` is the standard output."""
        self.name = "stdout" if name == "-" else name
        self._array = array
        self.n_events = 0
        path = Path(name)
        direct = name == "-" or (path.exists() and not path.is_file())
        self._target = None if direct else Path(os.path.realpath(path))
        self._part = Path(f"{self._target}.part") if self._target else path
        self._out = sys.stdout.buffer if name == "-" else self._part.open("wb")

    def write(self, events: pl.DataFrame) -> None:
        """Append a frame (key, value)."""
        if events.is_empty():
            return
        text = events["value"].str.join(",\n" if self._array else "\n").item()
        opening = ",\n" if self.n_events else "["
        self._out.write((opening + text if self._array else text + "\n").encode())
        self._out.flush()
        self.n_events += len(events)

    def finish(self) -> None:
        """Complete the text and give the file its name."""
        if self._array:
            self._out.write(b"]\n" if self.n_events else b"[]\n")
        self._out.flush()
        if self._target:
            self._out.close()
            self._part.replace(self._target)

    def discard(self) -> int:
        """Leave no part behind; what a pipe or a device got stays."""
        if self._target:
            with suppress(OSError):
                self._out.close()
            self._part.unlink(missing_ok=True)
        return INTERRUPTED


class KafkaSink:
    """One event a message, acknowledged by all replicas; what is not delivered is counted."""

    def __init__(self, bootstrap: str, topic: str, *, keyed: bool, timeout_s: float = 60) -> None:
        """Connect to `bootstrap`; ConnectionError when it or `topic` is not there."""
        self.name = f"{bootstrap}/{topic}"
        self.n_events = 0
        self._topic = topic
        self._keyed = keyed
        self._n_failed = 0
        self._last_error = ""
        config = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "message.timeout.ms": int(timeout_s * 1000),
            "queue.buffering.max.messages": 2 * MAX_QUEUED_MESSAGES,
            "partitioner": "murmur2_random",  # an address goes where a Java producer puts it
            "delivery.report.only.error": True,
            "on_delivery": self._count_failure,
            "log_level": 0,
        }
        try:
            self._producer = Producer(config)
            self._n_partitions = self._count_partitions(min(CONNECT_TIMEOUT_S, timeout_s))
        except KafkaException as problem:
            raise self._unavailable(problem) from problem

    def _unavailable(self, problem: KafkaException) -> ConnectionError:
        return ConnectionError(f"{self.name}: {problem.args[0].str()}")

    def _count_partitions(self, timeout_s: float) -> int:
        """Partitions of the topic; waits for one that the broker is just creating."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            topic = self._producer.list_topics(self._topic, timeout_s).topics[self._topic]
            if topic.error is None:
                return len(topic.partitions)
            if time.monotonic() > deadline_s:
                raise KafkaException(topic.error)
            self._producer.poll(0.1)

    def _count_failure(self, error: KafkaError, _message: Message) -> None:
        self._n_failed += 1
        self._last_error = error.str()

    def write(self, events: pl.DataFrame) -> None:
        """Queue a frame (key, value): by its key, or round robin over the partitions."""
        for part in events.iter_slices(EVENTS_PER_CALL):
            while len(self._producer) > MAX_QUEUED_MESSAGES:
                self._producer.poll(0.1)
            self._queue(part["key"].to_list(), part["value"].to_list())
        self._producer.poll(0)

    def _queue(self, keys: list[str], values: list[str]) -> None:
        if self._keyed:
            self._send([{"key": k, "value": v} for k, v in zip(keys, values, strict=True)], -1)
            return
        first, step = self.n_events, self._n_partitions
        for i in range(min(len(values), step)):
            self._send([{"value": v} for v in values[i::step]], (first + i) % step)

    def _send(self, messages: list[dict[str, str]], partition: int) -> None:
        try:
            n_queued = self._producer.produce_batch(self._topic, messages, partition)
        except KafkaException as problem:
            raise self._unavailable(problem) from problem
        self.n_events += len(messages)
        self._n_failed += len(messages) - n_queued

    def finish(self) -> None:
        """Wait until each event is delivered or failed; ConnectionError when any failed."""
        while self._producer.flush(0.2):
            pass
        if self._n_failed:
            problem = f"{self._n_failed} of {self.n_events} events were not delivered"
            reason = f"{self.name}: {problem}: {self._last_error}"
            raise ConnectionError(reason)

    def discard(self) -> int:
        """Deliver what was produced: a message cannot be taken back."""
        self.finish()
        return 0
