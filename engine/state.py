"""Steps 2 to 4 of the pipeline: from a micro-batch to verdicts, with all that is open in between.

Pure but for the metrics that it fills: what the clock says comes with the batch. The step starts
anew at each assignment and drops batches of an earlier one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.checkpoint import Checkpoint
from engine.batch.decode import (
    NO_EVENTS,
    NO_REJECTS,
    DecodedBatch,
    DecodeOptions,
    Records,
    decode,
)
from engine.batch.journal import Step
from engine.batch.keyed import is_keyed_otherwise, open_windows
from engine.batch.verdict import MAX_ROWS, Verdicts
from engine.batch.window import KEYED, WindowSpec
from engine.errors import ConfigError
from engine.kernels.triage import NEVER
from engine.metrics import Metrics
from engine.rules import RuleSet
from engine.sources import Assigned, Batch

log = logging.getLogger(__name__)

CHECKPOINT_S = 0.5
SHOWN_BYTES = 45  # as many as the longest address has
NONE_ACCEPTED = np.zeros(0, np.bool_)

Checkpoints = dict[int, tuple[int, Checkpoint]]


class Outcome(NamedTuple):
    """What one batch led to: verdicts to write in this order, and what may be committed then.

    events: what the batch held, late events too; accepted: which of them count; step: what was
    done with it. The last outcome of a batch has all three.
    """

    epoch: int
    verdicts: list[Verdicts]
    rejects: pl.DataFrame
    checkpoints: Checkpoints | None
    ended: bool
    events: pl.DataFrame = NO_EVENTS
    step: Step | None = None
    accepted: NDArray[np.bool_] = NONE_ACCEPTED


class State:
    """Steps 2 to 4: from a batch to verdicts. Starts anew at each assignment."""

    def __init__(
        self,
        options: DecodeOptions,
        spec: WindowSpec,
        rules: RuleSet,
        *,
        seed: int,
        metrics: Metrics,
        accept_state_change: bool = False,
        event_clock: bool = False,
    ) -> None:
        """Nothing is assigned yet. `event_clock`: a record came when its event says."""
        self._options, self._spec, self._rules, self._seed = options, spec, rules, seed
        self._metrics, self._accept = metrics, accept_state_change
        self._event_clock = event_clock
        self._windows = open_windows(spec, rules, n_partitions=0, seed=seed)
        self._epoch = -1
        self._checkpoint_s = 0.0
        self._assigned: list[Checkpoint | None] | None = None

    def assign(self, assigned: Assigned) -> None:
        """Begin with what the new assignment's commits say."""
        windows = open_windows(
            self._spec, self._rules, n_partitions=assigned.n_partitions, seed=self._seed
        )
        for partition, checkpoint in assigned.checkpoints.items():
            windows.restore(partition, self._checked(checkpoint))
        self._windows, self._epoch = windows, assigned.epoch
        self._assigned = [assigned.checkpoints.get(p) for p in range(assigned.n_partitions)]

    def _checked(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return what to go on with: of other windows only those that miss no record are whole."""
        now = (self._spec.mode, self._spec.windows)
        was = (checkpoint.mode, checkpoint.windows)
        if was != now and not self._accept:
            problem = (
                f"the group has committed for windows {was[1]} ({was[0]}), the config says "
                f"{now[1]} ({now[0]}); set accept_state_change=true to drop what is open"
            )
            key = "window.length_s" if was[0] == now[0] else "source.keyed"
            raise ConfigError(key, problem)
        if checkpoint.rules_sha8 != self._rules.sha8:
            log.info(
                "rules: changed since the last commit; open windows are judged by the new ones"
            )
        if was == now or checkpoint.pmax_s == NEVER:
            return checkpoint
        complete_from_s = max(checkpoint.complete_from_s, checkpoint.pmax_s + 1)
        return checkpoint._replace(complete_from_s=complete_from_s)

    def step(self, batch: Batch) -> Iterator[Outcome]:
        """Run steps 2 to 4 on a batch; many windows that close at once are several outcomes."""
        if batch.epoch != self._epoch:
            yield Outcome(batch.epoch, [], NO_REJECTS, None, batch.ended)
            return
        windows, metrics = self._windows, self._metrics
        n_late = windows.n_late
        with metrics.stage("decode"):
            decoded = self._decoded(batch)
            self._look_at_key(batch.records, decoded.events)
        with metrics.stage("accumulate"):
            verdicts = windows.add(decoded.events)
            windows.read_to(batch.position)
        for closed in self._closing(batch):
            verdicts.append(closed)
            if sum(len(one.frame) for one in verdicts) >= MAX_ROWS:
                yield Outcome(batch.epoch, verdicts, NO_REJECTS, None, ended=False)
                verdicts = []
        self._count(batch, decoded.events, decoded.rejects, decoded.n_unknown_type)
        since_s = batch.clock_s - self._checkpoint_s  # below zero where the clock was set back
        due = batch.ended or not 0 <= since_s < CHECKPOINT_S
        if due:
            self._checkpoint_s, metrics.keys_held = batch.clock_s, windows.n_keys
        checkpoints = windows.checkpoints() if due else None
        step = self._step_of(batch, n_late=windows.n_late - n_late)
        yield Outcome(
            batch.epoch,
            verdicts,
            decoded.rejects,
            checkpoints,
            batch.ended,
            decoded.events,
            step,
            windows.accepted,
        )

    def _look_at_key(self, records: Records, events: pl.DataFrame) -> None:
        """Of a keyed topic, see in each batch whether one record's key is its address."""
        if self._spec.mode != KEYED or not is_keyed_otherwise(records, events):
            return
        if not self._metrics.key_mismatch:
            log.warning(
                "source.keyed: partition %d, offset %d: the key %r is not the address; one in "
                "several partitions is judged in parts: key the topic by address (task=rekey)",
                records.partition[0],
                records.offset[0],
                records.first_key.tobytes()[:SHOWN_BYTES],
            )
        self._metrics.key_mismatch += 1

    def last(self) -> Outcome:
        """Return what may be committed when all is written and no batch comes any more."""
        return Outcome(self._epoch, [], NO_REJECTS, self._windows.checkpoints(), ended=True)

    def _step_of(self, batch: Batch, *, n_late: int) -> Step:
        """Return what the batch was, and before it the assignment that it is the first of."""
        assigned, self._assigned = self._assigned, None
        partition, offset = batch.places()
        return Step(
            batch.clock_s,
            self._windows.watermark_s,
            batch.position,
            batch.idle,
            batch.finished,
            partition,
            offset,
            n_late,
            assigned,
        )

    def _decoded(self, batch: Batch) -> DecodedBatch:
        decoded = DecodedBatch(batch.events, NO_REJECTS, 0) if batch.events is not None else None
        decoded = decoded or decode(batch.records, self._options)
        if not self._event_clock:
            return decoded
        events = decoded.events.with_columns(timestamp_ms=pl.col("time") * 1000)
        return decoded._replace(events=events)

    def _closing(self, batch: Batch) -> Iterator[Verdicts]:
        """Yield the windows that the batch closes, each when the one before has been passed on."""
        closing = self._windows.advance(
            idle=batch.idle, finished=batch.finished, clock_s=batch.clock_s
        )
        while True:
            with self._metrics.stage("judge"):
                closed = next(closing, None)
            if closed is None:
                return
            yield closed

    def _count(
        self, batch: Batch, events: pl.DataFrame, rejects: pl.DataFrame, n_unknown: int
    ) -> None:
        metrics, windows = self._metrics, self._windows
        metrics.records += len(events) + len(rejects)
        metrics.events += len(events)
        metrics.unknown_type += n_unknown
        metrics.rejected.update(rejects["reason"].to_list())
        metrics.late = {
            p: (int(n), int(total), int(most))
            for p, (n, total, most) in enumerate(windows.lateness.T)
            if n
        }
        metrics.late_after_idle, metrics.replayed = windows.n_late_after_idle, windows.n_replayed
        metrics.overflow = windows.n_overflow
        metrics.watermark_s, metrics.open_windows = windows.watermark_s, windows.n_panes
