"""Rows T: clocks that jump, producers that repeat themselves, logs that are read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.logs import IP, burst, event, window_ago
from tests.end_to_end.rig import OFTEN, TO_THE_END, Rig
from tests.faults.standard import finished, kept_for, what_is_wrong
from tests.faults.traffic import produce_windows
from tests.services.monitor import MonitorRecorder

KEPT = kept_for(7_200)


def test_t7_a_producer_whose_clock_is_wrong_is_counted_or_late_by_its_own_partition(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(300)
    produce_windows(here, start_s)
    here.produce(0, burst(start_s + 350, "192.0.2.50"))  # 50 s ahead of now
    here.produce(0, burst(start_s - 3_600, "192.0.2.51"))
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = finished(here, close_s=start_s + 600)
    assert engine.summary["late"] == 20
    assert engine.summary["rejected"] == {}
    assert what_is_wrong(here, recorder.commands) == ""


@pytest.mark.parametrize("jump_s", [3_600, -3_600])
def test_t9_a_clock_that_jumps_changes_no_result(
    jump_s: int, rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, start_s = rig(2), window_ago(120)
    here.module = "tests.faults.jumping_clock"
    jump = tmp_path / "jump_s"
    jump.write_text("0")
    with MonitorRecorder(here.valkey.url) as recorder:
        long = ("sink.ttl_s=7200", "sink.statistics_ttl_s=7200")
        engine = here.engine(OFTEN, *long, CLOCK_JUMP=str(jump))
        produce_windows(here, start_s)
        here.wait_for_key("bot_192.0.2.2")
        jump.write_text(str(jump_s))
        produce_windows(here, start_s + 40)
        finished(here, close_s=start_s + 200, engine=engine)
    ttls = [int(command.args[4]) for command in recorder.commands if command.args[0] == b"SET"]
    assert min(ttls) > 0
    wrong = what_is_wrong(here, recorder.commands, config=KEPT, on_time=False)
    assert not [line for line in wrong.splitlines() if "expires" not in line], wrong


def test_t10_records_that_a_producer_repeats_are_counted_as_often(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    one = event(start_s, IP)
    here.produce(0, [one] * 6)
    here.produce(1, [one] * 6)
    with MonitorRecorder(here.valkey.url) as recorder:
        finished(here, close_s=start_s + 100)
    assert b'"events":12,' in (here.get(f"bot_{IP}") or b"")
    assert what_is_wrong(here, recorder.commands) == ""


def test_t11_a_topic_that_is_read_three_times_leaves_the_same_state(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    here.close_windows(start_s + 100)
    found = []
    with MonitorRecorder(here.valkey.url) as recorder:
        for _ in range(3):
            here.engine(TO_THE_END, "source.ignore_commits=true").ends()
            with here.client() as client:
                keys = sorted(client.scan_iter())
                found.append(dict(zip(keys, client.mget(keys), strict=True)))
    assert found[0] == found[1] == found[2] != {}
    assert "differs" not in what_is_wrong(here, recorder.commands)
