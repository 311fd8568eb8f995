"""The report of an evaluation for a terminal: whom the rules caught, how soon, whom they hit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.terminal.readings import UNKNOWN, counted, duration, listed, number

N_SHOWN = 10
Figures = Mapping[str, Any]


def report_text(report: Figures, *, color: bool, width: int) -> str:
    """Return the report as aligned text; plain without `color`."""
    parts: list[Table | str] = [read_line(report["read"]), "", whole(report), ""]
    parts += [by_rule(report["rules"]), ""]
    return rendered(*parts, *wrong_lines(report), *missed_lines(report), color=color, width=width)


def read_line(read: Figures) -> str:
    """Say what was read: figures over a log of which much was refused are those of another log."""
    events = f"{counted(read['events'], 'event')}, {number(read['late'])} of them late"
    return f"{events}; {rejected(read)}"


def rejected(read: Figures) -> str:
    """Say how many records were refused, and why."""
    reasons = read["rejected"]
    said = f"{counted(sum(reasons.values()), 'record')} rejected"
    return f"{said} ({listed(reasons)})" if reasons else said


def rendered(*parts: Table | str, color: bool, width: int) -> str:
    """Return tables and lines as text; plain without `color`."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
    )
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def plain_table(*heads: str) -> Table:
    """Return a table whose first column is a name and whose others are figures."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for i, head in enumerate(heads):
        table.add_column(head, justify="right" if i else "left", no_wrap=True)
    return table


def whole(report: Figures) -> Table:
    """Return what all rules together do, by address and by window."""
    table = plain_table("", "precision", "recall", "F1", "caught", "people flagged", "share")
    for name, label in (("by_address", "by address"), ("by_window", "by window")):
        one = report[name]
        table.add_row(
            label,
            *(figure(one[key]) for key in ("precision", "recall", "f1")),
            f"{number(one['caught'])} of {number(one['bots'])}",
            f"{number(one['wrongly_flagged'])} of {number(one['people'])}",
            percent(one["wrongly_flagged_share"]),
        )
    return table


def by_rule(rules: list[Figures]) -> Table:
    """Return what each rule does alone, and what only it catches."""
    heads = ("rule", "window", "precision", "recall", "F1", "caught", "people", "only it", "p50")
    table = plain_table(*heads, "p95", "max")
    for rule in rules:
        one, only = rule["by_address"], rule["only_it"]
        shadow = " (shadow)" if rule["mode"] == "shadow" else ""
        table.add_row(
            rule["name"] + shadow,
            rule["window"],
            *(figure(one[key]) for key in ("precision", "recall", "f1")),
            number(one["caught"]),
            number(one["wrongly_flagged"]),
            f"{number(only['bots'])} + {number(only['people'])}",
            *seconds(rule["time_to_detect_s"]["decision"]),
        )
    return table


def wrong_lines(report: Figures) -> list[str]:
    """Return the time to detect, and who was wrongly flagged."""
    crossing, decision = (report["time_to_detect_s"][name] for name in ("crossing", "decision"))
    lines = [
        f"time from a bot's first event to the crossing event: {quantiles(crossing)}",
        f"                               ... to the decision: {quantiles(decision)}",
    ]
    within = report["caught_within_s"].items()
    lines.append("bots caught within " + ", ".join(f"{s} s: {percent(part)}" for s, part in within))
    wrong = report["wrongly_flagged"]
    shown = [f"{one['address']} ({', '.join(one['rules'])})" for one in wrong[:N_SHOWN]]
    if shown:
        more = f", and {number(len(wrong) - N_SHOWN)} more" if len(wrong) > N_SHOWN else ""
        lines.append(f"wrongly flagged: {', '.join(shown)}{more}")
    return lines


def missed_lines(report: Figures) -> list[str]:
    """Return which bots were missed, and what is not judged."""
    missed, free = report["missed"], report["unlabelled"]
    names = [one["address"] for one in missed[:N_SHOWN]]
    lines = []
    if names:
        more = f", and {number(len(missed) - N_SHOWN)} more" if len(missed) > N_SHOWN else ""
        lines.append(f"missed: {', '.join(names)}{more}")
    if free["seen"]:
        n = counted(free["seen"], "address")
        lines.append(f"without a label: {n}, {number(free['flagged'])} of them flagged")
    return lines


def figure(value: float | None) -> str:
    """Show a share from 0 to 1."""
    return UNKNOWN if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    """Show a share in percent."""
    return UNKNOWN if value is None else f"{100 * value:.2f} %"


def seconds(found: Figures) -> list[str]:
    """Show the quantiles of a time."""
    return [UNKNOWN if value is None else duration(value) for value in found.values()]


def quantiles(found: Figures) -> str:
    """Show the quantiles of a time in a line."""
    return ", ".join(f"{text} {name}" for name, text in zip(found, seconds(found), strict=True))
