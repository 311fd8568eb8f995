"""Open windows: events in, closed windows' verdicts out, and the offsets from which to rebuild.

A rule set may have several kinds of window. All are fed by one pass over the events, share one
watermark, and count by panes (`engine.batch.panes`); an event is late when its smallest pane is.
The watermark is the least pmax - delay over the partitions that are not idle, and never goes back.
No clock is read here: what it says comes as an argument, and when all partitions are idle it closes
the windows that are open, no more: a backlog that arrives later is not late by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.checkpoint import Checkpoint
from engine.batch.panes import Panes, column
from engine.batch.verdict import Verdicts
from engine.kernels.codes import empty_codes
from engine.kernels.triage import (
    ACCEPTED,
    LATE_AFTER_IDLE,
    NEVER,
    REPLAYED,
    WindowTimes,
    triage,
)
from engine.rules import RuleSet
from engine.windows import Window

UNKEYED, KEYED = "unkeyed", "keyed"


class WindowSpec(NamedTuple):
    """The config of windows; `mode` and the sizes go into checkpoints.

    kinds: the base window, which has the statistics, and then those that rules name. mode: whether
    an address may be in any partition (UNKEYED), or is in one only (KEYED).
    """

    kinds: tuple[Window, ...]
    delay_s: int
    idle_s: float
    max_keys: int
    max_categories: int
    mode: str = UNKEYED

    @property
    def pane_s(self) -> int:
        """The piece of time in which lateness is decided: every window begins on its border."""
        return math.gcd(*(window.pane_s for window in self.kinds))

    @property
    def longest_s(self) -> int:
        """The length of the longest window."""
        return max(window.length_s for window in self.kinds)

    @property
    def span_s(self) -> int:
        """Event time that a restart reads again at most: the oldest window that may be open."""
        return self.longest_s + self.delay_s

    @property
    def windows(self) -> str:
        """The windows as a checkpoint names them."""
        return "+".join(map(str, self.kinds))


class OpenWindows:
    """All that is known between two polls: the windows that are open and how far each log is."""

    def __init__(self, spec: WindowSpec, rules: RuleSet, *, n_partitions: int, seed: int) -> None:
        """Begin with nothing seen; `seed` only places keys in the tables."""
        self.spec, self.rules = spec, rules
        self.pmax_s = np.full(n_partitions, NEVER, np.int64)
        self.position = np.full(n_partitions, -1, np.int64)
        self.complete_from_s = np.zeros(n_partitions, np.int64)
        self.awaits_first = np.zeros(n_partitions, np.bool_)
        self.lateness = np.zeros((3, n_partitions), np.int64)
        self.watermark_s = self.closed_s = self.restored_s = NEVER
        self.n_late_after_idle = self.n_replayed = self.n_overflow = 0
        self.accepted = np.zeros(0, np.bool_)  # of the frame that was added last
        self._sizes_s = np.array(spec.kinds, np.int64).T.copy()
        codes = empty_codes()
        self.stores = [
            Panes(
                [window for window in spec.kinds if window.pane_s == pane_s],
                rules,
                base=spec.kinds[0],
                codes=codes,
                n_partitions=n_partitions,
                seed=np.uint64(seed),
                max_categories=spec.max_categories,
            )
            for pane_s in dict.fromkeys(window.pane_s for window in spec.kinds)
        ]

    def restore(self, partition: int, checkpoint: Checkpoint) -> None:
        """Go on where an earlier run has committed."""
        self.pmax_s[partition] = checkpoint.pmax_s
        self.complete_from_s[partition] = checkpoint.complete_from_s
        entered = checkpoint.complete_from_s > 0 and checkpoint.pmax_s == NEVER
        self.awaits_first[partition] = entered
        self.restored_s = self.closed_s = max(self.closed_s, checkpoint.closed_s)

    def read_to(self, position: NDArray[np.int64]) -> None:
        """Note the next offset of each partition, -1 where it is not read."""
        self.position[: len(position)] = position

    def add(self, events: pl.DataFrame, *, n_elsewhere: int = 0) -> list[Verdicts]:
        """Count an EVENT frame; return the early verdicts that it caused.

        n_elsewhere: keys of other windows that share `max_keys`.
        """
        partition, time = column(events, "partition"), column(events, "time")
        result = triage(partition, time, self._times(), self.pmax_s, self.lateness)
        self._note_complete(partition, time)
        self.n_late_after_idle += int(np.count_nonzero(result.action == LATE_AFTER_IDLE))
        self.n_replayed += int(np.count_nonzero(result.action == REPLAYED))
        marked = events.hstack([pl.Series("pmax_before", result.pmax_before)])
        self.accepted = result.action == ACCEPTED
        if not self.accepted.all():
            marked = marked.filter(pl.Series(self.accepted))
        budget = np.array([self.spec.max_keys - self.n_keys - n_elsewhere, 0], np.int64)
        found = [
            verdicts
            for store in self.stores
            for verdicts in store.add(marked, budget, restored_s=self.restored_s)
        ]
        self.n_overflow += int(budget[1])
        return found

    def _times(self) -> WindowTimes:
        spec = self.spec
        now = (self.watermark_s, self.restored_s)
        return WindowTimes(spec.pane_s, spec.delay_s, *now, *self._sizes_s)

    def _note_complete(self, partition: NDArray[np.int32], time: NDArray[np.int64]) -> None:
        """Let the first event of a log entered in the middle say from where it is complete."""
        for p in np.flatnonzero(self.awaits_first):
            rows = np.flatnonzero(partition == p)
            if len(rows):
                self.complete_from_s[p] = int(time[rows[0]]) + self.spec.delay_s
                self.awaits_first[p] = False

    @property
    def n_keys(self) -> int:
        """Keys held, over all open panes."""
        return sum(store.n_keys for store in self.stores)

    @property
    def n_late(self) -> int:
        """Events that were too late so far."""
        return int(self.lateness[0].sum())

    @property
    def n_panes(self) -> int:
        """Panes that are open."""
        return sum(len(store.open) for store in self.stores)

    def advance(
        self, *, idle: NDArray[np.bool_], finished: NDArray[np.bool_], clock_s: float
    ) -> Iterator[Verdicts]:
        """Move the watermark and yield the verdicts of the windows it closes, oldest first."""
        watermark_s = self._next_watermark(idle, finished, clock_s)
        self.watermark_s = max(self.watermark_s, watermark_s)
        yield from self._close_until(self.watermark_s)
        pane_s = self.spec.pane_s
        self.closed_s = max(self.closed_s, self.watermark_s // pane_s * pane_s)
        for store in self.stores:
            store.drop_until(self.watermark_s)

    def close_all(self) -> Iterator[Verdicts]:
        """Close every window: the input has ended."""
        everything = np.ones(len(self.pmax_s), np.bool_)
        yield from self.advance(idle=~everything, finished=everything, clock_s=0.0)

    def _next_watermark(
        self, idle: NDArray[np.bool_], finished: NDArray[np.bool_], clock_s: float
    ) -> int:
        waiting = ~(idle | finished)
        if waiting.any():
            slowest = int(self.pmax_s[waiting].min())
            return slowest if slowest == NEVER else slowest - self.spec.delay_s
        if finished.all():
            return max((s.last_end_s(n) for s in self.stores for n in s.open), default=NEVER)
        over_s = math.floor(clock_s - self.spec.delay_s - self.spec.idle_s)
        ends = [s.ends(until_s=over_s, closed_s=self.closed_s) for s in self.stores]
        return max((end.end_s for some in ends for end in some), default=NEVER)

    def _close_until(self, watermark_s: int) -> Iterator[Verdicts]:
        """Close windows by their ends, the shorter of two first."""
        ends = {
            end: store
            for store in self.stores
            for end in store.ends(until_s=watermark_s, closed_s=self.closed_s)
        }
        complete_from_s = int(self.complete_from_s.max()) if ends else 0
        for end in sorted(ends):
            start_s = end.end_s - end.window.length_s
            partial = complete_from_s > 0 and start_s < complete_from_s
            yield from ends[end].close(end, partial=partial)

    def checkpoints(self) -> dict[int, tuple[int, Checkpoint]]:
        """Return {partition: (restart offset, checkpoint)} of what is read so far."""
        panes = [pane for store in self.stores for pane in store.open.values()]
        found = {}
        for p in np.flatnonzero(self.position >= 0).tolist():
            offset, pmax_s = int(self.position[p]), int(self.pmax_s[p])
            for pane in panes:
                if 0 <= pane.first_offset[p] < offset:
                    offset, pmax_s = int(pane.first_offset[p]), int(pane.first_pmax[p])
            found[p] = (offset, self._checkpoint(p, pmax_s))
        return found

    def _checkpoint(self, partition: int, pmax_s: int) -> Checkpoint:
        return Checkpoint(
            pmax_s,
            self.closed_s,
            int(self.complete_from_s[partition]),
            self.spec.mode,
            self.spec.windows,
            self.rules.sha8,
        )
