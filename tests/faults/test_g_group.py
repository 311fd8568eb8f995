"""Rows G: members come and go, callbacks fail; no verdict ever comes from a part of the topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import window_ago
from tests.end_to_end.rig import DEADLINE_S, OFTEN, SHORT_SESSION, Rig
from tests.faults.engines import SMALL, Supervisor, failing, member, visit
from tests.faults.standard import READING, finished, what_is_wrong
from tests.faults.traffic import produce_windows
from tests.services.kafka import KafkaBroker
from tests.services.monitor import MonitorRecorder
from tests.services.process import wait_until

UNAVAILABLE, PARTIAL = 69, 75
FENCED = "the group has given our place away"
INSTANCE = "one"
AS_ONE = f"source.instance_id={INSTANCE}"


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_g2_a_second_engine_is_a_hot_standby_that_takes_over(
    end: str, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s, n=3)
    with MonitorRecorder(here.valkey.url) as recorder:
        first = here.engine(OFTEN, *SHORT_SESSION)
        here.wait_for_key("bot_192.0.2.0")
        standby = Supervisor(here)
        wait_until(lambda: standby.is_reading() or standby.exits, deadline_s=DEADLINE_S, what="75")
        assert set(standby.exits) == {PARTIAL}
        getattr(first, end)()
        ended_s = time.monotonic()
        produce_windows(here, start_s + 30, n=2)
        wait_until(standby.is_reading, deadline_s=DEADLINE_S, what="a takeover")
        here.wait_for_key("bot_192.0.2.1")
        here.record("takeover_s", time.monotonic() - ended_s)
        finished(here, close_s=start_s + 200, engine=standby.engine)
    assert set(standby.exits) == {PARTIAL}
    assert what_is_wrong(here, recorder.commands) == ""


def test_g2_two_engines_that_start_at_once_never_judge_a_part(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        both = [
            here.engine(f"source.instance_id={name}", OFTEN, *SHORT_SESSION) for name in ("a", "b")
        ]
        here.wait_until(lambda: not all(engine.is_running for engine in both), "the end of one")
        (stays,) = (engine for engine in both if engine.is_running)
        (leaves,) = (engine for engine in both if not engine.is_running)
        assert leaves.process.returncode == PARTIAL, leaves.output
        finished(here, close_s=start_s + 200, engine=stays)
    assert what_is_wrong(here, recorder.commands) == ""


def test_g3_a_sink_that_is_slower_than_the_longest_poll_interval_loses_no_partition(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    interval = ("source.kafka.max.poll.interval.ms=4000", *SHORT_SESSION)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, here.impatient(), SMALL, *interval)
        here.wait_for_key("bot_192.0.2.0")
        here.valkey.stop()
        produce_windows(here, start_s + 40)
        here.wait_until(lambda: engine.stderr.count("does not answer") > 5, "more than 4 s")
        here.valkey.cont()
        finished(here, close_s=start_s + 200, engine=engine)
    assert engine.stderr.count(READING) == 1
    assert what_is_wrong(here, recorder.commands, on_time=False) == ""


@pytest.mark.parametrize("callback", ["assigned", "committed", "revoked"])
def test_g5_a_callback_that_fails_is_counted_and_loses_nothing(
    callback: str, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = failing(here, f"{callback}:1:raise", OFTEN, SMALL)
        if callback == "revoked":
            engine.wait_for(READING)
            visit(here, lambda: "the callback revoked failed" in engine.stderr)
        finished(here, close_s=start_s + 200, engine=engine)
    assert f"the callback {callback} failed" in engine.stderr
    assert engine.summary["callback_errors"] == 1
    assert what_is_wrong(here, recorder.commands) == ""


def test_g5_an_error_callback_that_fails_is_counted_and_loses_nothing(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here, start_s = rig(2, kafka=frail_kafka), window_ago(120)
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = failing(here, "error:1:raise", OFTEN)
        here.wait_for_key("bot_192.0.2.0")
        here.kafka.kill()
        engine.wait_for("the callback error failed")
        here.kafka.start()
        finished(here, close_s=start_s + 200, engine=engine)
    assert engine.summary["callback_errors"] == 1
    assert what_is_wrong(here, recorder.commands) == ""


@contextmanager
def usurper(here: Rig, engine: EngineProcess) -> Iterator[Consumer]:
    """Be a member with the engine's own instance id until it is fenced, then poll no more."""
    ours = {"group.instance.id": INSTANCE, "session.timeout.ms": 1_500}
    with member(here, **ours) as other:

        def is_fenced() -> bool:
            other.poll(0.1)
            return FENCED in engine.stderr

        here.wait_until(is_fenced, "a fence")
        yield other


@pytest.mark.parametrize("drain", ["auto", "plain"])
def test_b2_a_member_that_is_fenced_and_that_nobody_replaces_joins_again(
    drain: str, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, AS_ONE, f"source.drain={drain}", *SHORT_SESSION)
        here.wait_for_key("bot_192.0.2.0")
        with usurper(here, engine):
            produce_windows(here, start_s + 40)
        finished(here, close_s=start_s + 200, engine=engine)
    assert engine.stderr.count(READING) == 2
    assert what_is_wrong(here, recorder.commands) == ""


def test_g2_an_engine_whose_instance_id_another_one_keeps_ends(rig: Callable[..., Rig]) -> None:
    here = rig(2)
    engine = here.engine(OFTEN, AS_ONE, *SHORT_SESSION)
    engine.wait_for(READING)
    with usurper(here, engine) as other:

        def is_over() -> bool:
            other.poll(0.1)
            return not engine.is_running

        wait_until(is_over, deadline_s=DEADLINE_S, what="the end of the engine")
    assert engine.ends(UNAVAILABLE).startswith("botsieve: source.instance_id: another engine has")
