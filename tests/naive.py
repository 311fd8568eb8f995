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


def judge(rows: Iterable[Row], config: ModelConfig) -> Judgement:
    """Return the answer for rows, each partition in its offset order; their end closes windows."""
    judgement = Judgement(config)
    events_by_window: dict[Window, list[Event]] = defaultdict(list)
    for event in accepted_events(rows, judgement):
        for start_s in window_starts(event.time_s, config):
            events_by_window[start_s, start_s + config.length_s, event.ip].append(event)
    for window in sorted(events_by_window):
        note_verdict(judgement, window, verdict_of(events_by_window[window], config))
    return judgement


def judge_again(judgement: Judgement, rules: tuple[ModelRule, ...]) -> Judgement:
    """Return the answer for the same log under other rules: only they are applied anew."""
    config = replace(judgement.config, rules=rules)
    new = Judgement(config, judgement.accepted, judgement.rejected, judgement.late)
    for window, verdict in judgement.verdicts.items():
        note_verdict(new, window, with_reasons(verdict, rules))
    return new


def note_verdict(judgement: Judgement, window: Window, verdict: Verdict) -> None:
    """Put a verdict into the answer; called by ascending window."""
    judgement.verdicts[window] = verdict
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


def window_starts(time_s: int, config: ModelConfig) -> list[int]:
    """Return the start of each window that holds this time; some are below zero for small times."""
    newest_start_s = time_s // config.step_s * config.step_s
    oldest_start_s = time_s - config.length_s + 1
    return list(range(newest_start_s, oldest_start_s - 1, -config.step_s))


def verdict_of(events: list[Event], config: ModelConfig) -> Verdict:
    """Count the events of one window and address and apply the rules."""
    clicks = sum(event.is_click for event in events)
    n_categories = len({event.category for event in events})
    counted = Verdict(
        events=len(events),
        clicks=clicks,
        views=len(events) - clicks,
        categories=min(n_categories, config.max_categories),
        saturated=n_categories > config.max_categories,
    )
    return with_reasons(counted, config.rules)


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
    """Overwrite the address's statistics; called by ascending window, so the newest stays."""
    _, end_s, ip = window
    judgement.statistics[ip] = value_of(window, verdict)
    judgement.statistics_expiry_s[ip] = end_s + judgement.config.statistics_ttl_s


def keep_decision(judgement: Judgement, window: Window, verdict: Verdict, *, shadow: bool) -> None:
    """Keep the decision that expires last; called by ascending window, so of equals the later."""
    _, end_s, ip = window
    kept = judgement.shadows if shadow else judgement.decisions
    reasons = verdict.shadow_reasons if shadow else verdict.reasons
    if not reasons:
        return
    ttls_s = [rule.ttl_s for rule in judgement.config.rules if rule.name in reasons]
    expiry_s = end_s + max(ttls_s)
    if ip not in kept or expiry_s >= kept[ip][1]:
        kept[ip] = (value_of(window, verdict, shadow=shadow), expiry_s)


def value_of(
    window: tuple[int, int] | Window,
    verdict: Verdict,
    *,
    final: bool = True,
    shadow: bool = False,
) -> bytes:
    """Return the bytes that a sink stores; shadow puts the fired shadow rules in as the reasons."""
    members: dict[str, object] = {"v": 1, "window_start": window[0], "window_end": window[1]}
    members |= verdict.counts
    if verdict.saturated:
        members["categories_saturated"] = True
    members["reasons"] = verdict.shadow_reasons if shadow else verdict.reasons
    members["final"] = final
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
    except (ValueError, TypeError, KeyError):
        return False
    final_reasons = final.shadow_reasons if shadow else final.reasons
    when = {rule.name: rule.when for rule in judgement.config.rules}
    return (
        value == value_of(window, early, final=False)
        and early.events == early.clicks + early.views
        and all(early.counts[name] <= final.counts[name] for name in final.counts)
        and early.saturated <= final.saturated
        and early.reasons == tuple(name for name in final_reasons if name in early.reasons)
        and early.reasons != ()
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
