"""Every end that a user causes: exit 0, no traceback, no lost batch, and the next run goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.end_to_end.botgen_log import BotgenLog
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import event, window_ago
from tests.end_to_end.rig import DEADLINE_S, OFTEN, TO_THE_END, Rig
from tests.services.kafka import ROOT
from tests.services.process import LOOPBACK, free_port

STOP_DEADLINE_S = 12.0
"""5 s for the write and 5 s for the commit in flight, with a moment for a busy machine."""


def wait_for_keys(here: Rig, n_keys: int) -> None:
    """Wait until Redis holds so many keys."""
    with here.client() as client:
        here.wait_until(lambda: client.dbsize() >= n_keys, f"{n_keys} keys")


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_c11_stopped_and_killed_under_load_the_last_run_completes_the_keys_of_the_model(
    rig: Callable[..., Rig], botgen_log: BotgenLog
) -> None:
    here = rig(16)
    botgen_log.produce(here.kafka, here.topic)
    stopped = here.engine(OFTEN)
    wait_for_keys(here, 1)
    stopped.terminate()
    stopped.terminate()
    stopped.ends(deadline_s=STOP_DEADLINE_S)
    killed = here.engine(OFTEN)
    wait_for_keys(here, 19_000)
    killed.kill()
    here.engine(TO_THE_END).ends()
    assert stopped.summary["events"] > 0
    assert here.wrong_keys(botgen_log.judged("fast")) == ""


def test_ctrl_c_ends_with_the_summary_for_a_person(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(), window_ago(60)
    here.produce(0, [event(start_s, category=n) for n in range(11)])
    engine = here.engine(OFTEN, "view=plain")
    here.wait_for_key("bot_192.0.2.1")
    engine.interrupt()
    engine.ends(deadline_s=STOP_DEADLINE_S)
    assert engine.summary["events"] == 11
    assert "flagged   1 address" in engine.stderr


def test_stopped_while_redis_answers_nothing_it_ends_in_time_and_loses_nothing(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(), window_ago(60)
    here.produce(0, [event(start_s + n, category=n) for n in range(40)])
    here.valkey.stop()
    engine = here.engine(OFTEN, here.impatient())
    engine.wait_for("Redis does not answer")
    engine.terminate()
    engine.ends(deadline_s=STOP_DEADLINE_S)
    here.valkey.cont()
    here.engine(TO_THE_END).ends()
    assert here.wrong_keys(here.judged()) == ""


def test_stopped_while_it_waits_for_a_broker_it_ends_at_once(
    new_engine: Callable[..., EngineProcess],
) -> None:
    engine = new_engine(f"source.bootstrap_servers={LOOPBACK}:{free_port()}")
    engine.wait_for("no broker answers")
    engine.terminate()
    engine.ends(deadline_s=STOP_DEADLINE_S / 2)  # there is nothing to write and nobody to leave


def test_the_demo_ends_by_itself_and_measures_its_verdicts(
    new_engine: Callable[..., EngineProcess],
) -> None:
    # Bots cross a limit wherever the windows' borders fall; people are too slow to by chance.
    rates = ("deploy.user_events_per_s=50", "deploy.bot_events_per_s=6")
    engine = new_engine("deploy=embedded", "deploy.duration_s=8", *rates)
    engine.ends()
    summary = engine.summary
    assert summary["events"] > 1_000
    assert summary["precision"] > 0.9
    assert summary["recall"] > 0.9


def test_closed_while_the_group_assigns_it_ends(rig: Callable[..., Rig]) -> None:
    here = rig()
    module = "tests.end_to_end.close_while_assigned"
    words = [sys.executable, "-m", module, here.kafka.bootstrap, here.topic]
    subprocess.run(words, cwd=ROOT, check=True, timeout=DEADLINE_S)
