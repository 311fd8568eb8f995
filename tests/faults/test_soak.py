"""Minutes and hours of traffic in which everything goes wrong that can; and then the verdict.

A short one with a fixed seed runs with all tests; `make soak` runs long, with SOAK_S seconds and
SOAK_SEED.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.end_to_end.rig import Rig
from tests.faults.engines import visit
from tests.faults.live_traffic import LiveTraffic
from tests.faults.nemesis import NEMESES, Scene, engine_killed
from tests.faults.standard import finished, kept_for, what_is_wrong
from tests.services.kafka import KafkaBroker
from tests.services.kafka_cluster import KafkaCluster
from tests.services.monitor import MonitorRecorder
from tests.services.process import outlast
from tests.services.proxy import Proxy

SHORT_S = 170.0
SHORT_SEED = 11
DAY_S = 86_400
KEPT = kept_for(DAY_S)
ENDS_OF_A_BROKER = ("close", "kill") * 2 + ("close",)
OVERRIDES = (
    f"sink.ttl_s={DAY_S}",
    f"sink.statistics_ttl_s={DAY_S}",
    "window.idle_s=120",
    "source.kafka.session.timeout.ms=6000",
    "source.kafka.heartbeat.interval.ms=1000",
)


@contextmanager
def soaked(here: Rig, *, events_per_s: int, seed: int) -> Iterator[Scene]:
    """Let traffic flow through an engine; afterwards nothing may be lost or wrong."""
    proxy = Proxy(here.valkey.port)
    n_partitions = len(here.kafka.partitions(here.topic))
    traffic = LiveTraffic(
        here.kafka, here.topic, n_partitions=n_partitions, events_per_s=events_per_s, seed=seed
    )
    with MonitorRecorder(here.valkey.url) as recorder, proxy:
        scene = Scene(here, traffic, proxy, OVERRIDES, random.Random(seed))
        with traffic:
            scene.start()
            scene.recover("start")
            yield scene
        finished(here, close_s=int(time.time()) + 60, engine=scene.engine)
    keep_figures(here, scene)
    assert what_is_wrong(here, recorder.commands, config=KEPT, on_time=False) == ""


def keep_figures(here: Rig, scene: Scene) -> None:
    """Record how long each recovery from each nemesis took."""
    here.record("nemeses", json.dumps(scene.recovery_s))
    here.record("events", scene.traffic.n_events)


def harmed(scene: Scene, *, seconds: float, calm_s: tuple[float, float]) -> None:
    """Let one nemesis after the other come for so long: each once, then by chance."""
    end_s = time.monotonic() + seconds
    first = scene.chance.sample(NEMESES, len(NEMESES))
    by_chance = (scene.chance.choice(NEMESES) for _ in itertools.count())
    for nemesis in itertools.chain(first, by_chance):
        if time.monotonic() > end_s:
            return
        nemesis(scene)
        scene.recover(nemesis.__name__)
        outlast(scene.chance.uniform(*calm_s))


@pytest.mark.timeout(600)
def test_s3_soak_of_minutes_with_a_fixed_seed(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here = rig(2, kafka=frail_kafka)
    with soaked(here, events_per_s=500, seed=SHORT_SEED) as scene:
        harmed(scene, seconds=SHORT_S, calm_s=(0.5, 4.0))
    assert len(scene.recovery_s) > len(NEMESES) // 2


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_s1_soak_of_as_long_as_asked_for(rig: Callable[..., Rig], frail_kafka: KafkaBroker) -> None:
    seconds = float(os.environ.get("SOAK_S", "3600"))
    seed = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
    here = rig(2, kafka=frail_kafka)
    here.record("seed", seed)
    with soaked(here, events_per_s=2_000, seed=seed) as scene:
        harmed(scene, seconds=seconds, calm_s=(5.0, 30.0))


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_c8_killed_a_hundred_times(rig: Callable[..., Rig], frail_kafka: KafkaBroker) -> None:
    here = rig(2, kafka=frail_kafka)
    with soaked(here, events_per_s=1_000, seed=SHORT_SEED) as scene:
        for _ in range(100):
            outlast(scene.chance.expovariate(1 / 3))
            engine_killed(scene)
        scene.recover("killed a hundred times")


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_b5_three_brokers_are_restarted_one_after_the_other(
    rig: Callable[..., Rig], kafka_cluster: KafkaCluster
) -> None:
    here = rig(3, kafka=kafka_cluster)
    with soaked(here, events_per_s=500, seed=SHORT_SEED) as scene:
        for end, node in itertools.product(ENDS_OF_A_BROKER, kafka_cluster.nodes):
            getattr(node, end)()
            scene.recover(f"a broker's end by {end}")
            kafka_cluster.start_again(node)
            scene.recover("a broker's return")


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_g6_another_member_comes_and_goes_every_two_seconds(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here = rig(2, kafka=frail_kafka)
    with soaked(here, events_per_s=1_000, seed=SHORT_SEED) as scene:
        for _ in range(75):
            end_s = time.monotonic() + scene.chance.uniform(1.0, 3.0)
            visit(here, lambda end_s=end_s: time.monotonic() > end_s)
            outlast(scene.chance.uniform(1.0, 3.0))
        scene.recover("visits of another member")
