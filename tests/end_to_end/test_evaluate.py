"""task=evaluate over a real topic: what it says is so, and the engine of the same group goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.end_to_end.logs import burst, event, window_ago
from tests.end_to_end.redis_view import held_keys
from tests.end_to_end.rig import OFTEN, Rig

N_PARTITIONS = 3
BOTS = [f"192.0.2.{n}" for n in range(9)]
PEOPLE = [f"2001:db8::{n:x}" for n in range(1, 40)]
HASTY = PEOPLE[:2]


def fill(here: Rig, start_s: int) -> None:
    """Produce a minute of people who look, two of them hastily, and of bots, the last one slow."""
    for p in range(N_PARTITIONS):
        looks = [event(start_s + s, ip) for s in range(0, 60, 6) for ip in PEOPLE[p::N_PARTITIONS]]
        fast = [burst(start_s + 10 * n, ip) for n, ip in enumerate(BOTS[p:-1:N_PARTITIONS])]
        fast += [burst(start_s + 20, ip, n=11) for ip in HASTY[p::N_PARTITIONS]]
        acts = [*looks, b"no event", *(act for one in fast for act in one)]
        here.produce(p, sorted(acts, key=time_of))
    here.produce(0, [event(start_s + 60, BOTS[-1])])


def time_of(value: bytes) -> int:
    """Return the time of an event; what is none comes first."""
    return int(json.loads(value)["unix_time"]) if value.startswith(b"{") else 0


def evaluated(here: Rig, folder: Path, *overrides: str) -> dict[str, Any]:
    """Return the report over the topic."""
    labels, path = folder / "labels.csv", folder / "report.json"
    rows = [*(f"{ip},bot\n" for ip in BOTS), *(f"{ip},human\n" for ip in PEOPLE)]
    labels.write_text("".join(["key,label\n", *rows]))
    engine = here.engine("task=evaluate", f"labels={labels}", f"report.json={path}", *overrides)
    engine.ends()
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_topic_is_judged_as_the_model_does_beside_an_engine_that_goes_on(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, start_s = rig(N_PARTITIONS), window_ago(100)
    fill(here, start_s)
    live = here.engine(OFTEN)
    here.wait_for_key(f"bot_{BOTS[0]}")
    report = evaluated(here, tmp_path)
    flagged = set(here.judged().decisions)
    assert set(report["flagged"]) == flagged == {*BOTS[:-1], *HASTY}
    found = report["by_address"]
    assert (found["caught"], found["bots"]) == (8, 9)
    assert (found["wrongly_flagged"], found["people"]) == (2, 39)
    assert (found["precision"], found["recall"]) == (0.8, round(8 / 9, 6))
    assert report["read"]["rejected"] == {"not_json": N_PARTITIONS}
    assert [one["address"] for one in report["missed"]] == [BOTS[-1]]
    here.close_windows(start_s + 100)
    here.end(live)
    with here.client() as client:
        assert held_keys(client, "bot_").keys() == flagged
