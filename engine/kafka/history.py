"""The records that a journal names, read again from the topic, batch by batch.

It assigns itself: it joins no group, commits nothing and takes no lock. An assignment of the
journal is one of a new client. Within it offsets only grow, so each partition is read forward once;
what is read ahead is kept until the journal comes to it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from engine.batch.decode import NO_EVENTS, DecodeOptions, decode
from engine.batch.journal import ASSIGNED, Entry
from engine.config import BatchConf
from engine.errors import DataLossError, UnavailableError
from engine.kafka.chunks import Index, Places, chunks_of, joined, last_offsets, starts_of
from engine.kafka.client import meaning
from engine.kafka.fetch import Notice, Taken
from engine.kafka.session import Session
from engine.source_config import KafkaConf

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 10.0
GONE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # noqa: SLF001


class TopicHistory:
    """Reads the batches of a journal again; one thread owns it."""

    def __init__(
        self,
        conf: KafkaConf,
        batch: BatchConf,
        options: DecodeOptions,
        *,
        stopping: threading.Event,
    ) -> None:
        """Nothing is connected yet."""
        self._conf, self._batch, self._options, self._stopping = conf, batch, options, stopping
        self._session: Session | None = None
        self._reached: dict[int, int] = {}  # the last offset that was read of each partition
        self._paused: set[int] = set()
        self._places: Places = (np.empty(0, np.int32), np.empty(0, np.int64))
        self._events = NO_EVENTS

    def pairs(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, pl.DataFrame]]:
        """Yield the rows of a journal with the events of their records, until it is stopped."""
        try:
            for chunk in chunks_of(entries):
                if chunk[0].kind == ASSIGNED or self._session is None:
                    self._begin(starts_of(chunk))
                last = last_offsets(chunk)
                self._read_to(last)
                if self._stopping.is_set():
                    return
                yield from self._served(chunk)
                self._drop(last)
        finally:
            self._end()

    def _end(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None

    def _begin(self, starts: dict[int, int]) -> None:
        """Begin an assignment at these offsets."""
        self._end()
        session = Session(self._conf, self._batch, stopping=self._stopping)
        there = session.find_topic(lock=False)
        if self._stopping.is_set():
            return
        if gone := sorted(starts.keys() - there):
            raise self._lost(gone[0], "is not there")
        self._session, self._paused = session, set()
        self._reached = {p: max(start, self._ends(p)[0]) - 1 for p, start in starts.items()}
        self._places, self._events = (self._places[0][:0], self._places[1][:0]), NO_EVENTS
        session.fetch.attach(sorted(starts))
        session.consumer.assign(
            [TopicPartition(self._conf.topic, p, at + 1) for p, at in self._reached.items()]
        )

    def _ends(self, partition: int) -> tuple[int, int]:
        """Return the first and the next offset of a partition."""
        assert self._session is not None  # noqa: S101 - for the types
        asked = TopicPartition(self._conf.topic, partition)
        try:
            return self._session.consumer.get_watermark_offsets(asked, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as exception:
            problem = f"source.bootstrap_servers: {exception.args[0].str()}; try again"
            raise meaning(exception.args[0]) or UnavailableError(problem) from None

    def _lost(self, partition: int, what: str) -> DataLossError:
        problem = (
            f"source.topic: {self._conf.topic} no longer has what the journal names: partition "
            f"{partition} {what}; verify with source=file and the recorded events"
        )
        return DataLossError(problem)

    # -- reading ---------------------------------------------------------------------------------

    def _read_to(self, last: dict[int, int]) -> None:
        """Read until nothing is missing up to these offsets."""
        if strange := sorted(last.keys() - self._reached.keys()):
            raise self._lost(strange[0], "is not in the assignment")
        places, events, heard_s = [self._places], [self._events], time.monotonic()
        while (missing := self._missing(last)) and not self._stopping.is_set():
            self._let_run(missing)
            taken = self._take()
            if taken.n_messages:
                heard_s = time.monotonic()
            if time.monotonic() - heard_s > self._conf.startup_timeout_s:
                raise self._silent()
            for notice in taken.notices:
                self._hear(notice, last)
            if len(taken.records.offset):
                self._note(taken, places, events)
        self._places = joined(places)
        self._events = pl.concat(events)

    def _silent(self) -> UnavailableError:
        timeout_s = self._conf.startup_timeout_s
        problem = f"nothing comes any more; gave up after source.startup_timeout_s={timeout_s:g}"
        return UnavailableError(f"source.bootstrap_servers: {problem}")

    def _missing(self, last: dict[int, int]) -> set[int]:
        return {p for p, offset in last.items() if self._reached[p] < offset}

    def _take(self) -> Taken:
        assert self._session is not None  # noqa: S101 - for the types
        if self._session.failure is not None:
            raise self._session.failure
        return self._session.fetch.take(self._batch.linger_ms / 1000)

    def _let_run(self, missing: set[int]) -> None:
        """Read no partition further ahead while others are behind."""
        assert self._session is not None  # noqa: S101 - for the types
        pausing, resuming = self._reached.keys() - missing - self._paused, missing & self._paused
        for change, partitions in (
            (self._session.consumer.pause, pausing),
            (self._session.consumer.resume, resuming),
        ):
            if partitions:
                change([TopicPartition(self._conf.topic, p) for p in sorted(partitions)])
        self._paused = (self._paused | pausing) - resuming

    def _hear(self, notice: Notice, last: dict[int, int]) -> None:
        partition, offset, error = notice
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            if offset <= last.get(partition, -1):
                raise self._lost(partition, f"ends at offset {offset}")
            self._reached[partition] = max(self._reached[partition], offset - 1)
        elif error.code() in GONE:
            raise self._lost(partition, f"begins at offset {self._ends(partition)[0]}")
        elif problem := meaning(error):
            raise problem
        else:
            log.warning("source.topic: %s", error.str())

    def _note(self, taken: Taken, places: list[Places], events: list[pl.DataFrame]) -> None:
        partition, offset = taken.records.partition, taken.records.offset
        places.append((partition, offset))
        events.append(decode(taken.records, self._options).events)
        for p in np.unique(partition).tolist():
            self._reached[p] = max(self._reached[p], int(offset[partition == p].max()))

    # -- handing over ----------------------------------------------------------------------------

    def _served(self, chunk: list[Entry]) -> Iterator[tuple[Entry, pl.DataFrame]]:
        records = Index(*self._places)
        events = Index(self._events["partition"].to_numpy(), self._events["offset"].to_numpy())
        for entry in chunk:
            runs = zip(entry.partitions, entry.first_offsets, entry.last_offsets, strict=True)
            rows = []
            for (p, first, last), n in zip(runs, entry.n_records, strict=True):
                if len(records.rows(p, first, last)) != n:
                    raise self._lost(p, self._gap(p, first, last, n))
                rows.append(events.rows(p, first, last))
            yield entry, self._events[np.concatenate(rows)] if rows else NO_EVENTS

    def _gap(self, partition: int, first: int, last: int, n: int) -> str:
        begin, _ = self._ends(partition)
        return f"begins at offset {begin}, and {n} records from {first} to {last} are to be read"

    def _drop(self, last: dict[int, int]) -> None:
        """Forget what has been handed over."""
        done = np.full(max(self._reached, default=0) + 1, -1, np.int64)
        done[list(last)] = list(last.values())
        partition, offset = self._places
        ahead = offset > done[partition]
        self._places = partition[ahead], offset[ahead]
        behind = done[self._events["partition"].to_numpy()]
        self._events = self._events.filter(pl.col("offset") > pl.Series(behind))
