"""Silence: what is open closes by the clock, and a silent partition holds back nothing for long."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.end_to_end.logs import CLOSER, IP, burst, event, window_ago
from tests.end_to_end.rig import OFTEN, Rig

SOON_IDLE = ["window.idle_s=0.5", "window.delay_s=1", "source.start=latest", OFTEN]


def test_t4_after_a_burst_and_silence_the_clock_closes_the_window_and_a_backlog_is_not_late(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    engine = here.engine(*SOON_IDLE)
    here.wait_for_commit(n_open=0)
    here.produce(0, burst(start_s, IP))
    here.wait_for_key(f"stat_{IP}")
    assert here.get(f"stat_{IP}") == here.get(f"bot_{IP}") == here.judged().statistics[IP]
    assert engine.is_running
    here.produce(1, burst(start_s + 10, "192.0.2.2"))
    here.produce(0, burst(start_s + 20, "192.0.2.3"))
    here.wait_for_commit(n_open=0)
    engine.terminate()
    engine.ends()
    summary = engine.summary
    assert (summary["late"], summary["late_after_idle"], summary["replayed"]) == (0, 0, 0)
    assert here.wrong_keys(here.judged()) == ""


def test_t3_a_partition_that_stays_silent_holds_nothing_back_for_longer_than_it_may(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(4), int(time.time()) // 10 * 10
    engine = here.engine(*SOON_IDLE)
    here.wait_for_commit(n_open=0)
    addresses = {partition: f"192.0.2.{partition + 1}" for partition in range(3)}
    for partition, ip in addresses.items():
        here.produce(partition, burst(start_s, ip))
    for ip in addresses.values():
        here.wait_for_key(f"bot_{ip}")
    for partition in addresses:
        here.produce(partition, [event(start_s + 300, CLOSER)])
    for ip in addresses.values():
        here.wait_for_key(f"stat_{ip}")
    engine.terminate()
    engine.ends()
    assert here.wrong_keys(here.judged()) == ""
