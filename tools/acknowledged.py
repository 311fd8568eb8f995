"""A Kafka topic that takes a batch of lines and comes back when all of it is acknowledged.

A broker that is away is waited for without an end: librdkafka retries, idempotent, and a line on
stderr says so now and then. Only a refusal (too big, not allowed, no such topic) and a stop that
the broker does not answer are errors; the caller then keeps its offset where it was.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

WAIT_S, N_LAST_WAITS = 0.2, 50
COMPLAIN_AFTER_S, COMPLAIN_EVERY_S = 1.0, 30.0


def report(text: str) -> None:
    """One line for the user."""
    print(f"jsonfilter: {text}", file=sys.stderr, flush=True)


class Topic:
    """Sends batches, one at a time."""

    def __init__(self, bootstrap: str, name: str, *, stop: threading.Event) -> None:
        """Connect lazily; once `stop` is set the wait for an acknowledgement has an end."""
        self._name = name
        self._target = f"{bootstrap}/{name}"
        self._stop = stop
        self._n_acknowledged = 0
        self._problem = ""
        self._next_complaint_s = 0.0
        config = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "message.timeout.ms": 0,
            "message.max.bytes": 1_000_000_000,  # the broker says how long a line may be
            "reconnect.backoff.max.ms": 1000,
            "on_delivery": self._count,
            "error_cb": self._note,
            "log_level": 0,
        }
        try:
            self._producer = Producer(config)
        except KafkaException as problem:
            raise self._failure(problem.args[0].str()) from problem

    def _failure(self, text: str) -> ConnectionError:
        return ConnectionError(f"{self._target}: {text}")

    def _count(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._n_acknowledged += 1
        else:
            self._note(error)

    def _note(self, error: KafkaError) -> None:
        self._problem = error.str()

    def wait(self, seconds: float) -> None:
        """Let time pass and Kafka's callbacks run."""
        self._producer.poll(seconds)

    def send(self, lines: list[bytes], *, where: str) -> None:
        """Return when all `lines` are acknowledged, ConnectionError when that will not be."""
        messages: list[dict[str, Any]] = [{"value": line} for line in lines]
        self._n_acknowledged, self._problem = 0, ""
        try:
            self._producer.produce_batch(self._name, messages)
        except KafkaException as problem:
            raise self._failure(problem.args[0].str()) from problem
        self._wait_for_all(where)
        for message in messages:
            if "_error" in message:
                self._note(message["_error"])
        if n_open := len(lines) - self._n_acknowledged:
            text = f"{where}: {n_open} of {len(lines)} lines are not acknowledged: {self._problem}"
            raise self._failure(text)

    def _wait_for_all(self, where: str) -> None:
        sent_s, n_last_waits = time.monotonic(), 0
        while self._producer.flush(WAIT_S) and n_last_waits < N_LAST_WAITS:
            n_last_waits += self._stop.is_set()
            if time.monotonic() - sent_s > COMPLAIN_AFTER_S:
                self._complain(f"{where} waits for {self._target}: {self._problem or 'no answer'}")

    def _complain(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_complaint_s:
            report(text)
            self._next_complaint_s = now_s + COMPLAIN_EVERY_S
