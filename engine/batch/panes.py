"""The open panes of one size, and the windows that are made of them.

A tumbling window is one pane, so its monotone rules decide at the event that crosses a limit. Each
hopping window keeps running counts; several of them share the panes of their size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.running import RunningWindow
from engine.batch.verdict import MAX_ROWS, Verdicts, early_verdicts, final_verdicts
from engine.kernels.accumulate import Early, accumulate, empty_crossings, first_crossing
from engine.kernels.address import Int
from engine.kernels.codes import Codes
from engine.kernels.frozen import frozen
from engine.kernels.pane import Counts, PaneArrays, empty_pane, grow_pane
from engine.kernels.table import LARGE
from engine.kernels.triage import NEVER, mark_first
from engine.rules import RuleSet
from engine.windows import Window

# So many panes are made as large as the last that closed; there may be thousands. One of a flood
# of addresses is not believed: room that is not used would be most of the memory.
ROOMY_PANES, ROOMY_KEYS = 8, LARGE


class Pane:
    """The counters of one pane, and where it begins in each partition (offset -1 where not)."""

    def __init__(self, n_partitions: int, *, n_keys: int) -> None:
        """Begin without events, with room for about so many keys."""
        self.arrays: PaneArrays = empty_pane(n_keys)
        self.first_offset = np.full(n_partitions, -1, np.int64)
        self.first_pmax = np.full(n_partitions, NEVER, np.int64)


class End(NamedTuple):
    """A window that may be closed; in this order they are."""

    end_s: int
    window: Window


class Panes:
    """Counts events by panes of `pane_s` seconds and judges the windows that these make up."""

    def __init__(
        self,
        windows: Sequence[Window],
        rules: RuleSet,
        *,
        base: Window,
        codes: Codes,
        n_partitions: int,
        seed: np.uint64,
        max_categories: int,
    ) -> None:
        """Begin empty. All windows have the same pane; only those of `base` have statistics."""
        self._windows, self._rules, self._base = windows, rules, base
        self._n_partitions, self._seed, self._max_categories = n_partitions, seed, max_categories
        self.pane_s = windows[0].pane_s
        self.open: dict[int, Pane] = {}
        self._codes = codes
        self.running = {w: RunningWindow(seed) for w in windows if not w.is_tumbling}
        self._tumbling = next((w for w in windows if w.is_tumbling), None)
        self._programs = {window: rules.program_of(window) for window in windows}
        mask, program = np.uint64(0), self._programs[self._tumbling or windows[0]]
        if self._tumbling is not None:
            mask = np.uint64(rules.monotone_mask & rules.mask_of(self._tumbling))
        self._early = Early(program, mask, first_crossing(program, mask))
        self._usual_keys = 0

    @property
    def n_keys(self) -> int:
        """Keys held, over all open panes."""
        return sum(pane.arrays.n_keys for pane in self.open.values())

    # -- counting --------------------------------------------------------------------------------

    def add(
        self, marked: pl.DataFrame, budget: NDArray[np.int64], *, restored_s: int
    ) -> Iterator[Verdicts]:
        """Count rows of accepted events; yield the early verdicts that they cause.

        budget int64[2]: how many new keys may still be added, and how many rows found no room.
        Rows of windows that all end by `restored_s` were counted by an earlier run.
        """
        for number, rows in by_number(marked, column(marked, "time") // self.pane_s):
            if self.last_end_s(number) > restored_s:
                verdicts = self._add_to_pane(number, rows, budget)
                if len(verdicts.frame):
                    yield verdicts

    def _add_to_pane(self, number: int, rows: pl.DataFrame, budget: NDArray[np.int64]) -> Verdicts:
        pane = self._pane(number)
        mark_first(
            column(rows, "partition"),
            column(rows, "offset"),
            column(rows, "pmax_before"),
            pane.first_offset,
            pane.first_pmax,
        )
        names = ("high", "low", "category", "kind")
        high, low, category, kind = (column(rows, name) for name in names)
        crossings = empty_crossings(len(rows) if self._early.mask else 0)
        row: Int = 0
        n: Int = 0
        while True:
            row, n = accumulate(
                pane.arrays,
                self._codes,
                self._seed,
                (high, low, category, kind),
                row,
                budget,
                self._early,
                self._max_categories,
                crossings,
                n,
            )
            if row == len(rows):
                break
            grow_pane(pane.arrays, self._seed)
        start_s = number * self.pane_s
        return early_verdicts(
            crossings,
            int(n),
            pane=pane.arrays,
            window=(start_s, start_s + self.pane_s),
            crossed_ms=rows["timestamp_ms"].gather(crossings.row[:n]),
            is_base=self._tumbling == self._base,
        )

    def _pane(self, number: int) -> Pane:
        pane = self.open.get(number)
        if pane is None:
            n_keys = self._usual_keys if len(self.open) < ROOMY_PANES else 0
            pane = self.open[number] = Pane(self._n_partitions, n_keys=n_keys)
        return pane

    # -- closing ---------------------------------------------------------------------------------

    def last_end_s(self, number: int) -> int:
        """Return the end of the last window that holds this pane."""
        return max(window.last_end_s(number * self.pane_s) for window in self._windows)

    def ends(self, *, until_s: int, closed_s: int) -> set[End]:
        """Return the windows that hold a pane, are not closed, and end until then."""
        found: set[End] = set()
        for number in self.open:
            start_s = number * self.pane_s
            for window in self._windows:
                first_s = window.first_end_s(max(start_s, closed_s))
                last_s = min(window.last_end_s(start_s), until_s)
                found.update(End(s, window) for s in range(first_s, last_s + 1, window.slide_s))
        return found

    def close(self, end: End, *, partial: bool) -> Iterator[Verdicts]:
        """Judge a window in parts, each made when the one before has been passed on."""
        window, start_s = end.window, end.end_s - end.window.length_s
        n_left, parts = self._counts(window, start_s // self.pane_s)
        for counts in parts:
            n_left -= len(counts.high)
            yield final_verdicts(
                counts,
                window=(start_s, end.end_s),
                rules=self._rules,
                program=self._programs[window],
                partial=partial,
                last=n_left == 0,
                is_base=window == self._base,
            )

    def _counts(self, window: Window, first: int) -> tuple[int, Iterator[Counts]]:
        """Return how many addresses a window has, and what they have counted."""
        numbers = range(first, first + window.n_panes)
        held = {n: self.open[n].arrays for n in numbers if n in self.open}
        if window.is_tumbling:
            return held[first].n_keys, held[first].counts(MAX_ROWS)
        running = self.running[window]
        running.move_to(held, first)
        return running.n_keys, running.counts(MAX_ROWS, self._max_categories)

    def drop_until(self, watermark_s: int) -> None:
        """Give back the panes whose windows are all closed."""
        for number in [n for n in self.open if self.last_end_s(n) <= watermark_s]:
            self._usual_keys = min(self.open.pop(number).arrays.n_keys, ROOMY_KEYS)


def column(frame: pl.DataFrame, name: str) -> NDArray[Any]:
    """Return a column as the kernels take it."""
    return frozen(frame[name].to_numpy())


def by_number(
    frame: pl.DataFrame, numbers: NDArray[np.int64]
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield (number, its rows in order), in one pass however many there are."""
    if len(frame) == 0:
        return
    if numbers.min() == numbers.max():
        yield int(numbers[0]), frame
        return
    if (numbers[1:] < numbers[:-1]).any():
        order = np.argsort(numbers, kind="stable")
        frame, numbers = frame[order], numbers[order]
    first = 0
    for last in [*(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(frame)]:
        yield int(numbers[first]), frame[first:last]
        first = last
