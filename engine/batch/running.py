"""A hopping window that runs along with the panes: what it counts is never summed up anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from engine.kernels.address import Int
from engine.kernels.pane import Counts, PaneArrays
from engine.kernels.running import (
    N_EMPTY,
    N_ROWS,
    add_pane,
    copy_rows,
    counts_of,
    empty_running,
    grow_running,
    take_out_pane,
)


class RunningWindow:
    """The counts of the last window that was closed, ready to be moved to the next one."""

    def __init__(self, seed: np.uint64) -> None:
        """Begin with no pane in it; all panes that will be share one table of codes."""
        self._seed = seed
        self._arrays = empty_running()
        self._held: deque[tuple[int, PaneArrays]] = deque()

    @property
    def n_rows(self) -> int:
        """Rows in use, empty ones included."""
        return int(self._arrays.used[N_ROWS])

    def move_to(self, panes: dict[int, PaneArrays], first: int) -> None:
        """Hold the counts of the window that begins with pane `first` and holds these panes.

        `panes` are those that have events, by number; none of them changes any more. The window is
        moved to in the order of its ends.
        """
        while self._held and self._held[0][0] < first:
            number, arrays = self._held.popleft()
            take_out_pane(self._arrays, arrays, number, self._seed)
        newest = self._held[-1][0] if self._held else first - 1
        if self._arrays.used[N_EMPTY] > self.n_rows // 2:
            self.compact()
        for number in sorted(number for number in panes if number > newest):
            self._add(number, panes[number])

    @property
    def n_keys(self) -> int:
        """Addresses with events in the window."""
        return self.n_rows - int(self._arrays.used[N_EMPTY])

    def counts(self, max_rows: int, max_categories: int) -> Iterator[Counts]:
        """Yield what the window has counted, as arrays of up to so many addresses."""
        row: Int = 0
        for first in range(0, self.n_keys, max_rows):
            n = min(max_rows, self.n_keys - first)
            part, row = counts_of(self._arrays, max_categories, row, n)
            yield part

    def _add(self, number: int, arrays: PaneArrays) -> None:
        key: Int = 0
        while (key := add_pane(self._arrays, arrays, number, self._seed, key)) < arrays.used[0]:
            grow_running(self._arrays, self._seed)
        self._held.append((number, arrays))

    def compact(self) -> None:
        """Leave the empty rows behind."""
        old, n_rows = self._arrays, self.n_rows
        into = empty_running(n_rows - int(old.used[N_EMPTY]))
        index: Int = 0
        while (index := copy_rows(old, into, self._seed, index)) < n_rows:
            grow_running(into, self._seed)
        self._arrays = into
