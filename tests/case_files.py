"""The published cases in tests/cases: a log written by hand and the answer worked out by hand.

One file is one case; whoever judges a log (the model, the engine) reads it with `load_case`.
Knows how a case is written, never how it is judged; `records_of` and `verdict_entry` say how.
Invariant: the order of `events` is the order of the log, and counts up each partition's offsets.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests import naive

CASES = Path(__file__).parent / "cases"
RECORD_TIMESTAMP_MS = 2_000_000_000_000
SECTIONS = {
    "description", "window", "source", "rules", "events", "expected",
    "rejected", "late", "decisions", "shadows", "statistics",
}  # fmt: skip

Decisions = dict[str, tuple[bytes, int]]


@dataclass(frozen=True)
class Case:
    """One case; decisions, shadows and statistics are None where the case does not state them."""

    name: str
    description: str
    config: naive.ModelConfig
    rows: tuple[naive.Row, ...]
    verdicts: dict[naive.Window, naive.Verdict]
    rejected: Counter[str] = field(default_factory=Counter)
    late: dict[int, list[int]] = field(default_factory=dict)
    decisions: Decisions | None = None
    shadows: Decisions | None = None
    statistics: dict[str, bytes] | None = None


def case_paths() -> list[Path]:
    """Return the files of all cases, by name."""
    return sorted(CASES.glob("*.yaml"))


def load_case(path: Path | str) -> Case:
    """Read one case file."""
    text = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    unknown = text.keys() - SECTIONS
    if unknown:
        message = f"{path}: unknown sections {sorted(unknown)}; known are {sorted(SECTIONS)}"
        raise ValueError(message)
    return Case(
        name=Path(path).stem,
        description=text["description"],
        config=config_of(text),
        rows=tuple(rows_of(text["events"])),
        verdicts=dict(verdict_entry(**entry) for entry in text["expected"]),
        rejected=Counter(text.get("rejected", {})),
        late=text.get("late", {}),
        decisions=decisions_of(text, "decisions"),
        shadows=decisions_of(text, "shadows"),
        statistics=statistics_of(text),
    )


def config_of(text: dict[str, Any]) -> naive.ModelConfig:
    """Return the settings of a case; what it does not say keeps its default."""
    rules = tuple(naive.ModelRule(**rule) for rule in text.get("rules", ()))
    source = dict(text.get("source", {}))
    if "fields" in source:
        source["fields"] = tuple(source["fields"])
    return naive.ModelConfig(rules=rules, **text.get("window", {}), **source)


def rows_of(entries: list[Any]) -> Iterator[naive.Row]:
    """Yield the records that the entries stand for, each partition's offsets from 0 up."""
    next_offset: dict[int, int] = defaultdict(int)
    for entry in entries:
        plain = {"event": entry} if isinstance(entry, list) else entry
        for partition, value, timestamp_ms in records_of(**plain):
            yield naive.Row(partition, next_offset[partition], value, timestamp_ms)
            next_offset[partition] += 1


def records_of(
    *,
    event: list[Any] | None = None,
    raw: str | None = None,
    partition: int = 0,
    repeat: int = 1,
    categories: int = 1,
    pad_to: int = 0,
    timestamp_ms: int = RECORD_TIMESTAMP_MS,
) -> Iterator[tuple[int, bytes | None, int]]:
    """Yield partition, value and timestamp of each record of one entry.

    `event` is [partition, unix_time, category_id, ip, type]; such a list may also stand alone.
    `categories: n` makes n records, category_id, category_id + 1 and so on, each `repeat` times.
    `raw` is the text of a record of `partition`, null a tombstone, filled with spaces to `pad_to`.
    """
    for step in range(repeat * categories):
        if event is not None:
            yield event[0], value_of_event(event, step % categories), timestamp_ms
        else:
            value = None if raw is None else raw.encode().ljust(pad_to)
            yield partition, value, timestamp_ms


def value_of_event(event: list[Any], category_step: int) -> bytes:
    """Return the record of [partition, unix_time, category_id, ip, type]."""
    _, time_s, category, ip, kind = event
    members = {
        "unix_time": time_s,
        "category_id": category + category_step,
        "ip": ip,
        "type": kind,
    }
    return json.dumps(members).encode()


def verdict_entry(
    *,
    window: tuple[int, int],
    ip: str,
    counts: tuple[int, int, int, int],
    reasons: tuple[str, ...] = (),
    shadow: tuple[str, ...] = (),
    saturated: bool = False,
) -> tuple[naive.Window, naive.Verdict]:
    """Return one verdict; `counts` is [events, clicks, views, categories]."""
    start_s, end_s = window
    verdict = naive.Verdict(*counts, saturated, tuple(reasons), tuple(shadow))
    return (start_s, end_s, ip), verdict


def decisions_of(text: dict[str, Any], section: str) -> Decisions | None:
    """Return the decisions that a section states, by address."""
    if section not in text:
        return None
    return {
        ip: (stated["value"].encode(), stated["expiry_s"]) for ip, stated in text[section].items()
    }


def statistics_of(text: dict[str, Any]) -> dict[str, bytes] | None:
    """Return the statistics that a case states, by address."""
    if "statistics" not in text:
        return None
    return {ip: value.encode() for ip, value in text["statistics"].items()}
