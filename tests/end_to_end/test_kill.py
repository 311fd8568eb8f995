"""Kill -9: no event is lost, no value is ever wrong, and the next process decides at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.end_to_end.judged import writes_in, wrong_writes
from tests.end_to_end.logs import burst, window_ago
from tests.end_to_end.rig import OFTEN, Rig
from tests.services.monitor import MonitorRecorder

SESSION_TIMEOUT_S = 10.0
"""A static member need not wait until the group has given up its dead self."""

EARLY_BIRD, LATE_BIRD, LAST = "192.0.2.2", "192.0.2.3", "192.0.2.4"


def interleaved(*logs: list[bytes]) -> list[bytes]:
    """Return the logs mixed: one record of each in turn."""
    longest = max(len(log) for log in logs)
    return [log[k] for k in range(longest) for log in logs if k < len(log)]


def two_open_windows(here: Rig, start_s: int) -> None:
    """Produce a window that closes, its tail behind the begin of the next, and two that stay open.

    The last record of each partition is an address's eleventh event: its early decision says that
    everything before it is counted.
    """
    for partition in (0, 1):
        first = burst(start_s, f"198.18.{partition}.1", n=12)
        second, third = (
            burst(start_s + ahead_s, f"198.18.{partition}.{ahead_s}", n=30) for ahead_s in (10, 20)
        )
        here.produce(partition, [*first[:6], *second[:3], *first[6:], *interleaved(second, third)])
        here.produce(partition, burst(start_s + 20, f"192.0.2.{partition + 2}", n=11))


@pytest.mark.parametrize("is_committed", [True, False], ids=["after_commit", "before_commit"])
def test_c2_killed_in_the_middle_of_two_windows_nothing_is_lost_and_nothing_was_ever_wrong(
    is_committed: bool, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(2), window_ago(90)
    interval = OFTEN if is_committed else "batch.interval_s=1000"
    with MonitorRecorder(here.valkey.url) as recorder:
        two_open_windows(here, start_s)
        first = here.engine(interval)
        for ip in (EARLY_BIRD, LATE_BIRD):
            here.wait_for_key(f"bot_{ip}")
        here.wait_for_key("stat_198.18.0.1")
        if is_committed:
            here.wait_for_closed(start_s + 10)
        first.kill()
        for partition in (0, 1):
            here.produce(partition, burst(start_s + 20, f"198.18.{partition}.20", n=5))
        here.produce(0, burst(start_s + 20, LAST))
        second = here.engine(OFTEN)
        here.wait_for_key(f"bot_{LAST}")
        here.close_windows(start_s + 200)
        here.end(second)
    expected = here.judged()
    assert wrong_writes(writes_in(recorder.commands), expected, ascending=False) == []
    assert here.wrong_keys(expected) == ""
    assert (second.summary["replayed"] > 0) == is_committed
    told = [write for write in writes_in(recorder.commands) if write.ip == LAST]
    assert told[0].time_s - second.started_s < SESSION_TIMEOUT_S


def test_c9_killed_before_the_first_window_closed_a_start_at_the_latest_skips_nothing(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(60)
    latest = "source.start=latest"
    with MonitorRecorder(here.valkey.url) as recorder:
        first = here.engine(latest, "batch.interval_s=1000")
        here.wait_for_commit(n_open=0)
        for partition in (0, 1):
            here.produce(partition, burst(start_s, f"192.0.2.{partition + 2}", n=11))
        for ip in (EARLY_BIRD, LATE_BIRD):
            here.wait_for_key(f"bot_{ip}")
        first.kill()
        here.produce(0, burst(start_s))
        second = here.engine(latest, OFTEN)
        here.close_windows(start_s + 100)
        here.end(second)
    expected = here.judged()
    assert wrong_writes(writes_in(recorder.commands), expected) == []
    assert here.wrong_keys(expected) == ""
