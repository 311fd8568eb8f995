"""The model: what the right answer is for a log of records, told as plainly as possible.

Every test of the engine compares with this. So it shares nothing with the engine, keeps lists of
whole events, counts them at the end, and knows no batches, no restarts, no clock and no speed.
Its parts: naive_config, naive_events (bytes to event), naive_json, naive_rules. Standard library.
Invariant: the answer depends on each partition's own order, never on how partitions interleave.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tests.naive_config import ModelConfig, ModelRule
from tests.naive_events import JSON_SPACE, Event, clean_noise, parse_event
from tests.naive_rules import evaluate

__all__ = [
    "Event",
    "Judgement",
    "ModelConfig",
    "ModelRule",
    "Row",
    "Verdict",
    "Window",
    "allowed_early",
    "clean_noise",
    "evaluate",
    "explain_difference",
    "judge",
    "judge_again",
    "parse_event",
    "read_file_rows",
    "value_of",
]

COUNTS = ("events", "clicks", "views", "categories")
SHOWN_DIFFERENCES = 5

Window = tuple[int, int, str]
"""Start and end in seconds, [start, end), and the address."""


class Row(NamedTuple):
    """One record of a log."""

    partition: int
    offset: int
    value: bytes | None
    timestamp_ms: int


class Verdict(NamedTuple):
    """The counts of one window and address, and the rules that fired, in rule order."""

    events: int
    clicks: int
    views: int
    categories: int
    saturated: bool = False
    reasons: tuple[str, ...] = ()
    shadow_reasons: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """What a rule expression sees."""
        return {name: getattr(self, name) for name in COUNTS}


@dataclass
class Judgement:
    """The whole answer for one log; the last four are by address: the values a sink ends with."""

    config: ModelConfig
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    late: dict[int, list[int]] = field(default_factory=dict)
    verdicts: dict[Window, Verdict] = field(default_factory=dict)
    statistics: dict[str, bytes] = field(default_factory=dict)
    statistics_expiry_s: dict[str, int] = field(default_factory=dict)
    decisions: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    shadows: dict[str, tuple[bytes, int]] = field(default_factory=dict)

    @property
    def counted(self) -> dict[Window, Verdict]:
        """The verdicts of the windows that have statistics."""
        length_s = self.config.length_s
        return {w: verdict for w, verdict in self.verdicts.items() if length_of(w) == length_s}

    @property
    def flagged(self) -> dict[Window, tuple[str, ...]]:
        """The reasons of each window that flags."""
        return {w: verdict.reasons for w, verdict in self.verdicts.items() if verdict.reasons}


def judge(rows: Iterable[Row], config: ModelConfig) -> Judgement:
    """Return the answer for rows, each partition in its offset order; their end closes windows."""
    judgement = Judgement(config)
    events_by_window: dict[Window, list[Event]] = defaultdict(list)
    for event in accepted_events(rows, judgement):
        for window in windows_of(event, config):
            events_by_window[window].append(event)
    for window in sorted(events_by_window, key=closing_order):
        note_verdict(judgement, window, verdict_of(window, events_by_window[window], config))
    return judgement


def judge_again(judgement: Judgement, rules: tuple[ModelRule, ...]) -> Judgement:
    """Return the answer for the same log under other rules: only they are applied anew."""
    config = replace(judgement.config, rules=rules)
    new = Judgement(config, judgement.accepted, judgement.rejected, judgement.late)
    for window, verdict in judgement.verdicts.items():
        own = config.rules_over(length_of(window))
        note_verdict(new, window, with_reasons(verdict, own))
    return new


def length_of(window: tuple[int, int] | Window) -> int:
    """Return the seconds that a window covers."""
    return window[1] - window[0]


def own_length_s(window: Window, config: ModelConfig) -> int | None:
    """Return the window's length where it is a rule's own, None for that of the statistics."""
    return None if length_of(window) == config.length_s else length_of(window)


def closing_order(window: Window) -> tuple[int, int, str]:
    """Return what windows are closed by: the end, and of two that end at once the shorter first."""
    return window[1], length_of(window), window[2]


def note_verdict(judgement: Judgement, window: Window, verdict: Verdict) -> None:
    """Put a verdict into the answer; called in closing order."""
    judgement.verdicts[window] = verdict
    if length_of(window) == judgement.config.length_s:
        keep_statistics(judgement, window, verdict)
    keep_decision(judgement, window, verdict, shadow=False)
    keep_decision(judgement, window, verdict, shadow=True)


def accepted_events(rows: Iterable[Row], judgement: Judgement) -> Iterator[Event]:
    """Yield the events that count; note the rejected and the late ones in the judgement."""
    config = judgement.config
    newest_s: dict[int, int] = {}
    last_offset: dict[int, int] = {}
    for partition, offset, value, timestamp_ms in rows:
        if offset <= last_offset.get(partition, -1):
            message = f"partition {partition}: offset {offset} is out of order"
            raise ValueError(message)
        last_offset[partition] = offset
        event = parse_event(value, timestamp_ms, config)
        if isinstance(event, str):
            judgement.rejected[event] += 1
            continue
        closed_s = newest_s.get(partition, event.time_s) - config.delay_s
        pane_end_s = (event.time_s // config.pane_s + 1) * config.pane_s
        if pane_end_s <= closed_s:
            judgement.late.setdefault(partition, []).append(closed_s - event.time_s)
            continue
        newest_s[partition] = max(event.time_s, newest_s.get(partition, event.time_s))
        judgement.accepted += 1
        yield event


def windows_of(event: Event, config: ModelConfig) -> list[Window]:
    """Return every window, of each kind, that holds an event."""
    return [
        (start_s, start_s + length_s, event.ip)
        for length_s, step_s in config.kinds
        for start_s in window_starts(event.time_s, length_s, step_s)
    ]


def window_starts(time_s: int, length_s: int, step_s: int) -> list[int]:
    """Return the start of each window that holds this time; some are below zero for small times."""
    newest_start_s = time_s // step_s * step_s
    oldest_start_s = time_s - length_s + 1
    return list(range(newest_start_s, oldest_start_s - 1, -step_s))


def verdict_of(window: Window, events: list[Event], config: ModelConfig) -> Verdict:
    """Count the events of one window and address and apply the rules over such windows."""
    clicks = sum(event.is_click for event in events)
    n_categories = len({event.category for event in events})
    counted = Verdict(
        events=len(events),
        clicks=clicks,
        views=len(events) - clicks,
        categories=min(n_categories, config.max_categories),
        saturated=n_categories > config.max_categories,
    )
    return with_reasons(counted, config.rules_over(length_of(window)))


def with_reasons(verdict: Verdict, rules: tuple[ModelRule, ...]) -> Verdict:
    """Return the counts with the rules that fire on them."""
    counted = verdict._replace(reasons=(), shadow_reasons=())
    return counted._replace(
        reasons=fired(rules, counted, mode="enforce"),
        shadow_reasons=fired(rules, counted, mode="shadow"),
    )


@lru_cache(maxsize=100_000)
def fired(rules: tuple[ModelRule, ...], verdict: Verdict, *, mode: str) -> tuple[str, ...]:
    """Return the names of the rules of this mode that hold, in rule order; counts repeat a lot."""
    rules_of_mode = [rule for rule in rules if rule.mode == mode]
    return tuple(rule.name for rule in rules_of_mode if evaluate(rule.when, verdict.counts))


def keep_statistics(judgement: Judgement, window: Window, verdict: Verdict) -> None:
    """Overwrite the address's statistics; called in closing order, so the newest stays."""
    _, end_s, ip = window
    judgement.statistics[ip] = value_of(window, verdict)
    judgement.statistics_expiry_s[ip] = end_s + judgement.config.statistics_ttl_s


def keep_decision(judgement: Judgement, window: Window, verdict: Verdict, *, shadow: bool) -> None:
    """Keep the decision that expires last; called in closing order, so of equals the later."""
    _, end_s, ip = window
    kept = judgement.shadows if shadow else judgement.decisions
    reasons = verdict.shadow_reasons if shadow else verdict.reasons
    if not reasons:
        return
    expiry_s = end_s + longest_ttl_s(reasons, judgement.config)
    if ip not in kept or expiry_s >= kept[ip][1]:
        own_s = own_length_s(window, judgement.config)
        kept[ip] = (value_of(window, verdict, shadow=shadow, own_window_s=own_s), expiry_s)


def longest_ttl_s(reasons: tuple[str, ...], config: ModelConfig) -> int:
    """Return how long a decision for these reasons stays after its window."""
    return max(rule.ttl_s for rule in config.rules if rule.name in reasons)


def value_of(
    window: tuple[int, int] | Window,
    verdict: Verdict,
    *,
    final: bool = True,
    shadow: bool = False,
    own_window_s: int | None = None,
) -> bytes:
    """Return the bytes that a sink stores; shadow puts the fired shadow rules in as the reasons.

    A value over a rule's own window names the first rule that fired, and the window's length.
    """
    members: dict[str, object] = {"v": 1, "window_start": window[0], "window_end": window[1]}
    members |= verdict.counts
    if verdict.saturated:
        members["categories_saturated"] = True
    reasons = verdict.shadow_reasons if shadow else verdict.reasons
    members |= {"reasons": reasons, "final": final}
    if own_window_s is not None:
        members |= {"rule": reasons[0], "window_s": own_window_s}
    return json.dumps(members, separators=(",", ":")).encode()


def allowed_early(value: bytes, judgement: Judgement, *, ip: str, shadow: bool = False) -> bool:
    """Whether a `final:false` value of this address's decision is true of a part of the log."""
    try:
        claim = json.loads(value)
        window = (claim["window_start"], claim["window_end"], ip)
        early = Verdict(
            **{name: claim[name] for name in COUNTS},
            saturated=claim.get("categories_saturated", False),
            reasons=tuple(claim["reasons"]),
        )
        final = judgement.verdicts[window]
        own_s = claim.get("window_s")
    except (ValueError, TypeError, KeyError):
        return False
    final_reasons = final.shadow_reasons if shadow else final.reasons
    when = {rule.name: rule.when for rule in judgement.config.rules}
    return (
        early.reasons != ()
        and value == value_of(window, early, final=False, own_window_s=own_s)
        and own_s == own_length_s(window, judgement.config)
        and early.events == early.clicks + early.views
        and all(early.counts[name] <= final.counts[name] for name in final.counts)
        and early.saturated <= final.saturated
        and early.reasons == tuple(name for name in final_reasons if name in early.reasons)
        and all(evaluate(when[name], early.counts) for name in early.reasons)
    )


def explain_difference(expected: Mapping[Any, object], got: Mapping[Any, object]) -> str:
    """Return the first few keys that differ, one a line; nothing when the two are equal."""
    lines = []
    for key in sorted(expected.keys() | got.keys(), key=repr):
        if key not in got:
            lines.append(f"missing {key!r}: {expected[key]!r}")
        elif key not in expected:
            lines.append(f"not expected {key!r}: {got[key]!r}")
        elif expected[key] != got[key]:
            lines.append(f"differs {key!r}: expected {expected[key]!r}, got {got[key]!r}")
    if len(lines) > SHOWN_DIFFERENCES:
        lines[SHOWN_DIFFERENCES:] = [f"and {len(lines) - SHOWN_DIFFERENCES} more"]
    return "\n".join(lines)


def read_file_rows(path: Path | str, timestamp_ms: int) -> list[Row]:
    """Return the records of a file of lines; blank lines and a JSON array's brackets are none."""
    lines = Path(path).read_bytes().split(b"\n")
    return [
        Row(0, number, line, timestamp_ms)
        for number, line in enumerate(lines)
        if clean_noise(line).strip(JSON_SPACE)
    ]
