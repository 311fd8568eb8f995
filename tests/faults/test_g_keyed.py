"""Rows G, a topic keyed by address: engines share it, and every verdict is of the whole."""

from __future__ import annotations

import itertools
import time
import zlib
from collections.abc import Callable, Iterable

import pytest

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import burst, event, window_ago
from tests.end_to_end.rig import OFTEN, SHORT_SESSION, TO_THE_END, Rig
from tests.faults.engines import SMALL
from tests.faults.standard import READING, what_is_wrong
from tests.services.kafka_cluster import KafkaCluster
from tests.services.monitor import MonitorRecorder

KEYED = "source.keyed=true"
N_PARTITIONS, N_PEOPLE, WINDOW_S = 4, 60, 10


def acts(start_s: int, *, n_windows: int) -> list[tuple[str, bytes]]:
    """Return (address, record) in the order of time: people, and two bots a window."""
    found = []
    for k in range(n_windows):
        begin_s = start_s + k * WINDOW_S
        people = [f"203.0.113.{i}" for i in range(N_PEOPLE)]
        found += [
            (ip, event(begin_s + i % WINDOW_S, ip, category=i)) for i, ip in enumerate(people)
        ]
        found += [
            (ip, act)
            for ip in (f"192.0.2.{2 * k}", f"2001:db8::{k:x}")
            for act in burst(begin_s, ip)
        ]
    return found


def produce(here: Rig, some: Iterable[tuple[str, bytes]]) -> None:
    """Produce events to the partitions of their addresses, with these as keys."""
    rows = [
        (zlib.crc32(ip.encode()) % N_PARTITIONS, value, None, ip.encode()) for ip, value in some
    ]
    here.kafka.produce(here.topic, rows)


def keyed_engine(here: Rig, name: str, *overrides: str) -> EngineProcess:
    """Start an engine with an instance id of its own."""
    words = (KEYED, f"source.instance_id={name}", OFTEN, SMALL, *SHORT_SESSION, *overrides)
    return here.engine(*words)


@pytest.mark.parametrize("n_engines", [1, 2, 4])
def test_g1_engines_share_a_keyed_topic(n_engines: int, rig: Callable[..., Rig]) -> None:
    here, start_s = rig(N_PARTITIONS), window_ago(120)
    produce(here, acts(start_s, n_windows=5))
    with MonitorRecorder(here.valkey.url) as recorder:
        engines = [keyed_engine(here, f"engine-{i}", TO_THE_END) for i in range(n_engines)]
        for engine in engines:
            engine.ends()
    assert sum(engine.summary["events"] for engine in engines) >= len(acts(start_s, n_windows=5))
    assert all(engine.summary["key_mismatch"] == 0 for engine in engines)
    assert what_is_wrong(here, recorder.commands) == ""


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_g1_engines_that_join_and_leave_in_mid_window_write_what_one_would(
    end: str, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(N_PARTITIONS), window_ago(120)
    log = acts(start_s, n_windows=8)
    parts = [log[i : i + len(log) // 4 + 1] for i in range(0, len(log), len(log) // 4 + 1)]
    with MonitorRecorder(here.valkey.url) as recorder:
        first = keyed_engine(here, "first")
        produce(here, parts[0])
        here.wait_for_key("bot_192.0.2.0")
        second = keyed_engine(here, "second")
        second.wait_for(READING)
        produce(here, parts[1])
        here.wait_for_key("bot_192.0.2.4")
        getattr(first, end)()
        ended_s = time.monotonic()
        produce(here, parts[2])
        here.wait_until(lambda: takes(second, N_PARTITIONS), "a takeover")
        here.record("takeover_s", round(time.monotonic() - ended_s, 3))
        third = keyed_engine(here, "third")
        third.wait_for(READING)
        produce(here, parts[3])
        here.close_windows(start_s + 200)
        here.wait_for_commit(n_open=1)
        for engine in (second, third):
            engine.terminate()
            engine.ends()
    assert what_is_wrong(here, recorder.commands) == ""


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_b5_three_brokers_are_restarted_one_after_the_other_under_two_engines(
    rig: Callable[..., Rig], kafka_cluster: KafkaCluster
) -> None:
    here, start_s = rig(N_PARTITIONS, kafka=kafka_cluster), window_ago(300)
    steps = list(itertools.product(("close", "kill"), kafka_cluster.nodes))
    with MonitorRecorder(here.valkey.url) as recorder:
        engines = [keyed_engine(here, name) for name in ("first", "second")]
        for engine in engines:
            engine.wait_for(READING)
        for n, (end, node) in enumerate(steps):
            log = acts(start_s + 40 * n, n_windows=4)
            produce(here, log[: len(log) // 2])
            getattr(node, end)()
            produce(here, log[len(log) // 2 :])
            kafka_cluster.start_again(node)
        here.close_windows(start_s + 40 * len(steps) + 60)
        here.wait_for_commit(n_open=1)
        for engine in engines:
            engine.terminate()
            engine.ends()
    assert what_is_wrong(here, recorder.commands) == ""


def takes(engine: EngineProcess, n_partitions: int) -> bool:
    """Whether the engine said last that it reads so many partitions."""
    said = [line for line in engine.stderr.splitlines() if READING in line]
    return said[-1].count(" from ") == n_partitions


def test_a_topic_that_is_keyed_by_something_else_is_told(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(), window_ago(100)
    value = event(start_s)
    here.kafka.produce(here.topic, [(0, value, None, b"session-7"), (0, value, None, None)])
    engine = keyed_engine(here, "one", TO_THE_END)
    engine.ends()
    assert engine.summary["key_mismatch"] > 0
    assert "the key b'session-7' is not the address" in engine.stderr
    assert engine.stderr.count("is not the address") == 1
