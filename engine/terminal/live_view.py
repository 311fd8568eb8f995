"""The live view: draws the state of a run in place, on a terminal, with log lines above it.

Drawn only when `refresh` is called, by the thread that calls it. What a frame holds is made in
`engine.terminal.live_frame`. Nothing that is drawn is read as markup.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from engine.detections import Detections
from engine.metrics import Metrics
from engine.terminal.live_frame import Shown, frame
from engine.terminal.log_lines import LogLines, printable
from engine.terminal.readings import Pace, snapshot


class Terminal(Console):
    """A console for one stream, whether or not it says that it is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`, with colours where TERM and NO_COLOR allow them."""
        super().__init__(file=stream, force_terminal=True)

    def on_broken_pipe(self) -> None:
        """Fall silent; the default would end the process."""
        self.quiet = True


def can_draw(stream: TextIO) -> bool:
    """Whether the terminal can move its cursor; TERM=dumb cannot."""
    return not Terminal(stream).is_dumb_terminal


class LiveView:
    """Draws a frame four times a second; see `engine.terminal.view.View`."""

    period_s = 0.25

    def __init__(
        self,
        metrics: Metrics,
        detections: Detections,
        *,
        stream: TextIO,
        title: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is drawn yet."""
        self._metrics, self._detections, self._clock = metrics, detections, clock
        self._title, self._pace = printable(title), Pace(metrics)
        self._begun_s = clock()
        self._console = Terminal(stream)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        """Hide the cursor and draw the first frame."""
        with self._while_it_lasts():
            self._live.start()
        self.refresh()
        return self

    def __exit__(self, *exc: object) -> None:
        """Leave the last frame and show the cursor."""
        with self._while_it_lasts():
            self._live.stop()

    def refresh(self) -> None:
        """Draw how things stand now."""
        now_s, size = self._clock(), self._console.size
        rates, recent = self._pace.rates(now_s), snapshot(self._detections.recent)
        shown = Shown(self._title, self._begun_s, now_s, self._metrics, rates, recent)
        drawn = frame(shown, width=size.width, height=size.height)
        with self._while_it_lasts():
            self._live.update(drawn, refresh=True)

    def log_handler(self) -> logging.Handler:
        """Return the handler whose lines appear above the frame."""
        return LogLines(self._write)

    def _write(self, text: str) -> None:
        with self._while_it_lasts():
            self._console.print(Text(text), soft_wrap=True)

    @contextmanager
    def _while_it_lasts(self) -> Iterator[None]:
        """Fall silent when the terminal is gone: the run goes on without it."""
        try:
            yield
        except OSError:
            self._console.quiet = True
