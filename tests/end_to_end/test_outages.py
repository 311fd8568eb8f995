"""Redis or Kafka go away and come back: the engine says so, waits, and loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

from engine.batch.checkpoint import Checkpoint
from engine.config import BatchConf
from engine.kafka.source import KafkaSource
from engine.kernels.triage import NEVER
from engine.source_config import KafkaConf
from engine.sources import Assigned
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.judged import writes_in, wrong_writes
from tests.end_to_end.logs import IP, burst, window_ago
from tests.end_to_end.rig import DEADLINE_S, OFTEN, SHORT_SESSION, TO_THE_END, Rig
from tests.services.kafka import KafkaBroker
from tests.services.monitor import MonitorRecorder
from tests.services.process import wait_until
from tests.services.valkey import ValkeyServer

REDIS_IS_AWAY = "Redis does not answer"
N_TRIES = 4
"""The waits between these tries add up to more than such a session lasts."""

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def first_half(here: Rig, start_s: int) -> EngineProcess:
    """Start an engine, and return it when it has written a first window and an early decision."""
    engine = here.engine(OFTEN, here.impatient())
    for partition in (0, 1):
        here.produce(partition, burst(start_s, f"192.0.2.{partition + 1}"))
        here.produce(partition, burst(start_s + 30, f"192.0.2.{partition + 3}", n=15))
    here.wait_for_key("stat_192.0.2.2")
    return engine


def second_half(here: Rig, start_s: int) -> None:
    """Produce the rest of the open window, one more, and what closes them."""
    for partition in (0, 1):
        here.produce(partition, burst(start_s + 30, f"192.0.2.{partition + 3}", n=9))
        here.produce(partition, burst(start_s + 40, IP))
    here.close_windows(start_s + 200)


def finished(here: Rig, engine: EngineProcess) -> str:
    """Wait until all is written, stop the engine, and return what is wrong."""
    here.end(engine)
    return here.wrong_keys(here.judged())


def test_r3_redis_stopped_for_a_while_in_mid_run_costs_nothing(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(2), window_ago(120)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = first_half(here, start_s)
        here.valkey.stop()
        second_half(here, start_s)
        engine.wait_for(REDIS_IS_AWAY)
        here.valkey.cont()
        assert finished(here, engine) == ""
    # What Redis had received before it stopped, it runs when it goes on; then it is told anew.
    assert wrong_writes(writes_in(recorder.commands), here.judged(), on_time=False) == []


def test_r1_redis_killed_in_mid_run_and_back_costs_nothing(
    rig: Callable[..., Rig], new_valkey: Callable[..., ValkeyServer]
) -> None:
    here, start_s = rig(2, valkey=new_valkey(arguments=DURABLE)), window_ago(120)
    engine = first_half(here, start_s)
    here.valkey.kill()
    second_half(here, start_s)
    engine.wait_for(REDIS_IS_AWAY)
    here.valkey.start()
    assert finished(here, engine) == ""


def test_r1_redis_away_at_the_start_is_waited_for_even_after_all_is_read(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    here.valkey.kill()
    second_half(here, start_s)
    engine = here.engine(TO_THE_END, *SHORT_SESSION)
    here.wait_until(lambda: engine.stderr.count(REDIS_IS_AWAY) > N_TRIES, "tries in vain")
    here.valkey.start()
    engine.ends()
    assert here.get(f"bot_{IP}") == here.judged().decisions[IP][0]


def test_b3_a_broker_that_is_silent_while_partitions_are_assigned_is_asked_and_joined_again(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here = rig(2, kafka=frail_kafka)
    conf = KafkaConf(
        bootstrap_servers=frail_kafka.bootstrap,
        topic=here.topic,
        group_id=here.topic,
        kafka=dict(item.removeprefix("source.kafka.").split("=") for item in SHORT_SESSION),
    )
    blank = Checkpoint(NEVER, NEVER, 0, "unkeyed", "10/10", "rules")
    source = KafkaSource(
        conf, BatchConf(), blank=blank, delay_s=10, idle_s=10, stopping=threading.Event()
    )
    source.open()
    wait_until(lambda: source.read() or source.epoch, deadline_s=DEADLINE_S, what="an assignment")
    frail_kafka.stop()
    assert source.read() is None
    frail_kafka.cont()
    wait_until(lambda: isinstance(source.read(), Assigned), deadline_s=DEADLINE_S, what="its start")
    source.close()
