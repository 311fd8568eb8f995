"""Where refused records go as well: a file or a topic, one JSON object each.

A letter says topic, partition, offset, reason and the first bytes of the value, escaped. Letters
are flushed before the offsets behind them are committed: none is lost, a crash repeats some.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from confluent_kafka import KafkaError, Message, Producer

from engine.errors import ConfigError, UnavailableError

log = logging.getLogger(__name__)

FLUSH_S = 30.0


class DeadLetter(Protocol):
    """The contract: take a REJECT frame, and make it durable."""

    def write(self, rejects: pl.DataFrame) -> None:
        """Take rejected records."""

    def flush(self) -> None:
        """Return when all that was taken is kept."""


def letters(rejects: pl.DataFrame, topic: str) -> list[bytes]:
    """Return one JSON document a rejected record."""
    return [
        json.dumps(
            {
                "topic": topic,
                "partition": row["partition"],
                "offset": row["offset"],
                "reason": row["reason"],
                "value": row["value"].decode("ascii", "backslashreplace"),
            }
        ).encode()
        for row in rejects.iter_rows(named=True)
    ]


class NoDeadLetter:
    """Rejected records are only counted."""

    def write(self, rejects: pl.DataFrame) -> None:
        """Drop them."""

    def flush(self) -> None:
        """Nothing is held."""


class DeadLetterFile:
    """Appends letters to a file; a disk that is full costs letters and stops nothing."""

    def __init__(self, path: str, *, topic: str) -> None:
        """Open the file; say so where it cannot be."""
        self._topic, self._path, self._is_lost = topic, path, False
        try:
            self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - lives as long as the run
        except OSError as error:
            problem = f"'{path}' cannot be written: {error.strerror}"
            raise ConfigError(key="dead_letter.path", problem=problem) from None

    def write(self, rejects: pl.DataFrame) -> None:
        """Append letters; tell once where they cannot be written any more."""
        if not len(rejects):
            return
        text = b"\n".join(letters(rejects, self._topic)) + b"\n"
        try:
            n_written = self._file.write(text)
            why = "" if n_written == len(text) else "the disk took a part of them"
        except OSError as error:
            why = error.strerror or str(error)
        if why and not self._is_lost:
            log.warning("dead_letter.path: '%s' takes no letters: %s; going on", self._path, why)
        self._is_lost = bool(why)

    def flush(self) -> None:
        """Nothing is held."""


class DeadLetterTopic:
    """Produces letters to a topic, idempotently."""

    def __init__(self, topic: str, *, source_topic: str, properties: dict[str, Any]) -> None:
        """Make the producer; nothing is sent yet."""
        self._topic, self._source_topic = topic, source_topic
        self._failure: KafkaError | None = None
        self._producer = Producer({**properties, "enable.idempotence": True}, logger=log)

    def write(self, rejects: pl.DataFrame) -> None:
        """Queue letters; a full queue waits for the broker."""
        for letter in letters(rejects, self._source_topic) if len(rejects) else ():
            while not self._queued(letter):
                self._producer.poll(0.2)

    def _queued(self, letter: bytes) -> bool:
        try:
            self._producer.produce(self._topic, letter, on_delivery=self._on_delivery)
        except BufferError:
            return False
        return True

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        self._failure = self._failure or error

    def flush(self) -> None:
        """Wait until the broker has every letter."""
        n_left = self._producer.flush(FLUSH_S) if len(self._producer) else 0
        if n_left or self._failure is not None:
            reason = self._failure.str() if self._failure else "the broker does not answer"
            problem = f"dead_letter.topic: '{self._topic}' takes no letters: {reason}"
            raise UnavailableError(problem)
