"""task=explain over a real topic: the offsets that it names are those of the topic."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.logs import burst, event, log_in, window_ago
from tests.end_to_end.rig import Rig

BOT, OTHER, UNKNOWN = "192.0.2.1", "192.0.2.2", "2001:db8::9"
SOON_IDLE = "window.idle_s=1"


def test_the_offsets_named_are_those_of_the_topic(rig: Callable[..., Rig], tmp_path: Path) -> None:
    here, start_s = rig(2), window_ago(100)
    noise = [event(start_s, OTHER), b"no event", event(start_s + 1, OTHER)]
    clicks = burst(start_s, BOT, n=12)
    here.produce(0, [event(start_s, OTHER)])
    here.produce(1, [*noise, *clicks, event(start_s + 30, OTHER)])
    path = tmp_path / "explained.json"
    engine = here.engine("task=explain", f"address={BOT}", SOON_IDLE, f"report.json={path}")
    engine.ends()
    report = json.loads(path.read_text())
    records = {(row.partition, row.offset): row.value for row in log_in(here.kafka, here.topic)}
    rule = next(one for one in report["rules"] if one["name"] == "event_rate")
    [case] = rule["cases"]
    assert (case["window_start"], case["window_end"]) == (start_s, start_s + 10)
    first, crossing = case["first_event"], case["deciding_event"]
    assert records[first["partition"], first["offset"]] == clicks[0]
    assert records[crossing["partition"], crossing["offset"]] == clicks[10]
    assert first["partition"] == crossing["partition"] == 1
    assert [one["record"].encode() for one in case["events"]] == clicks[6:11]
    assert (
        f"first event 1:{first['offset']}, crossing event 1:{crossing['offset']}" in engine.output
    )
    assert here.commits() == {}


def test_the_crossing_event_is_the_eleventh_over_both_partitions(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, start_s = rig(2), window_ago(100)
    acts = [[event(start_s + k, BOT, category=10 * p + k) for k in range(7)] for p in (0, 1)]
    for p in (0, 1):
        here.produce(p, acts[p])
    path = tmp_path / "explained.json"
    here.engine("task=explain", f"address={BOT}", SOON_IDLE, f"report.json={path}").ends()
    rules = json.loads(path.read_text())["rules"]
    [case] = next(one for one in rules if one["name"] == "event_rate")["cases"]
    crossing, told = case["deciding_event"], case["events"]
    assert case["counts"]["events"] == 14
    assert told[-1] == {
        **crossing,
        "record": acts[crossing["partition"]][crossing["offset"]].decode(),
    }
    seen = [[one["offset"] + 1 for one in told if one["partition"] == p] for p in (0, 1)]
    n_other = 11 - (crossing["offset"] + 1)
    assert n_other in range(4, 8)
    assert not seen[1 - crossing["partition"]] or max(seen[1 - crossing["partition"]]) == n_other
    assert case["decided_s"] == crossing["time"] == start_s + crossing["offset"]


def test_who_is_not_in_the_topic_is_told_so(rig: Callable[..., Rig]) -> None:
    here = rig()
    here.produce(0, burst(window_ago(100), BOT, n=12))
    engine = here.engine("task=explain", f"address={UNKNOWN}", SOON_IDLE)
    engine.ends()
    assert engine.output.startswith(f"{UNKNOWN}: not seen in 12 events of the range\n")
