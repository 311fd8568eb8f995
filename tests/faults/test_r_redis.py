"""Rows R: Redis is slow, stopped, full, read-only or cut off in the middle of its replies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.end_to_end.judged import writes_in
from tests.end_to_end.logs import window_ago
from tests.end_to_end.rig import OFTEN, SHORT_SESSION, Rig
from tests.faults.standard import READING, finished, what_is_wrong
from tests.faults.traffic import crowd, produce_windows
from tests.services.monitor import MonitorRecorder
from tests.services.process import LOOPBACK, free_port
from tests.services.proxy import Proxy

N_CROWD = 30_000
OK_BYTES = len(b"+OK\r\n")


def test_r2_a_redis_that_pauses_delays_and_breaks_nothing(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(2), window_ago(120)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, *SHORT_SESSION)
        produce_windows(here, start_s, n=2)
        here.wait_for_key("bot_192.0.2.0")
        with here.client() as client:
            client.client_pause(3_000)
        produce_windows(here, start_s + 20)
        finished(here, close_s=start_s + 200, engine=engine)
    assert engine.stderr.count(READING) == 1
    assert what_is_wrong(here, recorder.commands, on_time=False, ascending=True) == ""


def test_r2_replies_that_take_two_seconds_delay_and_break_nothing(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    with Proxy(here.valkey.port) as proxy, MonitorRecorder(here.valkey.url) as recorder:
        proxy.replies.delay_s = 2.0
        engine = here.engine(OFTEN, f"sink.url=redis://{proxy.address}/0", *SHORT_SESSION)
        here.wait_for_key("bot_192.0.2.0")
        proxy.replies.delay_s = 0.0
        finished(here, close_s=start_s + 200, engine=engine)
    assert engine.stderr.count(READING) == 1
    assert what_is_wrong(here, recorder.commands, on_time=False) == ""


def test_r4_a_full_redis_is_told_again_only_what_it_refused(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(1), window_ago(120)
    here.produce(0, crowd(start_s, n=N_CROWD))
    with MonitorRecorder(here.valkey.url) as recorder, here.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + (3 << 20))
        engine = here.engine(OFTEN)
        here.close_windows(start_s + 100)
        engine.wait_for("OOM")
        assert 0 < client.dbsize() < N_CROWD
        assert sum(here.committed().values()) == 0  # nothing before it is all written
        client.config_set("maxmemory", 0)
        finished(here, close_s=None, engine=engine)
    times = Counter((write.kind, write.ip, write.window) for write in writes_in(recorder.commands))
    assert set(times.values()) == {1}
    assert what_is_wrong(here, recorder.commands, on_time=False) == ""


def test_r6_a_redis_that_turns_read_only_is_waited_for(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(2), window_ago(120)
    with MonitorRecorder(here.valkey.url) as recorder, here.client() as client:
        engine = here.engine(OFTEN)
        produce_windows(here, start_s, n=2)
        here.wait_for_key("bot_192.0.2.0")
        client.replicaof(LOOPBACK, str(free_port()))
        produce_windows(here, start_s + 20)
        engine.wait_for("READONLY")
        client.replicaof("NO", "ONE")
        finished(here, close_s=start_s + 200, engine=engine)
    assert what_is_wrong(here, recorder.commands, on_time=False) == ""


@pytest.mark.parametrize("n_replies", [N_CROWD // 2, N_CROWD // 2 + 0.4])
def test_r9_a_connection_that_is_cut_in_the_middle_of_the_replies(
    n_replies: float, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(1), window_ago(120)
    here.produce(0, crowd(start_s, n=N_CROWD))
    with Proxy(here.valkey.port) as proxy, MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, f"sink.url=redis://{proxy.address}/0")
        here.wait_until(lambda: READING in engine.stderr, "an assignment")
        proxy.replies.cut_after_bytes = round(n_replies * OK_BYTES)
        here.close_windows(start_s + 100)
        engine.wait_for("does not answer")
        finished(here, close_s=None, engine=engine)
    assert what_is_wrong(here, recorder.commands) == ""


def test_r9_a_line_that_is_half_open_is_given_up_and_written_anew(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    with Proxy(here.valkey.port) as proxy, MonitorRecorder(here.valkey.url) as recorder:
        url = f"sink.url='redis://{proxy.address}/0?socket_timeout=0.5'"
        engine = here.engine(OFTEN, url)
        produce_windows(here, start_s, n=2)
        here.wait_for_key("bot_192.0.2.0")
        proxy.requests.hold()
        produce_windows(here, start_s + 20)
        engine.wait_for("does not answer")
        proxy.cut()
        proxy.requests.let_go()
        finished(here, close_s=start_s + 200, engine=engine)
    assert what_is_wrong(here, recorder.commands, on_time=False) == ""
