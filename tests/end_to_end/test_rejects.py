"""Records that are no events: counted by reason, told exactly once, and harmless to the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import naive
from tests.end_to_end.logs import FAST, IP, event, log_in, window_ago
from tests.end_to_end.rig import TO_THE_END, Rig

SMALL_BATCHES = "batch.max_events=50"
N_EVENTS = 400
FAR_FUTURE_S = 4_000_000_000


def bad_records(start_s: int) -> list[bytes | None]:
    """Return at least one record of every reason, and good ones in a strange dress."""
    good = event(start_s).decode()
    envelope = json.dumps({"schema": None, "payload": json.loads(good)}).encode()
    noisy = [f"[{good},", f"{good},", f" {good}]", f"[{good}]", f"\n{good}\r\n"]
    broken: dict[str, Any] = json.loads(good)
    members: list[dict[str, Any]] = [
        {"unix_time": None},
        {"unix_time": str(start_s)},
        {"unix_time": start_s * 1000},
        {"category_id": None},
        {"category_id": 1.5},
        {"ip": None},
        {"ip": "010.0.0.1"},
        {"type": None},
        {"unix_time": FAR_FUTURE_S},
    ]
    return [
        None,
        b"",
        b" \t\r\n",
        b"[",
        b"]",
        b"x" * 5_000,
        f"{good}{good}".encode(),
        good[:-1].encode(),
        b"\xff",
        b"7",
        envelope,
        *(text.encode() for text in noisy),
        *(json.dumps(broken | change).encode() for change in members),
    ]


def log_of(start_s: int, partition: int) -> list[bytes | None]:
    """Return busy events with a bad record after every tenth, and a few that come too late."""
    bad = bad_records(start_s)
    values: list[bytes | None] = []
    for n in range(N_EVENTS):
        values.append(event(start_s + n // 5, f"192.0.2.{n % 7}", category=n % 20))
        if n % 10 == 9:
            values.append(bad[n // 10 % len(bad)])
        if n % 150 == 149:
            values.append(event(start_s, IP, category=partition))
    return values


def letters_of(rows: list[naive.Row], topic: str) -> list[tuple[str, int, int, str]]:
    """Return what a dead letter has to say of each rejected row, in order."""
    judged = [(row, naive.parse_event(row.value, row.timestamp_ms, FAST)) for row in rows]
    return sorted(
        (topic, row.partition, row.offset, reason)
        for row, reason in judged
        if isinstance(reason, str)
    )


def told(letters: list[bytes]) -> list[tuple[str, int, int, str]]:
    """Return what dead letters say, in the same order."""
    documents = [json.loads(letter) for letter in letters]
    return sorted((d["topic"], d["partition"], d["offset"], d["reason"]) for d in documents)


def test_t6_bad_records_are_counted_by_reason_move_no_watermark_and_leave_their_neighbours_exact(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, start_s = rig(3), window_ago(120)
    for partition in range(3):
        here.produce(partition, log_of(start_s, partition))
    path = tmp_path / "letters.ndjson"
    engine = here.engine(TO_THE_END, SMALL_BATCHES, f"dead_letter.path={path}")
    engine.ends()
    expected, summary = here.judged(), engine.summary
    assert here.wrong_keys(expected) == ""
    assert summary["rejected"] == expected.rejected
    assert expected.rejected.keys() >= {"tombstone", "blank", "too_big", "not_json", "future"}
    late = {
        str(partition): (len(late_by_s), max(late_by_s))
        for partition, late_by_s in expected.late.items()
    }
    told_late = summary["late_by_partition"]
    assert {p: (late["events"], late["max_s"]) for p, late in told_late.items()} == late
    assert summary["late"] == sum(n for n, _ in late.values()) > 0
    assert told(path.read_bytes().splitlines()) == letters_of(
        log_in(here.kafka, here.topic), here.topic
    )


def test_a_dead_letter_topic_gets_each_rejected_record_once(
    rig: Callable[..., Rig], topic: Callable[[], str]
) -> None:
    here, start_s = rig(2), window_ago(120)
    letters = here.kafka.create_topic(topic())
    for partition in range(2):
        here.produce(partition, log_of(start_s, partition))
    here.engine(TO_THE_END, SMALL_BATCHES, f"dead_letter.topic={letters}").ends()
    values = [record.value() for record in here.kafka.records(letters)]
    assert told(values) == letters_of(log_in(here.kafka, here.topic), here.topic)
