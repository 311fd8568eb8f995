"""Open windows: events in, closed windows' verdicts out, and the offsets from which to rebuild.

State is kept per pane (the gcd of lengths and slides); a window's verdict is the sum of its panes.
The watermark is the least pmax - delay over the partitions that are not idle, and never goes back.
No clock is read here: what it says comes as an argument, and when all partitions are idle it closes
the windows that are open, no more: a backlog that arrives later is not late by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.checkpoint import Checkpoint
from engine.batch.running import RunningWindow
from engine.batch.verdict import MAX_ROWS, Verdicts, early_verdicts, final_verdicts
from engine.kernels.accumulate import Early, accumulate, empty_crossings, first_crossing
from engine.kernels.address import Int
from engine.kernels.frozen import frozen
from engine.kernels.pane import Counts, PaneArrays, empty_pane, grow_pane
from engine.kernels.table import LARGE
from engine.kernels.triage import (
    ACCEPTED,
    LATE_AFTER_IDLE,
    NEVER,
    REPLAYED,
    WindowTimes,
    mark_first,
    triage,
)
from engine.rules import RuleSet

# So many panes are made as large as the last that closed; there may be thousands. One of a flood
# of addresses is not believed: room that is not used would be most of the memory.
ROOMY_PANES, ROOMY_KEYS = 8, LARGE


class WindowSpec(NamedTuple):
    """The config of windows, in seconds; `mode` and the sizes go into checkpoints."""

    length_s: int
    slide_s: int
    delay_s: int
    idle_s: float
    max_keys: int
    max_categories: int
    mode: str = "unkeyed"

    @property
    def pane_s(self) -> int:
        """The pane: every window begins and ends on its border."""
        return math.gcd(self.length_s, self.slide_s)

    @property
    def windows(self) -> str:
        """The windows as a checkpoint names them."""
        return f"{self.length_s}/{self.slide_s}"


class Pane:
    """The counters of one pane, and where it begins in each partition (offset -1 where not)."""

    def __init__(self, n_partitions: int, *, n_keys: int) -> None:
        """Begin without events, with room for about so many keys."""
        self.arrays: PaneArrays = empty_pane(n_keys)
        self.first_offset = np.full(n_partitions, -1, np.int64)
        self.first_pmax = np.full(n_partitions, NEVER, np.int64)


class OpenWindows:
    """All that is known between two polls: the windows that are open and how far each log is."""

    def __init__(self, spec: WindowSpec, rules: RuleSet, *, n_partitions: int, seed: int) -> None:
        """Begin with nothing seen; `seed` only places keys in the tables."""
        self.spec, self.rules = spec, rules
        self.seed = np.uint64(seed)
        self.panes: dict[int, Pane] = {}
        self.pmax_s = np.full(n_partitions, NEVER, np.int64)
        self.position = np.full(n_partitions, -1, np.int64)
        self.complete_from_s = np.zeros(n_partitions, np.int64)
        self.awaits_first = np.zeros(n_partitions, np.bool_)
        self.lateness = np.zeros((3, n_partitions), np.int64)
        self.watermark_s = self.closed_s = self.restored_s = NEVER
        self.n_late_after_idle = self.n_replayed = self.n_overflow = self._usual_keys = 0
        tumbling = spec.slide_s == spec.length_s
        self.running = None if tumbling else RunningWindow(self.seed)
        mask = np.uint64(rules.monotone_mask if tumbling else 0)
        self.early = Early(rules.program, mask, first_crossing(rules.program, mask))

    def restore(self, partition: int, checkpoint: Checkpoint) -> None:
        """Go on where an earlier run has committed."""
        self.pmax_s[partition] = checkpoint.pmax_s
        self.complete_from_s[partition] = checkpoint.complete_from_s
        entered = checkpoint.complete_from_s > 0 and checkpoint.pmax_s == NEVER
        self.awaits_first[partition] = entered
        self.restored_s = self.closed_s = max(self.closed_s, checkpoint.closed_s)

    def add(self, events: pl.DataFrame) -> list[Verdicts]:
        """Count an EVENT frame; return the early verdicts that it caused."""
        times = WindowTimes(
            self.spec.pane_s,
            self.spec.length_s,
            self.spec.slide_s,
            self.spec.delay_s,
            self.watermark_s,
            self.restored_s,
        )
        partition, time = _column(events, "partition"), _column(events, "time")
        result = triage(partition, time, times, self.pmax_s, self.lateness)
        self._note_complete(partition, time)
        self.n_late_after_idle += int(np.count_nonzero(result.action == LATE_AFTER_IDLE))
        self.n_replayed += int(np.count_nonzero(result.action == REPLAYED))
        marked = events.with_columns(
            pane=pl.Series(result.pane), pmax_before=pl.Series(result.pmax_before)
        )
        accepted = result.action == ACCEPTED
        if not accepted.all():
            marked = marked.filter(pl.Series(accepted))
        budget = np.array([self.spec.max_keys - self.n_keys, 0], np.int64)
        early = [self._add_to_pane(number, rows, budget) for number, rows in _by_pane(marked)]
        self.n_overflow += int(budget[1])
        return [verdicts for verdicts in early if len(verdicts.frame)]

    def _note_complete(self, partition: NDArray[np.int32], time: NDArray[np.int64]) -> None:
        """Let the first event of a log entered in the middle say from where it is complete."""
        for p in np.flatnonzero(self.awaits_first):
            rows = np.flatnonzero(partition == p)
            if len(rows):
                self.complete_from_s[p] = int(time[rows[0]]) + self.spec.delay_s
                self.awaits_first[p] = False

    def _add_to_pane(self, number: int, rows: pl.DataFrame, budget: NDArray[np.int64]) -> Verdicts:
        pane = self.panes.get(number)
        if pane is None:
            n_keys = self._usual_keys if len(self.panes) < ROOMY_PANES else 0
            pane = self.panes[number] = Pane(len(self.pmax_s), n_keys=n_keys)
        mark_first(
            _column(rows, "partition"),
            _column(rows, "offset"),
            _column(rows, "pmax_before"),
            pane.first_offset,
            pane.first_pmax,
        )
        keys = (
            _column(rows, "high"),
            _column(rows, "low"),
            _column(rows, "category"),
            _column(rows, "kind"),
        )
        crossings = empty_crossings(len(rows) if self.early.mask else 0)
        row: Int = 0
        n: Int = 0
        while True:
            row, n = accumulate(
                pane.arrays,
                self.seed,
                keys,
                row,
                budget,
                self.early,
                self.spec.max_categories,
                crossings,
                n,
            )
            if row == len(rows):
                break
            grow_pane(pane.arrays, self.seed)
        start_s = number * self.spec.pane_s
        crossed_ms = rows["timestamp_ms"].gather(crossings.row[:n])
        return early_verdicts(
            crossings,
            int(n),
            pane=pane.arrays,
            window=(start_s, start_s + self.spec.length_s),
            crossed_ms=crossed_ms,
        )

    @property
    def n_keys(self) -> int:
        """Keys held, over all open panes."""
        return sum(pane.arrays.n_keys for pane in self.panes.values())

    def advance(
        self, *, idle: NDArray[np.bool_], finished: NDArray[np.bool_], clock_s: float
    ) -> Iterator[Verdicts]:
        """Move the watermark and yield the verdicts of the windows it closes, oldest first."""
        watermark_s = self._next_watermark(idle, finished, clock_s)
        self.watermark_s = max(self.watermark_s, watermark_s)
        for end_s in sorted(self._ends_until(self.watermark_s)):
            yield from self._close(end_s)
        slide_s, length_s = self.spec.slide_s, self.spec.length_s
        last_end_s = (self.watermark_s - length_s) // slide_s * slide_s + length_s
        self.closed_s = max(self.closed_s, last_end_s)
        for number in [n for n in self.panes if self._last_end_s(n) <= self.watermark_s]:
            self._usual_keys = min(self.panes.pop(number).arrays.n_keys, ROOMY_KEYS)

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
            return max((self._last_end_s(number) for number in self.panes), default=NEVER)
        over_s = math.floor(clock_s - self.spec.delay_s - self.spec.idle_s)
        return max(self._ends_until(over_s), default=NEVER)

    def _last_end_s(self, number: int) -> int:
        """Return the end of the last window that holds this pane."""
        slide_s = self.spec.slide_s
        return number * self.spec.pane_s // slide_s * slide_s + self.spec.length_s

    def _ends_until(self, limit_s: int) -> set[int]:
        """Return the ends, up to a limit, of the windows that hold a pane and are not closed."""
        slide_s, length_s = self.spec.slide_s, self.spec.length_s
        ends: set[int] = set()
        for number in self.panes:
            after_s = max(number * self.spec.pane_s, self.closed_s)
            first_s = (after_s - length_s) // slide_s * slide_s + slide_s + length_s
            ends.update(range(first_s, min(self._last_end_s(number), limit_s) + 1, slide_s))
        return ends

    def _close(self, end_s: int) -> Iterator[Verdicts]:
        """Judge a window in parts, each made when the one before has been passed on."""
        start_s = end_s - self.spec.length_s
        complete_from_s = int(self.complete_from_s.max())
        partial = complete_from_s > 0 and start_s < complete_from_s
        n_left, parts = self._counts(start_s, end_s)
        for counts in parts:
            n_left -= len(counts.high)
            yield final_verdicts(
                counts,
                window=(start_s, end_s),
                rules=self.rules,
                partial=partial,
                last=n_left == 0,
            )

    def _counts(self, start_s: int, end_s: int) -> tuple[int, Iterator[Counts]]:
        """Return how many addresses a window has, and what they have counted."""
        first, after = start_s // self.spec.pane_s, end_s // self.spec.pane_s
        held = {n: self.panes[n].arrays for n in range(first, after) if n in self.panes}
        if self.running is None:
            return held[first].n_keys, held[first].counts(MAX_ROWS)
        self.running.move_to(held, first)
        return self.running.n_keys, self.running.counts(MAX_ROWS, self.spec.max_categories)

    def checkpoints(self) -> dict[int, tuple[int, Checkpoint]]:
        """Return {partition: (restart offset, checkpoint)} of what is read so far."""
        found = {}
        for p in np.flatnonzero(self.position >= 0).tolist():
            offset, pmax_s = int(self.position[p]), int(self.pmax_s[p])
            for pane in self.panes.values():
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


def _column(frame: pl.DataFrame, name: str) -> NDArray[Any]:
    """Return a column as the kernels take it."""
    return frozen(frame[name].to_numpy())


def _by_pane(marked: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield (pane, its rows in order), in one pass however many panes there are."""
    if len(marked) == 0:
        return
    pane = marked["pane"].to_numpy()
    if pane.min() == pane.max():
        yield int(pane[0]), marked
        return
    order = np.argsort(pane, kind="stable")
    ordered = marked[order]
    borders = np.flatnonzero(np.diff(pane[order])) + 1
    first = 0
    for last in [*borders.tolist(), len(ordered)]:
        yield int(pane[order[first]]), ordered[first:last]
        first = last
