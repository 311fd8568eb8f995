"""An explanation for a terminal: by which rules, by how much, at which records, for how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from engine.history.table import rejected
from engine.terminal.readings import counted, cut, duration

MAX_CHARS = 160
HIGHER = (">", ">=")
Figures = Mapping[str, Any]


def explanation_text(report: Figures) -> str:
    """Return the explanation as lines of plain text."""
    return "\n".join(lines(report))


def lines(report: Figures) -> Iterator[str]:
    """Yield the lines."""
    yield verdict(report)
    seen, read = report["seen"], report["read"]
    if read["rejected"]:
        yield f"{rejected(read)}; whose they are is not known"
    if seen["uncounted"]:
        late = counted(seen["uncounted"], "event")
        yield f"{late} more came too late to be counted (window.delay_s), or lie before the range"
    if report["allowlisted"]:
        yield "it is on the allowlist (allow.*): it never gets a decision, whatever the rules say"
    if report["decision"] is not None:
        yield from decision_lines(report)
    for rule in report["rules"]:
        yield ""
        yield from rule_lines(rule)
    if report["nearest"] is not None:
        yield ""
        yield from nearest_lines(report["nearest"])
    elif seen["events"] and not report["rules"]:
        yield "no whole window of it lies in the range, or every rule is in shadow mode or off"


def verdict(report: Figures) -> str:
    """Say in a line how it stands with the address."""
    address, seen = report["address"], report["seen"]
    if not seen["events"] + seen["uncounted"]:
        return f"{address}: not seen in {counted(report['read']['events'], 'event')} of the range"
    acted = f"{counted(seen['events'], 'event')} in {counted(seen['windows'], 'window')}"
    return f"{address}: {'flagged' if report['flagged'] else 'not flagged'}; {acted}"


def decision_lines(report: Figures) -> Iterator[str]:
    """Yield when the first decision was made, and until when the last one holds."""
    found, first_s = report["decision"], report["seen"]["first_s"]
    after = duration(found["decided_s"] - first_s)
    yield f"first decided {moment(found['decided_s'])}, {after} after its first event"
    yield f"the last decision holds until {moment(found['until_s'])}"


def rule_lines(rule: Figures) -> Iterator[str]:
    """Yield what a rule that fired says."""
    shadow = " (shadow: only watched, it flags nobody)" if rule["mode"] == "shadow" else ""
    yield f"{rule['name']}{shadow}: {rule['description']}"
    n = len(rule["fired_in"])
    shown = f", the first {len(rule['cases'])} shown" if n > len(rule["cases"]) else ""
    yield f"  fired in {counted(n, 'window')} of {rule['window']} s{shown}"
    if rule["held_back"]:
        held = counted(rule["held_back"], "window")
        yield f"  no decision in {held}: held back by the allowlist or guard.max_flagged_share"
    for case in rule["cases"]:
        yield from case_lines(case, ttl_s=rule["ttl_s"])


def case_lines(case: Figures, *, ttl_s: int) -> Iterator[str]:
    """Yield one window in which a rule fired."""
    yield f"  window {window(case)}"
    yield from (f"    {comparison(one)}" for one in case["comparisons"])
    yield f"    first event {place(case['first_event'])}, " + (
        f"{case['decided_at']} {place(case['deciding_event'])}"
    )
    if case["decided_s"] is not None:
        yield f"    decided {moment(case['decided_s'])}"
        yield f"    holds until {moment(case['until_s'])}: ttl_s={ttl_s} after the window's end"
    for event in case["events"]:
        yield f"      {place(event)} {cut(printable(str(event['record'])), MAX_CHARS)}"


def nearest_lines(near: Figures) -> Iterator[str]:
    """Yield the rule that came nearest to firing, and what it lacked."""
    yield f"nearest rule: {near['name']}: {near['description']}"
    yield f"  window {window(near)}"
    yield from (f"    {comparison(one)}" for one in near["comparisons"])


def comparison(one: Figures) -> str:
    """Say both sides of a comparison, and how far they are from each other."""
    limit = amount(one["limit"])
    right = one["right"] if one["right"] == limit else f"{one['right']} ({limit})"
    return f"{one['left']} {amount(one['value'])} {one['symbol']} {right}: {distance(one)}"


def distance(one: Figures) -> str:
    """Say how far beyond its limit a value is, or what is missing."""
    if one["margin"] is None:
        return "holds" if one["holds"] else "far off"
    by, symbol = amount(abs(one["margin"])), one["symbol"]
    if one["holds"]:
        if not one["margin"]:
            return "at the limit"
        return f"{by} {'above' if one['value'] > one['limit'] else 'below'}"
    more = "more than " if one["is_open"] else ""
    word = "short" if symbol in HIGHER else "too many" if symbol in ("<", "<=") else "off"
    return f"{more}{by} {word}"


def amount(value: float | None) -> str:
    """Write a number of a rule."""
    if value is None:
        return "beyond numbers"
    return f"{value:g}" if isinstance(value, float) else str(value)


def window(found: Figures) -> str:
    """Write a window in UTC and in unix seconds."""
    start_s, end_s = found["window_start"], found["window_end"]
    return f"{utc(start_s)} to {utc(end_s)} UTC ({start_s} to {end_s})"


def moment(at_s: int) -> str:
    """Write a time in UTC and in unix seconds."""
    return f"{utc(at_s)} UTC ({at_s})"


def utc(at_s: int) -> str:
    """Write a time."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def place(event: Figures) -> str:
    """Write where an event stands: partition:offset."""
    return f"{event['partition']}:{event['offset']}"


def printable(text: str) -> str:
    """Return text that cannot steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
