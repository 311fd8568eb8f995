"""Step 5 of the pipeline: decisions at once, then statistics in chunks, then the checkpoint.

Decisions of a later batch overtake the statistics of an earlier one; statistics stay in order. A
checkpoint is `acked` only when all that came before it is acknowledged by the sink.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from engine.batch.verdict import Verdicts
from engine.dead_letter import DeadLetter
from engine.metrics import Metrics
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
        enforce_mask: int,
        clock: Callable[[], float],
        dead_letter: DeadLetter,
        observe: Observer,
        metrics: Metrics,
    ) -> None:
        """`statistics` is all, flagged or none; `observe` hears of what is written."""
        self._sink, self._statistics, self._clock = sink, statistics, clock
        self._enforce_mask, self._dead_letter = enforce_mask, dead_letter
        self._observe, self._metrics = observe, metrics
        self._pending: deque[tuple[Outcome, Iterator[Verdicts]]] = deque()
        self._epoch = -1
        self._broken_epoch = -1
        self.acked: tuple[int, Checkpoints] | None = None
        self.ended = False  # the end of the input is written
        self.may_write: Callable[[int], bool] = lambda epoch: True
        self.on_abandoned: Callable[[int], None] = lambda epoch: None

    @property
    def n_pending(self) -> int:
        """Outcomes whose statistics are not written yet."""
        return len(self._pending)

    def open(self) -> None:
        """Open the sink, so that a refused password is known at once."""
        self._sink.open()

    def take(self, outcome: Outcome) -> None:
        """Write the decisions of an outcome; its statistics wait for `write_some`."""
        if outcome.epoch != self._epoch:
            self._epoch = outcome.epoch
            self._sink.forget()
        for verdicts in outcome.verdicts:
            self._write(verdicts, outcome.epoch, self._write_decisions)
        self._dead_letter.write(outcome.rejects)
        self._pending.append((outcome, self._chunks(outcome)))

    def _chunks(self, outcome: Outcome) -> Iterator[Verdicts]:
        for verdicts in outcome.verdicts:
            if not verdicts.final or verdicts.partial or self._statistics == "none":
                continue
            rows = verdicts
            if self._statistics == "flagged":
                rows = verdicts.flagged(self._enforce_mask)
            for i in range(0, len(rows.frame), CHUNK_ROWS):
                yield rows._replace(frame=rows.frame.slice(i, CHUNK_ROWS))

    def write_some(self) -> bool:
        """Write one chunk of statistics, or acknowledge the oldest outcome; False when idle."""
        if not self._pending:
            return False
        outcome, chunks = self._pending[0]
        chunk = next(chunks, None)
        if chunk is not None:
            self._write(chunk, outcome.epoch, self._write_statistics)
            return True
        self._pending.popleft()
        self._dead_letter.flush()
        if outcome.epoch != self._broken_epoch:
            self.ended = outcome.ended
            if outcome.checkpoints is not None:
                self.acked = (outcome.epoch, outcome.checkpoints)
        return True

    def _write(self, verdicts: Verdicts, epoch: int, write: Callable[[Verdicts], Written]) -> None:
        """Write unless the epoch is over; what is abandoned is read again from the commits."""
        if epoch == self._broken_epoch:
            return
        with self._metrics.stage("write"):
            complete = self.may_write(epoch) and self._note(write(verdicts))
        if not complete:
            self._broken_epoch = epoch
            self.on_abandoned(epoch)

    def _write_decisions(self, verdicts: Verdicts) -> Written:
        written = self._sink.write_decisions(verdicts, now_s=self._clock())
        if written.complete:
            self._observe(verdicts, now_s=self._clock(), n_expired=written.n_expired)
        return written

    def _write_statistics(self, verdicts: Verdicts) -> Written:
        return self._sink.write_statistics(verdicts, now_s=self._clock())

    def _note(self, written: Written) -> bool:
        self._metrics.keys_written += written.n_keys
        self._metrics.expired += written.n_expired
        self._metrics.last_ack_s = time.monotonic()
        return written.complete
