"""Step 5 of the pipeline: decisions at once, then statistics in chunks, then the checkpoint.

Decisions of a later batch overtake the statistics of an earlier one; statistics stay in order.
Where several outcomes wait, as in a backlog, their statistics are one group, of which only the
newest row of an address is written. A checkpoint is `acked` when all that came before it is
acknowledged by the sink, the rows that stand for older ones included, and kept by the record.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from engine.batch.decode import NO_EVENTS, NO_REJECTS
from engine.batch.verdict import Verdicts, newest_rows
from engine.dead_letter import DeadLetter
from engine.failpoints import reach
from engine.metrics import Metrics
from engine.record import NoRecord, Record
from engine.sinks import Sink, Written
from engine.state import Checkpoints, Outcome

CHUNK_ROWS = 20_000


class Observer(Protocol):
    """Hears of verdicts once their decisions are acknowledged."""

    def __call__(self, verdicts: Verdicts, *, now_s: float, n_expired: int) -> None:
        """Take verdicts whose decisions are written."""


class Writer:
    """Writes outcomes; one thread owns it."""

    def __init__(
        self,
        sink: Sink,
        *,
        statistics: str,
        newest_only: bool,
        enforce_mask: int,
        clock: Callable[[], float],
        dead_letter: DeadLetter,
        observe: Observer,
        metrics: Metrics,
    ) -> None:
        """`statistics` is all, flagged or none; `observe` hears of what is written.

        `newest_only`: of an address, a newer row takes the place of an older one.
        """
        self._sink, self._statistics, self._clock = sink, statistics, clock
        self._newest_only = newest_only
        self._enforce_mask, self._dead_letter = enforce_mask, dead_letter
        self._observe, self._metrics = observe, metrics
        self._pending: deque[Outcome] = deque()
        self._group: list[Outcome] = []
        self._chunks: Iterator[Verdicts] = iter(())
        self._epoch = -1
        self._broken_epoch = -1  # it is over, and so are those before it
        self._written: tuple[int, Checkpoints] | None = None  # acknowledged, perhaps not recorded
        self.acked: tuple[int, Checkpoints] | None = None
        self.ended = False  # the end of the input is written
        self.whole_only = False  # a window that misses records is known better elsewhere
        self.record: Record = NoRecord()
        self.may_write: Callable[[int], bool] = lambda epoch: True
        self.on_abandoned: Callable[[int], None] = lambda epoch: None
        self.before_batch: Callable[[], None] = lambda: None
        self.let_through: Callable[[Verdicts], Verdicts] = lambda verdicts: verdicts

    @property
    def n_pending(self) -> int:
        """Outcomes whose statistics are not written yet."""
        return len(self._pending) + len(self._group)

    @property
    def n_waiting(self) -> int:
        """Outcomes whose statistics are not begun."""
        return len(self._pending)

    @property
    def n_rows_waiting(self) -> int:
        """Their statistics."""
        return sum(len(one.frame) for outcome in self._pending for one in outcome.verdicts)

    def open(self) -> None:
        """Open the sink, so that a refused password is known at once."""
        self._sink.open()

    def take(self, outcome: Outcome) -> None:
        """Write the decisions of an outcome; its statistics wait for `write_some`."""
        if outcome.epoch != self._epoch:
            self._epoch = outcome.epoch
            self._sink.forget()
        self.before_batch()
        for verdicts in outcome.verdicts:
            if not (self.whole_only and verdicts.partial):
                self._write(verdicts, outcome.epoch, self._write_decisions)
        self._dead_letter.write(outcome.rejects)
        self.record.write(outcome)
        statistics = list(self._statistics_of(outcome))
        self._pending.append(
            outcome._replace(verdicts=statistics, rejects=NO_REJECTS, events=NO_EVENTS, step=None)
        )

    def write_some(self) -> bool:
        """Write one chunk of statistics, or acknowledge what is written; False when idle."""
        self._sink.check()
        if not self._group:
            self._begin_group()
        if not self._group:
            self._acknowledge_recorded()
            return False
        chunk = next(self._chunks, None)
        if chunk is not None:
            self._write(chunk, self._group[0].epoch, self._write_statistics)
        else:
            self._acknowledge_group()
        return True

    def _begin_group(self) -> None:
        """Take all outcomes of one epoch that wait."""
        epoch = self._pending[0].epoch if self._pending else None
        while self._pending and self._pending[0].epoch == epoch:
            self._group.append(self._pending.popleft())
        windows = [verdicts for outcome in self._group for verdicts in outcome.verdicts]
        self._chunks = chunks_of(newest_rows(windows) if self._newest_only else windows)

    def _statistics_of(self, outcome: Outcome) -> Iterator[Verdicts]:
        for verdicts in outcome.verdicts:
            is_counted = verdicts.final and verdicts.is_base and not verdicts.partial
            if not is_counted or self._statistics == "none":
                continue
            flagged = self._statistics == "flagged"
            yield verdicts.flagged(self._enforce_mask) if flagged else verdicts

    def _acknowledge_group(self) -> None:
        self._dead_letter.flush()
        for outcome in self._group:
            if outcome.epoch <= self._broken_epoch:
                continue
            self.ended = outcome.ended
            if outcome.checkpoints is not None:
                self._written = (outcome.epoch, outcome.checkpoints)
        self._group = []
        self._acknowledge_recorded()

    def _acknowledge_recorded(self) -> None:
        if self.record.is_kept():
            self.acked = self._written

    def finish(self) -> None:
        """Keep the record of what is written, to the end."""
        self.record.close()
        self.acked = self._written

    def _write(self, verdicts: Verdicts, epoch: int, write: Callable[[Verdicts], Written]) -> None:
        """Write unless the epoch is over; what is abandoned is read again from the commits."""
        if epoch <= self._broken_epoch:
            return
        with self._metrics.stage("write"):
            complete = self.may_write(epoch) and self._note(write(verdicts))
        if not complete:
            self._broken_epoch = epoch
            self.on_abandoned(epoch)

    def _write_decisions(self, verdicts: Verdicts) -> Written:
        reach("decisions")
        decided = self.let_through(verdicts)
        written = self._sink.write_decisions(decided, now_s=self._clock())
        if written.complete:
            self._observe(decided, now_s=self._clock(), n_expired=written.n_expired)
        return written

    def _write_statistics(self, verdicts: Verdicts) -> Written:
        reach("statistics")
        return self._sink.write_statistics(verdicts, now_s=self._clock())

    def _note(self, written: Written) -> bool:
        self._metrics.keys_written += written.n_keys
        self._metrics.expired += written.n_expired
        self._metrics.last_ack_s = time.monotonic()
        return written.complete


def chunks_of(windows: Iterable[Verdicts]) -> Iterator[Verdicts]:
    """Yield the rows in chunks between which decisions may be written."""
    for verdicts in windows:
        for i in range(0, len(verdicts.frame), CHUNK_ROWS):
            yield verdicts._replace(frame=verdicts.frame.slice(i, CHUNK_ROWS))
