"""One frame of the live view: facts on top, a share for each stage, the newest bots below.

Pure: the same numbers give the same frame. It fits the width and height that it is given; what has
no room is left out from its least important end. It is ASCII, nothing in it is read as markup, and
plain text has the terminal's own colours, so it suits light and dark ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from engine.detections import Detection
from engine.metrics import Metrics
from engine.terminal.bot_table import bot_lines
from engine.terminal.readings import (
    UNKNOWN,
    Rates,
    counted,
    cut,
    distance,
    listed,
    moment,
    n_late,
    number,
    watermark_s,
    whole,
)

LABEL_WIDTH = 10
WIDE = 76  # from here on facts stand in two columns, and stages have room
ROOMY = 16  # from this height on there is room for losses, stages and a blank line
MAX_BAR = 16


class Shown(NamedTuple):
    """All that a frame is made of; `recent` detections come oldest first."""

    title: str
    begun_s: float
    now_s: float
    metrics: Metrics
    rates: Rates
    recent: Sequence[Detection]


class Fact(NamedTuple):
    """A label and what it says."""

    label: str
    text: str
    style: str = ""


def frame(shown: Shown, *, width: int, height: int) -> Text:
    """Return at most height - 1 lines: one is left to spare."""
    lines = list(head(shown, width=width, height=height))
    n_rows = max(height - len(lines) - 2, 1)
    lines += bot_lines(shown.recent, now_s=shown.now_s, width=width, n_rows=n_rows)
    del lines[max(height - 1, 1) :]
    for line in lines:
        line.truncate(width)
    return Text("\n", no_wrap=True).join(lines)


def head(shown: Shown, *, width: int, height: int) -> Iterator[Text]:
    """Yield the lines above the bots: at most half of a low terminal."""
    yield heading(shown, width)
    n_columns = 2 if width >= WIDE else 1
    pairs = facts(shown)[: n_columns * max(height // 2 - 1, 1)]
    for i in range(0, len(pairs), n_columns):
        yield side_by_side(pairs[i : i + n_columns], width // n_columns)
    if height >= ROOMY:
        for fact in losses(shown.metrics):
            yield side_by_side([fact], width)
        if width >= WIDE:
            yield stages(shown.rates, width)
        yield Text()


def heading(shown: Shown, width: int) -> Text:
    """Return the first line: the title, what time it is, and since when it runs."""
    now_s = shown.now_s
    clock = f"{moment(now_s, now_s=now_s)}, up {whole(now_s - shown.begun_s)}"
    title = cut(shown.title, width - len(clock) - 1)
    return Text.assemble((title, "bold"), (clock.rjust(width - len(title)), "dim"))


def facts(shown: Shown) -> list[Fact]:
    """Return what is always shown, the most important first."""
    metrics, rates, now_s = shown.metrics, shown.rates, shown.now_s
    reached_s, reached = watermark_s(metrics), UNKNOWN
    if reached_s is not None:
        reached = f"{moment(reached_s, now_s=now_s)}, {distance(reached_s, now_s=now_s)}"
    sink = Fact("sink", f"ready, {number(rates.keys_per_s)} keys/s", "green")
    if not metrics.sink_ready:
        sink = Fact("sink", "not ready: waiting for it", "bold red")
    return [
        Fact("events", f"{number(rates.events_per_s)}/s, {number(metrics.events)} in all"),
        Fact("flagged", counted(metrics.addresses_flagged, "address"), "bold"),
        sink,
        Fact("lag", UNKNOWN if metrics.lag is None else counted(metrics.lag, "record")),
        Fact("watermark", reached),
        Fact("windows", f"{metrics.open_windows} open, {number(metrics.windows)} closed"),
    ]


def losses(metrics: Metrics) -> Iterator[Fact]:
    """Yield what did not count or was held back, where there is any."""
    late, n_rejected = n_late(metrics), sum(dict(metrics.rejected).values())
    if late:
        yield Fact("late", counted(late, "event"))
    if n_rejected:
        yield Fact("rejected", f"{number(n_rejected)}: {listed(metrics.rejected)}")
    if metrics.overflow:
        text = f"{counted(metrics.overflow, 'event')} beyond window.max_keys"
        yield Fact("left out", text, "bold")
    if metrics.suppressed_allowlisted:
        yield Fact("allowed", counted(metrics.suppressed_allowlisted, "verdict"))
    if metrics.guard_tripped:
        now = ", no decision is written now" if metrics.guard_open else ""
        style = "bold red" if metrics.guard_open else ""
        yield Fact("held", f"{counted(metrics.guard_tripped, 'window')}{now}", style)


def side_by_side(pairs: Sequence[Fact], width: int) -> Text:
    """Return facts in columns of this width; each is cut rather than wrapped."""
    line, room = Text(), width - LABEL_WIDTH - 1
    for label, text, style in pairs:
        line.append(label.ljust(LABEL_WIDTH), "dim").append(cut(text, room), style)
        line.append(" " * (room + 1 - len(text)))
    return line


def stages(rates: Rates, width: int) -> Text:
    """Return for each stage the share of the last seconds that it took, with a bar."""
    n_fixed = sum(len(f"{name}  100% ") for name in rates.busy)
    n_marks = max(min((width - n_fixed) // len(rates.busy), MAX_BAR), 1)
    line = Text()
    for name, share in rates.busy.items():
        n_full = round(share * n_marks)
        line.append(f"{name} ", "dim").append("#" * n_full, "green")
        line.append("." * (n_marks - n_full), "dim").append(f" {share:4.0%} ")
    return line
