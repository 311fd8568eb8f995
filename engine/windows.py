"""Windows of event time, as plain numbers: what cuts the log, and where each cut begins and ends.

A rule set has several kinds of window at once: that of `window.*`, and those that its rules name.
Starts and ends are whole multiples of the slide, in unix seconds; a window is [start, end).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from engine.errors import ConfigError
from engine.schema import check_range

MAX_OPEN_PANES = 10_000


class Window(NamedTuple):
    """A kind of window: its length and the distance between two starts, in seconds."""

    length_s: int
    slide_s: int

    @property
    def is_tumbling(self) -> bool:
        """Whether each moment lies in one window only."""
        return self.slide_s == self.length_s

    @property
    def pane_s(self) -> int:
        """The longest piece of time on whose borders every window begins and ends."""
        return math.gcd(self.length_s, self.slide_s)

    @property
    def n_panes(self) -> int:
        """How many panes make a window."""
        return self.length_s // self.pane_s

    def last_end_s(self, time_s: int) -> int:
        """Return the end of the last window that holds this moment."""
        return time_s // self.slide_s * self.slide_s + self.length_s

    def first_end_s(self, after_s: int) -> int:
        """Return the first end that comes after this moment."""
        return (
            (after_s - self.length_s) // self.slide_s * self.slide_s + self.slide_s + self.length_s
        )

    def __str__(self) -> str:
        """Write it as commits name it."""
        return f"{self.length_s}/{self.slide_s}"


def window_of(length_s: int, slide_s: int | None, *, key: str) -> Window:
    """Return the window; refuse a slide that leaves gaps or makes too many panes. `key`: of it."""
    window = Window(length_s, length_s if slide_s is None else slide_s)
    check_range(key, window.slide_s, low=1, high=length_s)
    if window.n_panes > MAX_OPEN_PANES:
        problem = f"{slide_s} cuts a window into {window.n_panes} panes; allowed: {MAX_OPEN_PANES}"
        raise ConfigError(key, problem)
    return window
