"""SVG by small functions: elements as text, scales from values to places, and the frame of a plot.

Places are in the units of the view box, WIDTH by HEIGHT. Colours are classes, which the page's
style names for a light and a dark screen. All text and all attributes are escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 398, 26, 250
NAMES = 2  # where names begin that stand over a plot
N_STEPS = 5


class Axis(NamedTuple):
    """One axis: its name with the unit, marks as (value, text), and the place of a value."""

    name: str
    marks: Sequence[tuple[float, str]]
    at: Callable[[float], float]


def element(tag: str, *inside: str, **attributes: object) -> str:
    """Return an element around what is markup already; `stroke_width` is stroke-width."""
    words = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    written = "".join(f' {name}="{escape(place(value))}"' for name, value in words.items())
    return f"<{tag}{written}>{''.join(inside)}</{tag}>"


def place(value: object) -> str:
    """Write an attribute; a place to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def text(words: str, **attributes: object) -> str:
    """Return a line of text."""
    return element("text", escape(words), **attributes)


def title(words: str) -> str:
    """Return what a browser shows over an element, and reads out."""
    return element("title", escape(words))


def picture(name: str, description: str, *inside: str, height: int = HEIGHT) -> str:
    """Return an SVG with a name and a description for those who do not see it."""
    return element(
        "svg",
        title(name),
        element("desc", escape(description)),
        *inside,
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_label=f"{name}. {description}",
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def frame(x: Axis, y: Axis) -> str:
    """Return both axes with their names, and a line across the plot at each mark of y."""
    parts = [
        text(x.name, x=(LEFT + RIGHT) / 2, y=HEIGHT - 8, class_="name middle"),
        text(y.name, x=NAMES, y=12, class_="name"),
    ]
    for value, words in y.marks:
        parts.append(line(LEFT, y.at(value), RIGHT, y.at(value), "grid"))
        parts.append(text(words, x=LEFT - 6, y=y.at(value) + 4, class_="mark end"))
    for value, words in x.marks:
        parts.append(line(x.at(value), BOTTOM, x.at(value), BOTTOM + 4, "axis"))
        parts.append(text(words, x=x.at(value), y=BOTTOM + 18, class_="mark middle"))
    parts.append(line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"))
    return "".join(parts)


def upward(name: str, most: float, form: Callable[[float], str]) -> Axis:
    """Return a vertical axis from 0 to at least `most`, its marks at round values."""
    step = round_step(most / N_STEPS)
    n = max(math.ceil(most / step - 1e-9), 1)
    marks = [(i * step, form(i * step)) for i in range(n + 1)]
    return Axis(name, marks, lambda value: BOTTOM - (BOTTOM - TOP) * value / (n * step))


def round_step(least: float) -> float:
    """Return the next of 1, 2, 5, 10, ... times a power of ten."""
    power = float(10 ** math.floor(math.log10(least))) if least > 0 else 0.1
    return next(power * n for n in (1, 2, 5, 10) if power * n >= least * (1 - 1e-9))


def across(low: float, high: float, *, first: int = LEFT) -> Callable[[float], float]:
    """Return the place on the horizontal axis of a value from low to high."""
    return lambda value: first + (RIGHT - first) * (value - low) / (high - low)
