"""Windows of a topic that is keyed by address: each partition is a task with windows of its own.

An address is in one partition only, so no partition waits for another: each has its own watermark,
and an engine that reads some of them knows all there is to know of their addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.checkpoint import Checkpoint
from engine.batch.decode import Records
from engine.batch.panes import by_number, column
from engine.batch.verdict import Verdicts
from engine.batch.window import KEYED, OpenWindows, WindowSpec
from engine.kernels.ranges import parsed
from engine.kernels.triage import NEVER
from engine.rules import RuleSet


class KeyedWindows:
    """The open windows of each partition; see `OpenWindows`, of which each task is one.

    Each knows all partitions by number, so that indexes are the same everywhere, and gets the
    events of one.
    """

    def __init__(self, spec: WindowSpec, rules: RuleSet, *, n_partitions: int, seed: int) -> None:
        """Begin with nothing seen."""
        self._spec, self._rules, self._seed = spec, rules, seed
        self._n_partitions = n_partitions
        self._tasks: dict[int, OpenWindows] = {}
        self.accepted = np.zeros(0, np.bool_)

    def _task(self, partition: int) -> OpenWindows:
        """Return the task of a partition, a new one where it is not known yet."""
        if partition not in self._tasks:
            self._tasks[partition] = OpenWindows(
                self._spec, self._rules, n_partitions=self._n_partitions, seed=self._seed
            )
        return self._tasks[partition]

    def restore(self, partition: int, checkpoint: Checkpoint) -> None:
        """Go on where an earlier run, perhaps of another engine, has committed."""
        self._task(partition).restore(partition, checkpoint)

    def read_to(self, position: NDArray[np.int64]) -> None:
        """Note the next offset of each partition, -1 where it is not read."""
        for partition in np.flatnonzero(position >= 0).tolist():
            self._task(partition).position[partition] = position[partition]

    def add(self, events: pl.DataFrame) -> list[Verdicts]:
        """Count an EVENT frame; return the early verdicts that it caused."""
        partitions, found = column(events, "partition"), []
        self.accepted = np.zeros(len(events), np.bool_)
        for partition, rows in by_number(events, partitions):
            task = self._task(partition)
            found += task.add(rows, n_elsewhere=self.n_keys - task.n_keys)
            self.accepted[partitions == partition] = task.accepted
        return found

    def advance(
        self, *, idle: NDArray[np.bool_], finished: NDArray[np.bool_], clock_s: float
    ) -> Iterator[Verdicts]:
        """Move each watermark and yield the verdicts of the windows that it closes."""
        for partition, task in self._tasks.items():
            others = np.arange(len(finished)) != partition
            yield from task.advance(idle=idle, finished=finished | others, clock_s=clock_s)

    def checkpoints(self) -> dict[int, tuple[int, Checkpoint]]:
        """Return {partition: (restart offset, checkpoint)} of what is read so far."""
        return {
            p: point for task in self._tasks.values() for p, point in task.checkpoints().items()
        }

    # -- figures ---------------------------------------------------------------------------------

    @property
    def watermark_s(self) -> int:
        """The least of the tasks: what all have reached."""
        return min((task.watermark_s for task in self._tasks.values()), default=NEVER)

    @property
    def lateness(self) -> NDArray[np.int64]:
        """Late events of each partition: how many, and the sum and the most of their seconds."""
        late = [task.lateness for task in self._tasks.values()]
        return sum(late, np.zeros((3, self._n_partitions), np.int64))

    @property
    def n_late(self) -> int:
        """Events that were too late so far."""
        return sum(task.n_late for task in self._tasks.values())

    @property
    def n_late_after_idle(self) -> int:
        """Events that were late by the clock, since their partition was idle."""
        return sum(task.n_late_after_idle for task in self._tasks.values())

    @property
    def n_replayed(self) -> int:
        """Events whose windows an earlier run has closed."""
        return sum(task.n_replayed for task in self._tasks.values())

    @property
    def n_overflow(self) -> int:
        """Events of addresses that found no room."""
        return sum(task.n_overflow for task in self._tasks.values())

    @property
    def n_keys(self) -> int:
        """Keys held, over all open panes."""
        return sum(task.n_keys for task in self._tasks.values())

    @property
    def n_panes(self) -> int:
        """Panes that are open."""
        return sum(task.n_panes for task in self._tasks.values())


def is_keyed_otherwise(records: Records, events: pl.DataFrame) -> bool:
    """Whether the first of these records is an event with a key that is not its address."""
    if not len(records.offset) or not len(events):
        return False
    first = events.row(0, named=True)
    if (first["partition"], first["offset"]) != (records.partition[0], records.offset[0]):
        return False  # it is no event, and has no address
    good, high, low = parsed([records.first_key.tobytes()])
    return not good[0] or (high[0], low[0]) != (first["high"], first["low"])


def open_windows(
    spec: WindowSpec, rules: RuleSet, *, n_partitions: int, seed: int
) -> OpenWindows | KeyedWindows:
    """Return the windows of the mode of `spec`, with nothing seen."""
    kind = KeyedWindows if spec.mode == KEYED else OpenWindows
    return kind(spec, rules, n_partitions=n_partitions, seed=seed)
