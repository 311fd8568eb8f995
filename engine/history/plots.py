"""The plots of an evaluation: how soon, which bots, and by which rules people are flagged."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.history.svg import (
    BOTTOM,
    LEFT,
    NAMES,
    RIGHT,
    TOP,
    Axis,
    across,
    element,
    frame,
    line,
    picture,
    text,
    title,
    upward,
)
from engine.terminal.readings import counted, cut, number

Figures = Mapping[str, Any]
TIMES_S = {
    **{0: "0", 1: "1 s", 3: "3 s", 10: "10 s", 30: "30 s", 120: "2 min", 600: "10 min"},
    **{3600: "1 h", 21_600: "6 h", 86_400: "1 d", 604_800: "7 d", 2_592_000: "30 d"},
}
MAX_POINTS = 2000
ROW_CHARS = 50  # of a name and the figures behind it
N_FEW = 2
MAX_MARKS = 9  # have room side by side
ROW, BAR = 40, 12


def recall_plot(curves: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Return the share of bots caught against the time since a bot's first event."""
    x = time_axis(max((at_s for curve in curves.values() for at_s, _ in curve), default=1))
    y = upward("caught, % of all bots", 1.0, lambda share: f"{100 * share:.0f}")
    lines = [
        element("path", title(f"to the {name}"), d=steps(curve, x, y), class_=f"curve {name}")
        for name, curve in curves.items()
    ]
    said = ", ".join(
        f"{100 * last_of(curve):.1f} % by the {name}" for name, curve in curves.items()
    )
    return picture("Recall against time", f"In the end {said}.", frame(x, y), *lines)


def last_of(curve: Sequence[Sequence[float]]) -> float:
    """Return the share at the end."""
    return curve[-1][1] if curve else 0.0


def steps(curve: Sequence[Sequence[float]], x: Axis, y: Axis) -> str:
    """Return the path of a share that rises at these times and stays."""
    path = f"M{LEFT} {BOTTOM}"
    for at_s, share in curve:
        path += f"H{x.at(at_s):.2f}V{y.at(share):.2f}"
    return f"{path}H{RIGHT}"


def time_axis(last_s: float) -> Axis:
    """Return an axis of log(1 + seconds), so that the first seconds are as legible as hours."""
    end_s = next((s for s in TIMES_S if s >= max(last_s, 1)), last_s)
    at = across(0, math.log1p(end_s))
    shown = [(s, words) for s, words in TIMES_S.items() if s <= end_s]
    marks = shown[:: -2 if len(shown) > MAX_MARKS else -1]
    return Axis("time since the bot's first event, log", marks, lambda s: at(math.log1p(s)))


def frontier_plot(bots: Sequence[Figures]) -> str:
    """Return each bot at its rate and the jitter of its gaps, caught or missed."""
    placed = [bot for bot in bots if bot["rate_per_s"] is not None]
    shown = placed[:: one_in(len(placed))]
    x = rate_axis([bot["rate_per_s"] for bot in shown])
    jitter = upward_jitter(shown)
    dots = [dot(bot, x, jitter) for bot in sorted(shown, key=lambda bot: not bot["caught"])]
    n_missed = sum(not bot["caught"] for bot in placed)
    said = f"{number(len(placed))} bots, {number(n_missed)} of them missed."
    return picture("Rate against jitter", said, frame(x, jitter), *dots)


def upward_jitter(bots: Sequence[Figures]) -> Axis:
    """Return the axis of the jitter."""
    most = max((bot["gap_cv"] for bot in bots), default=1.0)
    return upward("jitter: deviation of the gaps / their mean", max(most, 0.1), "{:.3g}".format)


def rate_axis(rates: Sequence[float]) -> Axis:
    """Return a log axis over whole powers of ten; over few of them with marks between."""
    low = math.floor(math.log10(min(rates, default=0.1)))
    high = max(math.ceil(math.log10(max(rates, default=1.0))), low + 1)
    at = across(low, high)
    digits = (1, 2, 5) if high - low <= N_FEW else (1,)
    values = [digit * 10.0**power for power in range(low, high) for digit in digits]
    marks = [(value, f"{value:g}") for value in [*values, 10.0**high]]
    return Axis("events a second, log", marks, lambda rate: at(math.log10(rate)))


def dot(bot: Figures, x: Axis, y: Axis) -> str:
    """Return a bot: a disc where it is caught, a cross where it is missed."""
    left, top = x.at(bot["rate_per_s"]), y.at(bot["gap_cv"])
    end = "caught" if bot["caught"] else "missed"
    rate = f"{bot['rate_per_s']:.3g} a second, jitter {bot['gap_cv']:.2f}"
    name = title(f"{bot['address']}: {rate}, {end}")
    if bot["caught"]:
        return element("circle", name, cx=left, cy=top, r=3, class_="caught")
    d = f"M{left - 4:.2f} {top - 4:.2f}l8 8m0 -8l-8 8"
    return element("path", name, d=d, class_="missed")


def wrong_plot(rules: Sequence[Figures]) -> str:
    """Return a bar for each rule: the people it flags, and inside those that only it flags."""
    most = max([1, *(rule["by_address"]["wrongly_flagged"] for rule in rules)])
    right = across(0, most, first=NAMES)
    height = TOP + ROW * len(rules)
    rows = [bar(rule, TOP + ROW * i, right) for i, rule in enumerate(rules)]
    said = "; ".join(f"{rule['name']} {rule['by_address']['wrongly_flagged']}" for rule in rules)
    name = text("people flagged, addresses", x=NAMES, y=12, class_="name")
    return picture("People flagged, by rule", said, name, *rows, height=height)


def bar(rule: Figures, top: float, right: Any) -> str:
    """Return the bar of a rule, its name above it and its figures behind it."""
    n, only = rule["by_address"]["wrongly_flagged"], rule["only_it"]["people"]
    shadow = " (shadow)" if rule["mode"] == "shadow" else ""
    said = f"{number(n)}, {number(only)} of them by it alone" if only else number(n)
    name = cut(rule["name"] + shadow, ROW_CHARS - len(said))
    begin, bar_top = right(0), top + 20
    widths = [(right(value) - begin) for value in (n, only)]
    return "".join(
        [
            title(f"{rule['name']}: {said}"),
            text(name, x=NAMES, y=top + 13, class_="mark"),
            text(said, x=RIGHT, y=top + 13, class_="mark end"),
            line(begin, bar_top, begin, bar_top + BAR, "axis"),
            element("rect", x=begin, y=bar_top, width=widths[0], height=BAR, class_="wrong"),
            element("rect", x=begin, y=bar_top, width=widths[1], height=BAR, class_="alone"),
        ]
    )


def one_in(n: int) -> int:
    """Return of how many bots one is drawn: more marks than MAX_POINTS would be a blot."""
    return math.ceil(n / MAX_POINTS) or 1


def left_out(bots: Sequence[Figures]) -> Iterator[str]:
    """Say which bots are not drawn at their rate and jitter."""
    n = sum(bot["rate_per_s"] is None for bot in bots)
    step = one_in(len(bots) - n)
    if n:
        yield f"{counted(n, 'bot')} left out: fewer than three events, or all in one second."
    if step > 1:
        yield f"Only one in {step} is drawn."
