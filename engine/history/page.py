"""The report of an evaluation as one page of HTML that needs nothing else, and no script.

Made of the report alone. All that comes from rules, labels and records is escaped; besides, the
page's own policy lets a browser load and run nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from engine.history.plots import frontier_plot, left_out, recall_plot, wrong_plot
from engine.history.svg import element
from engine.history.table import figure, percent, quantiles, read_line
from engine.terminal.readings import counted, number

Figures = Mapping[str, Any]
N_SHOWN, N_UNFOLDED = 200, 20
STYLE = Path(__file__).with_name("page.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
HEAD = (
    '<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"/>'
    "<title>Botsieve: how the rules do</title>"
)
RULE_HEADS = (
    *("rule", "what it looks for", "window, s", "precision", "recall", "F1", "bots caught"),
    *("people flagged", "bots only it catches", "people only it flags"),
    "time to decide",
)
WHOLE: Mapping[str, Callable[[Figures], str]] = {
    "precision": lambda one: figure(one["precision"]),
    "recall": lambda one: figure(one["recall"]),
    "F1": lambda one: figure(one["f1"]),
    "bots caught": lambda one: f"{number(one['caught'])} of {number(one['bots'])}",
    "people flagged": lambda one: f"{number(one['wrongly_flagged'])} of {number(one['people'])}",
    "share of people": lambda one: percent(one["wrongly_flagged_share"]),
}
LEGENDS = {
    "recall": '<span class="key bad">- -</span> to the event that crossed a limit, '
    '<span class="key good">—</span> to the decision.',
    "frontier": '<span class="key good">●</span> caught, <span class="key bad">✕</span> missed. '
    "Jitter 0 is a metronome; 1 is chance.",
    "wrong": '<span class="key light">■</span> all that the rule flags, '
    '<span class="key bad">■</span> those that no other enforced rule flags.',
}


def page_of(report: Figures) -> str:
    """Return the page."""
    parts = [
        element("h1", "How the rules do"),
        element("p", escape(read_line(report["read"])), class_="dim"),
        element("h2", "All rules together"),
        whole(report),
        *(element("p", escape(line)) for line in time_lines(report)),
        plots(report),
        element("h2", "Each rule alone"),
        by_rule(report["rules"]),
        element("h2", "People wrongly flagged"),
        wrong(report["wrongly_flagged"]),
        element("h2", "Bots missed"),
        missed(report["missed"]),
    ]
    style = element("style", STYLE.read_text(encoding="utf-8"))
    body = element("body", element("main", *parts))
    return f'<!DOCTYPE html>\n<html lang="en"><head>{HEAD}{style}</head>\n{body}</html>\n'


def time_lines(report: Figures) -> list[str]:
    """Say how soon bots are caught, and what is not judged."""
    times, within = report["time_to_detect_s"], report["caught_within_s"].items()
    lines = [
        "From a bot's first event to the event that crossed a limit: "
        f"{quantiles(times['crossing'])}; to the decision: {quantiles(times['decision'])}.",
        f"Caught within {', '.join(f'{s} s: {percent(part)}' for s, part in within)} of all bots.",
    ]
    free = report["unlabelled"]
    if free["seen"]:
        n = counted(free["seen"], "address")
        lines.append(f"Without a label, so not judged: {n}, {number(free['flagged'])} flagged.")
    return lines


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, words: str = "", cards: bool = False
) -> str:
    """Return a table of what is markup already; the column `words` may break its lines.

    `cards`: on a narrow screen each row is a list, each figure with its head before it.
    """
    kinds = [{"class_": "words"} if head == words else {} for head in heads]
    titles = [
        element("th", escape(one), scope="col", **k) for one, k in zip(heads, kinds, strict=True)
    ]
    body = [
        element("tr", *(element("td", cell, data_head=head, **kind) for head, cell, kind in cells))
        for cells in (zip(heads, row, kinds, strict=True) for row in rows)
    ]
    head = element("thead", element("tr", *titles))
    inside = element("table", head, element("tbody", *body))
    return element("div", inside, class_="wide cards" if cards else "wide")


def whole(report: Figures) -> str:
    """Return what all rules together do, by address and by window."""
    sides = [report["by_address"], report["by_window"]]
    rows = [[name, *(form(one) for one in sides)] for name, form in WHOLE.items()]
    return table(("", "by address", "by window"), rows)


def plots(report: Figures) -> str:
    """Return the three plots, each with what its marks mean."""
    words = " ".join((LEGENDS["frontier"], *left_out(report["bots"])))
    drawn = {
        "How soon bots are caught": (recall_plot(report["recall_over_time"]), LEGENDS["recall"]),
        "Which bots are caught": (frontier_plot(report["bots"]), words),
        "People flagged, by rule": (wrong_plot(report["rules"]), LEGENDS["wrong"]),
    }
    figures = [
        element("figure", element("h2", name), drawing, element("figcaption", legend))
        for name, (drawing, legend) in drawn.items()
    ]
    return element("div", *figures, class_="plots")


def by_rule(rules: Sequence[Figures]) -> str:
    """Return what each rule does alone, and what only it catches."""
    return table(RULE_HEADS, map(rule_row, rules), words="what it looks for", cards=True)


def rule_row(rule: Figures) -> list[str]:
    """Return the row of a rule."""
    one, only = rule["by_address"], rule["only_it"]
    shadow = " (shadow)" if rule["mode"] == "shadow" else ""
    meaning = f"{escape(rule['description'])}<br/>{element('code', escape(rule['when']))}"
    counts = (one["caught"], one["wrongly_flagged"], only["bots"], only["people"])
    return [
        escape(rule["name"] + shadow),
        meaning,
        escape(rule["window"]),
        *(figure(one[key]) for key in ("precision", "recall", "f1")),
        *map(number, counts),
        "<br/>".join(escape(quantiles(rule["time_to_detect_s"]["decision"])).split(", ")),
    ]


def wrong(people: Sequence[Figures]) -> str:
    """Return each person who was flagged, and by which rules."""
    rows = [
        (escape(one["address"]), number(one["events"]), escape(", ".join(one["rules"])))
        for one in people[:N_SHOWN]
    ]
    return listing(("address", "events", "rules"), rows, n=len(people), words="rules")


def missed(bots: Sequence[Figures]) -> str:
    """Return each bot that was not caught, and how it acted."""
    rows = [
        (
            escape(one["address"]),
            number(one["events"]),
            "-" if one["rate_per_s"] is None else f"{one['rate_per_s']:.3g}",
            "-" if one["gap_cv"] is None else f"{one['gap_cv']:.2f}",
        )
        for one in bots[:N_SHOWN]
    ]
    return listing(("address", "events", "events a second", "jitter"), rows, n=len(bots))


def listing(heads: Sequence[str], rows: Sequence[Sequence[str]], *, n: int, words: str = "") -> str:
    """Return a table of the first of n addresses, folded where it is long."""
    if not rows:
        return element("p", "None.")
    left = n - len(rows)
    more = element("p", f"And {number(left)} more; report.json=FILE has all.") if left else ""
    unfolded = {"open": "open"} if n <= N_UNFOLDED else {}
    summary = element("summary", counted(n, "address"))
    return element("details", summary, table(heads, rows, words=words), more, **unfolded)
