"""Why an address was flagged, or how far it was from that: the rules at the counts of its windows.

A rule fires where its comparisons hold at what the live code has counted; whether that became a
decision, and when, is what the live code let through.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from engine.history.trail import Event, Trail, WindowOf
from engine.rule_margins import Finding, Measured, Part, finding, parts_of
from engine.rules import Rule, RuleSet

N_CASES = 3
N_EVENTS = 5
Figures = dict[str, Any]


class Judge:
    """The rules of a set, each as its comparisons; what they say of counts is kept."""

    def __init__(self, rules: RuleSet, trail: Trail, *, delay_s: int, max_categories: int) -> None:
        """A window closes `delay_s` after its end."""
        self.rules, self.trail, self._delay_s = rules, trail, delay_s
        self._max_categories = max_categories
        self._parts: list[Part] = [parts_of(rule.tree) for rule in rules.rules]
        self._found: dict[tuple[int, ...], Finding] = {}

    def over(self, window: WindowOf) -> list[int]:
        """Return the rules that are judged over such windows."""
        length_s = window.end_s - window.start_s
        return [i for i, rule in enumerate(self.rules.rules) if rule.window.length_s == length_s]

    def finding(self, index: int, counts: dict[str, int]) -> Finding:
        """Return what a rule says of counts."""
        key = (index, *counts.values())
        if key not in self._found:
            self._found[key] = finding(self._parts[index], counts)
        return self._found[key]

    def windows_of(self, index: int) -> list[WindowOf]:
        """Return the windows in which a rule fired, in the order in which they closed."""
        return [
            window
            for window in self.trail.windows
            if index in self.over(window) and self.finding(index, window.counts).holds
        ]

    def decides_at_once(self, index: int) -> bool:
        """Whether a rule decides at the event that crosses its limit."""
        is_monotone = self.rules.monotone_mask >> index & 1
        return bool(is_monotone) and self.rules.rules[index].window.is_tumbling

    def deciding(self, index: int, events: Sequence[Event]) -> int:
        """Return how many events of a window a rule needed: up to the crossing one, or all."""
        if not self.decides_at_once(index):
            return len(events)
        low, high = 1, len(events)
        while low < high:
            middle = (low + high) // 2
            holds = self.finding(index, self._counted(events[:middle])).holds
            low, high = (low, middle) if holds else (middle + 1, high)
        return low

    def _counted(self, events: Sequence[Event]) -> dict[str, int]:
        n_clicks = sum(event.is_click for event in events)
        n_categories = min(len({event.category for event in events}), self._max_categories)
        counts = (len(events), n_clicks, len(events) - n_clicks, n_categories)
        return dict(zip(("events", "clicks", "views", "categories"), counts, strict=True))

    def decided_s(self, index: int, window: WindowOf) -> int | None:
        """Return when a decision was made, None where it was held back."""
        if self.trail.early_mask(window) >> index & 1:
            events = self.trail.events_in(window)
            return events[self.deciding(index, events) - 1].time
        return window.end_s + self._delay_s if window.mask >> index & 1 else None


def explanation(judge: Judge, *, is_allowed: bool) -> Figures:
    """Return all that is known of the address."""
    trail, rules = judge.trail, judge.rules.rules
    fired = [of_rule(judge, i) for i in range(len(rules)) if judge.windows_of(i)]
    decisions = [one["decision"] for one in fired if one["mode"] == "enforce" and one["decision"]]
    return {
        "seen": seen(trail),
        "allowlisted": is_allowed,
        "flagged": bool(decisions),
        "decision": spanned(decisions),
        "rules": fired,
        "nearest": None if any(one["mode"] == "enforce" for one in fired) else nearest(judge),
    }


def seen(trail: Trail) -> Figures:
    """Return how the address appeared."""
    times_s = [event.time for event in trail.events]
    return {
        "events": len(trail.events),
        "uncounted": trail.n_uncounted,
        "windows": len(trail.windows),
        "first_s": min(times_s, default=None),
        "last_s": max(times_s, default=None),
    }


def spanned(decisions: Sequence[Figures]) -> Figures | None:
    """Return when the first of some decisions was made, and until when the last one holds."""
    if not decisions:
        return None
    return {
        "decided_s": min(one["decided_s"] for one in decisions),
        "until_s": max(one["until_s"] for one in decisions),
    }


def of_rule(judge: Judge, index: int) -> Figures:
    """Return a rule that fired: in which windows, what it decided, and the first ones in full."""
    rule, windows = judge.rules.rules[index], judge.windows_of(index)
    decided = [(window, judge.decided_s(index, window)) for window in windows]
    decisions = [
        {"decided_s": at_s, "until_s": window.end_s + rule.ttl_s}
        for window, at_s in decided
        if at_s is not None
    ]
    return {
        **named(rule),
        "fired_in": [[window.start_s, window.end_s] for window in windows],
        "held_back": len(windows) - len(decisions),
        "decision": spanned(decisions),
        "cases": [case(judge, index, *one) for one in decided[:N_CASES]],
    }


def named(rule: Rule) -> Figures:
    """Return what a rule is."""
    return {
        "name": rule.name,
        "description": rule.description,
        "when": rule.when,
        "mode": rule.mode,
        "window": str(rule.window),
        "ttl_s": rule.ttl_s,
    }


def case(judge: Judge, index: int, window: WindowOf, decided_s: int | None) -> Figures:
    """Return one window in which a rule fired."""
    events = judge.trail.events_in(window)
    needed = events[: judge.deciding(index, events)]
    return {
        **measured(window, judge.finding(index, window.counts)),
        "first_event": placed(events[0]),
        "deciding_event": placed(needed[-1]),
        "decided_at": "crossing event" if judge.decides_at_once(index) else "last event",
        "decided_s": decided_s,
        "until_s": window.end_s + judge.rules.rules[index].ttl_s if decided_s is not None else None,
        "events": [{**placed(event), "record": record(event)} for event in needed[-N_EVENTS:]],
    }


def measured(window: WindowOf, found: Finding) -> Figures:
    """Return a window with its counts and the comparisons of a rule at them."""
    return {
        "window_start": window.start_s,
        "window_end": window.end_s,
        "counts": window.counts,
        "comparisons": [compared(one) for one in found.comparisons],
    }


def compared(one: Measured) -> Figures:
    """Return a comparison for programs: margin is how far the value is beyond the limit."""
    margin = abs(one.value - one.limit) if one.holds else -one.missing
    return {
        "comparison": f"{one.left} {one.symbol} {one.right}",
        "left": one.left,
        "symbol": one.symbol,
        "right": one.right,
        "value": finite(one.value),
        "limit": finite(one.limit),
        "holds": one.holds,
        "margin": finite(margin),
        "is_open": one.is_open,
        "relative": finite(one.relative),
    }


def finite(value: float) -> float | None:
    """Return a number that JSON has, None for another."""
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else round(value, 6)


def placed(event: Event) -> Figures:
    """Return where an event stands in the log, and its time."""
    return {"partition": event.partition, "offset": event.offset, "time": event.time}


def record(event: Event) -> str | Figures:
    """Return an event as it came, else its decoded fields."""
    if event.raw is not None:
        return event.raw.decode(errors="replace")
    return {
        "time": event.time,
        "category": event.category,
        "type": "click" if event.is_click else "view",
    }


def nearest(judge: Judge) -> Figures | None:
    """Return the enforced rule that came nearest to firing, and in which window."""
    rules = judge.rules.rules
    candidates = (
        (judge.finding(i, window.counts), rules[i], window)
        for window in judge.trail.windows
        for i in judge.over(window)
        if rules[i].mode == "enforce"
    )
    best = min(candidates, key=lambda one: one[0].relative, default=None)
    if best is None:
        return None
    found, rule, window = best
    return {**named(rule), **measured(window, found), "relative": finite(found.relative)}
