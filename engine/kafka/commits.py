"""Commits of restart offsets: asynchronous, at most one in flight, only what has changed.

All partitions go in one request, so that what is stored is of one moment. An error is a warning:
what was not committed is read again after a restart, and the next commit tries anew.
"""

from __future__ import annotations

import logging

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from engine.batch.checkpoint import Checkpoint

log = logging.getLogger(__name__)

Checkpoints = dict[int, tuple[int, Checkpoint]]


class Commits:
    """What is committed for a topic by the consumer that this is attached to."""

    def __init__(self, topic: str) -> None:
        """Nothing is known to be committed."""
        self._topic = topic
        self._last: dict[int, tuple[int, str]] = {}
        self.in_flight = False

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take the broker's answer; a callback of the client, so it never raises."""
        self.in_flight = False
        errors = [e for e in (error, *(tp.error for tp in partitions)) if e]
        if errors:
            self._failed(errors[0])

    def _failed(self, error: KafkaError) -> None:
        self._last = {}
        log.warning("source.group_id: a commit failed: %s; it is tried again", error.str())

    def send(self, consumer: Consumer, checkpoints: Checkpoints) -> None:
        """Commit unless nothing has changed or a commit is in flight."""
        wanted = {p: (offset, point.metadata()) for p, (offset, point) in checkpoints.items()}
        if self.in_flight or wanted == self._last:
            return
        self.in_flight, self._last = True, wanted
        try:
            consumer.commit(offsets=self._offsets(wanted), asynchronous=True)
        except KafkaException as exception:
            self.in_flight = False
            self._failed(exception.args[0])

    def send_now(self, consumer: Consumer, checkpoints: Checkpoints) -> None:
        """Commit and wait for the answer; raise KafkaException where it is no."""
        wanted = {p: (offset, point.metadata()) for p, (offset, point) in checkpoints.items()}
        if wanted:
            consumer.commit(offsets=self._offsets(wanted), asynchronous=False)

    def _offsets(self, wanted: dict[int, tuple[int, str]]) -> list[TopicPartition]:
        return [
            TopicPartition(self._topic, p, offset, metadata=metadata)
            for p, (offset, metadata) in wanted.items()
        ]
