"""What is shown while a run goes on: chosen here, with the plain view and the one that is none.

A view only reads what the pipeline's threads write, and waits for none of them. It writes to one
stream, log lines included, and a run outlives its terminal: a stream that breaks is given up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, Self, TextIO

from engine.detections import Detection, Detections
from engine.metrics import Metrics
from engine.terminal.live_view import LiveView, can_draw
from engine.terminal.log_lines import LogLines
from engine.terminal.readings import UNKNOWN, Pace, moment, n_late, snapshot, watermark_s

MAX_BOTS = 20
ISO = "%Y-%m-%dT%H:%M:%S"


class View(Protocol):
    """Shows a run between `with`; to be refreshed every `period_s`."""

    period_s: float

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *exc: object) -> None:
        """Leave the terminal as it was."""

    def refresh(self) -> None:
        """Show how things stand now."""

    def log_handler(self) -> logging.Handler:
        """Return the handler whose lines go well with what is shown."""


def make_view(
    kind: str,
    metrics: Metrics,
    detections: Detections,
    *,
    stream: TextIO,
    title: str,
    clock: Callable[[], float] = time.time,
) -> View:
    """Return the view of this kind: auto (live on a terminal, else plain), live, plain or none."""
    if kind == "none":
        return NoView(stream)
    wants_live = kind == "live" or (kind == "auto" and stream.isatty())
    if wants_live and can_draw(stream):
        return LiveView(metrics, detections, stream=stream, title=title, clock=clock)
    return PlainView(metrics, detections, stream=stream, clock=clock)


class NoView:
    """Shows nothing but log lines."""

    period_s = 1.0

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing to end."""

    def refresh(self) -> None:
        """Show nothing."""

    def log_handler(self) -> logging.Handler:
        """Return the handler that writes to the stream."""
        return LogLines(self._write)

    def _write(self, text: str) -> None:
        with suppress(OSError):  # nobody reads any more, which is no reason to stop
            self._stream.write(text + "\n")
            self._stream.flush()


class PlainView(NoView):
    """One line every few seconds, and one for each bot that is caught for the first time."""

    period_s = 5.0

    def __init__(
        self,
        metrics: Metrics,
        detections: Detections,
        *,
        stream: TextIO,
        clock: Callable[[], float],
    ) -> None:
        """Write to `stream`."""
        super().__init__(stream)
        self._metrics, self._detections, self._clock = metrics, detections, clock
        self._pace = Pace(metrics)
        self._n_told = 0

    def __enter__(self) -> Self:
        """Write the first line."""
        self.refresh()
        return self

    def refresh(self) -> None:
        """Write the line of now, and of each new bot."""
        now_s = self._clock()
        time_of_day = moment(now_s, now_s=now_s)
        lines = [status(self._metrics, self._pace.rates(now_s).events_per_s, now_s=now_s)]
        lines += self._bots(now_s)
        self._write("\n".join(f"{time_of_day} {line}" for line in lines))

    def _bots(self, now_s: float) -> list[str]:
        new = [bot for bot in snapshot(self._detections.recent) if bot.nth > self._n_told]
        if not new:
            return []
        # Told apart by their number: counters and bots are written one after the other.
        n_new, self._n_told = new[-1].nth - self._n_told, new[-1].nth
        shown = new[:MAX_BOTS]
        more = [f"... and {n_new - len(shown)} more"] if n_new > len(shown) else []
        return [bot_line(bot, now_s=now_s) for bot in shown] + more


def status(metrics: Metrics, events_per_s: float, *, now_s: float) -> str:
    """Return the counters as `name=value` words."""
    reached_s = watermark_s(metrics)
    words = {
        "events": metrics.events,
        "rate": f"{events_per_s:.0f}/s",
        "flagged": metrics.addresses_flagged,
        "windows": metrics.windows,
        "late": n_late(metrics),
        "rejected": sum(dict(metrics.rejected).values()),
        "watermark": UNKNOWN if reached_s is None else moment(reached_s, now_s=now_s, form=ISO),
        "lag": UNKNOWN if metrics.lag is None else metrics.lag,
    }
    if not metrics.sink_ready:
        words["sink"] = "not_ready"
    return " ".join(f"{name}={value}" for name, value in words.items())


def bot_line(bot: Detection, *, now_s: float) -> str:
    """Return one caught bot as words."""
    judged = "at_close" if bot.final else "early"
    left_s = max(round(bot.expiry_s - now_s), 0)
    return f"bot {bot.ip} {','.join(bot.reasons)} events={bot.events} {judged} ttl={left_s}s"
