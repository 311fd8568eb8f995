"""Rows C: the engine is killed, stopped or ended at each of its steps; nothing is lost or wrong."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.logs import event, window_ago
from tests.end_to_end.rig import DEADLINE_S, OFTEN, SHORT_SESSION, Rig
from tests.faults.engines import KILLED, SMALL, Supervisor, failing, killed_at, visit
from tests.faults.standard import finished, what_is_wrong
from tests.faults.traffic import crowd, produce_windows
from tests.services.kafka import KafkaBroker
from tests.services.monitor import MonitorRecorder
from tests.services.process import wait_until
from tests.services.proxy import Proxy

N_CROWD = 30_000
"""Five chunks of statistics."""


@pytest.mark.parametrize(
    ("failpoint", "overrides"),
    [
        pytest.param("fetched:1", (), id="c1_after_fetch_before_decode"),
        pytest.param("fetched:7", (OFTEN, SMALL), id="c1_in_mid_log"),
        pytest.param("counted:9", (OFTEN, SMALL), id="c2_while_two_windows_are_open"),
        pytest.param("decisions:1", (), id="c3_before_the_first_chunk"),
        pytest.param("statistics:1", (), id="c3_after_the_decisions"),
        pytest.param("commit:1", (), id="c5_written_but_not_committed"),
        pytest.param("commit:3", (OFTEN, SMALL), id="c5_after_earlier_commits"),
    ],
)  # fmt: skip
def test_c1_c2_c3_c5_killed_at_a_step_nothing_is_lost_or_ever_wrong(
    failpoint: str, overrides: tuple[str, ...], rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        killed_at(here, failpoint, *overrides)
        finished(here, close_s=start_s + 200)
    assert what_is_wrong(here, recorder.commands) == ""


def test_c4_killed_between_two_chunks_the_rest_is_written_after_the_restart(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(), window_ago(120)
    here.produce(0, crowd(start_s, n=N_CROWD))
    with MonitorRecorder(here.valkey.url) as recorder:
        here.close_windows(start_s + 100)
        killed_at(here, "statistics:2")
        with here.client() as client:
            n_before = client.dbsize()
        finished(here, close_s=None)
    assert 0 < n_before < N_CROWD
    assert what_is_wrong(here, recorder.commands) == ""


@pytest.mark.parametrize("is_stored", [False, True], ids=["refused", "stored"])
def test_c6_killed_while_a_commit_is_on_its_way(
    is_stored: bool, rig: Callable[..., Rig], proxied: tuple[KafkaBroker, Proxy]
) -> None:
    kafka, proxy = proxied
    here, start_s = rig(2, kafka=kafka), window_ago(240)
    held, n_held = (proxy.replies if is_stored else proxy.requests), 0

    def hold() -> bool:
        nonlocal n_held
        n_held += 1
        held.hold()
        return True

    proxy.on_commit = lambda: True
    produce_windows(here, start_s)
    for partition in (0, 1):
        here.produce(partition, [event(start_s + 100)])
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(f"source.bootstrap_servers={proxy.address}", OFTEN)
        here.wait_for_commit(n_open=1)
        before, proxy.on_commit = here.commits(), hold
        produce_windows(here, start_s + 120)
        here.close_windows(start_s + 220)
        here.wait_until(lambda: n_held, "a commit")
        if is_stored:
            here.wait_until(lambda: here.commits() != before, "a commit that is stored")
        engine.kill()
        proxy.on_commit = None
        proxy.cut()
        held.let_go()
        assert (here.commits() != before) == is_stored
        finished(here, close_s=None)
    assert what_is_wrong(here, recorder.commands) == ""


def test_c10_the_judge_finds_what_a_design_loses_that_commits_how_far_it_has_read(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    here.module = "tests.faults.design_n"
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        killed_at(here, "commit:9", OFTEN, SMALL)
        finished(here, close_s=start_s + 200, n_open=0)
    wrong = what_is_wrong(here, recorder.commands)
    assert "missing" in wrong  # a window that was open
    assert "what is before it was written at" in wrong  # I1: a commit ahead of Redis


def test_c7_killed_while_partitions_are_assigned(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        killed_at(here, "assigned:1", *SHORT_SESSION)
        finished(here, close_s=start_s + 200)
    assert what_is_wrong(here, recorder.commands) == ""


def test_c7_killed_while_partitions_are_revoked(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        first = failing(here, "revoked:1:kill", OFTEN, *SHORT_SESSION)
        here.wait_for_key("bot_192.0.2.0")
        visit(here, lambda: not first.is_running)
        assert first.process.returncode == KILLED
        finished(here, close_s=start_s + 200)
    assert what_is_wrong(here, recorder.commands) == ""


@pytest.mark.parametrize(
    "signals", [("SIGTERM",), ("SIGTERM", "SIGTERM"), ("SIGINT",)], ids="+".join
)
def test_c11_ended_under_load_it_ends_soon_and_loses_nothing(
    signals: tuple[str, ...], rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(2), window_ago(120)
    for partition in (0, 1):
        here.produce(partition, crowd(start_s + 10, n=N_CROWD))
    produce_windows(here, start_s + 30)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, SMALL.replace("20", "1000"))
        here.wait_for_key("stat_10.0.0.1")
        for name in signals:
            engine.process.send_signal(getattr(signal, name))
        engine.ends(deadline_s=10.0)
        finished(here, close_s=start_s + 200)
    assert what_is_wrong(here, recorder.commands) == ""


def test_c12_a_zombie_comes_back_after_another_has_taken_over(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s, n=3)
    with MonitorRecorder(here.valkey.url) as recorder:
        zombie = here.engine(OFTEN, *SHORT_SESSION)
        here.wait_for_key("stat_203.0.113.1")
        zombie.process.send_signal(signal.SIGSTOP)
        standby = Supervisor(here)
        wait_until(standby.is_reading, deadline_s=DEADLINE_S, what="a takeover")
        produce_windows(here, start_s + 30, n=2)
        here.wait_for_key("stat_198.18.0.11")
        zombie.process.send_signal(signal.SIGCONT)
        last = zombie.ends(75)
        finished(here, close_s=start_s + 200, engine=standby.engine)
    assert "source.group_id" in last
    assert what_is_wrong(here, recorder.commands) == ""


def test_c13_a_full_disk_and_no_place_for_a_lock_stop_nothing(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, start_s = rig(2), window_ago(120)
    (tmp_path / f"botsieve-{os.getuid()}").touch()  # where the folder of the lock would be
    here.produce(0, [b"no event"])
    produce_windows(here, start_s)
    full = ("dead_letter.path=/dev/full", "summary.json=/dev/full")
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, *full, TMPDIR=str(tmp_path))
        here.wait_for_key("bot_192.0.2.0")
        here.close_windows(start_s + 200)
        here.wait_for_commit(n_open=1)
        engine.terminate()
        last = engine.ends(78)
    assert last.startswith("botsieve: summary.json: '/dev/full' cannot be written (No space left")
    assert "no lock on this host" in engine.stderr
    assert engine.stderr.count("takes no letters: No space left on device; going on") == 1
    assert what_is_wrong(here, recorder.commands) == ""
