"""Rows B: a broker that answers nothing while the engine ends."""

from __future__ import annotations

from collections.abc import Callable

from tests.end_to_end.logs import IP, burst, window_ago
from tests.end_to_end.rig import OFTEN, Rig
from tests.services.kafka import KafkaBroker

END_S = 15.0


def test_b3_stopped_while_the_broker_answers_nothing_it_ends_in_time_with_its_own_exit_code(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here, start_s = rig(kafka=frail_kafka), window_ago(60)
    engine = here.engine(OFTEN, here.impatient())
    here.wait_for_commit(n_open=0)
    here.valkey.stop()
    here.produce(0, burst(start_s) + burst(start_s + 100, "192.0.2.2"))
    engine.wait_for("Redis does not answer")
    frail_kafka.stop()
    here.valkey.cont()
    here.wait_for_key(f"stat_{IP}")  # what is committed now, nobody will answer
    engine.terminate()
    engine.ends(deadline_s=END_S)
    assert engine.summary["events"] == 40
    frail_kafka.cont()
    after = here.engine(OFTEN)
    here.close_windows(start_s + 200)
    here.end(after)
    assert here.wrong_keys(here.judged()) == ""
