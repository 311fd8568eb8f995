"""Real sentinels as the address of the sink: written to is whom they name, at every moment."""

from __future__ import annotations

from collections.abc import Callable

from tests.end_to_end.judged import writes_in, wrong_writes
from tests.end_to_end.logs import burst, window_ago
from tests.end_to_end.rig import OFTEN, Rig
from tests.services.monitor import MonitorRecorder
from tests.services.sentinel import Sentinels
from tests.services.valkey_cluster import ask

SOON_IDLE, NEVER_IDLE = "window.idle_s=2", "window.idle_s=600"
AHEAD_S = 300
"""So far ahead, a window stays open for the whole test, and closes all that is older."""

FIRST, SECOND, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def test_r7_the_engine_goes_on_with_the_replica_that_the_sentinels_promote(
    rig: Callable[..., Rig], sentinels: Sentinels
) -> None:
    here, start_s = rig(1, valkey=sentinels), window_ago(120)
    one_is_gone = sentinels.url.replace("redis://", "redis://127.0.0.1:1,")
    with MonitorRecorder(sentinels.first.url) as recorder:
        engine = here.engine(OFTEN, NEVER_IDLE, f"sink.url='{one_is_gone}'")
        here.produce(0, burst(start_s, FIRST))
        here.wait_for_key(f"bot_{FIRST}")
        sentinels.first.kill()
        here.produce(0, burst(start_s + 20, SECOND))
        engine.wait_for("does not answer")
        engine.wait_for("Redis came back as another server")
    with MonitorRecorder(sentinels.second.url) as promoted:
        here.produce(0, burst(start_s + 40, THIRD))
        here.close_windows(window_ago(-AHEAD_S))
        here.wait_for_closed(start_s + 50)
        here.engine("task=replay", SOON_IDLE).ends()
        here.end(engine)
    expected = here.judged()
    assert here.wrong_keys(expected) == ""
    writes = [*writes_in(recorder.commands), *writes_in(promoted.commands)]
    assert wrong_writes(writes, expected, on_time=False, ascending=False) == []
    assert sentinels.master is sentinels.second


def test_r6_a_master_that_is_replaced_on_purpose_is_left_without_a_loss(
    rig: Callable[..., Rig], sentinels: Sentinels
) -> None:
    here, start_s = rig(1, valkey=sentinels), window_ago(120)
    engine = here.engine(OFTEN, NEVER_IDLE)
    here.produce(0, burst(start_s, FIRST))
    here.wait_for_key(f"bot_{FIRST}")
    ask(sentinels.sentinels[0], "SENTINEL", "FAILOVER", "keys")
    here.wait_until(lambda: ask(sentinels.second, "ROLE")[0] == "master", "another master")
    here.produce(0, burst(start_s + 20, SECOND))
    here.close_windows(window_ago(-AHEAD_S))
    here.wait_for_closed(start_s + 30)
    here.engine("task=replay", SOON_IDLE).ends()
    here.end(engine)
    assert here.wrong_keys(here.judged()) == ""
