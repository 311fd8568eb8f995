"""Redis has lost keys: a replay writes again what still holds, beside the engine that goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from confluent_kafka import TopicPartition

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.judged import Write, writes_in, wrong_writes
from tests.end_to_end.logs import burst, event, window_ago
from tests.end_to_end.redis_view import held_keys
from tests.end_to_end.rig import DEADLINE_S, OFTEN, TO_THE_END, Rig
from tests.services.monitor import MonitorRecorder
from tests.services.process import LOOPBACK, wait_until
from tests.services.valkey import ValkeyServer

SOON_IDLE = "window.idle_s=2"
FIRST, SECOND, THIRD, OPEN = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"
AHEAD_S = 300
"""So far ahead, a window stays open for the whole test, and closes all that is older."""

ROUNDED_S = 2.0


def live_engine(here: Rig) -> EngineProcess:
    """Start the engine that goes on."""
    return here.engine(OFTEN, SOON_IDLE)


def replayed(here: Rig, *overrides: str) -> EngineProcess:
    """Run a replay to its end."""
    engine = here.engine("task=replay", SOON_IDLE, *overrides)
    engine.ends()
    return engine


def keys_of(here: Rig) -> dict[str, bytes]:
    """Return every value by its key."""
    with here.client() as client:
        return {key: held.value for key, held in held_keys(client, "").items()}


def member_ids(here: Rig) -> list[str]:
    """Return the members of the group; one that has joined anew has another id."""
    found = here.kafka.admin.describe_consumer_groups([here.topic])[here.topic].result()
    return [member.member_id for member in found.members]


def shortened(writes: Iterable[Write]) -> list[Write]:
    """Return the decisions that ended sooner than the one which they replaced."""
    expiry_s: dict[str, float] = {}
    found = []
    for write in writes:
        key, end_s = write.kind + write.ip, write.time_s + write.ttl_s
        if write.kind == "bot_" and end_s < expiry_s.get(key, end_s) - ROUNDED_S:
            found.append(write)
        expiry_s[key] = end_s
    return found


def finished(here: Rig, engine: EngineProcess, time_s: int) -> str:
    """Close all windows, stop the engine, and return what is wrong."""
    here.close_windows(time_s)
    here.end(engine)
    return here.wrong_keys(here.judged())


def test_r10_after_flushall_a_replay_restores_all_but_what_is_open_and_leaves_the_group_alone(
    rig: Callable[..., Rig],
) -> None:
    here, start_s, ahead_s = rig(3), window_ago(300), window_ago(-AHEAD_S)
    engine = live_engine(here)
    here.produce(2, [event(start_s, THIRD)])  # and then this partition is silent
    here.produce(0, burst(start_s, FIRST) + burst(ahead_s, OPEN))
    here.produce(1, burst(start_s + 10, SECOND) + [event(ahead_s, THIRD)])
    for key in (f"stat_{FIRST}", f"stat_{SECOND}", f"bot_{OPEN}"):
        here.wait_for_key(key)
    here.wait_for_closed(start_s + 20)
    before, commits, members = keys_of(here), here.committed(), member_ids(here)
    with here.client() as client:
        client.flushall()
    with MonitorRecorder(here.valkey.url) as recorder:
        replay = replayed(here, TO_THE_END)  # which would close what is open
    assert keys_of(here) == before
    assert f"stat_{OPEN}" not in before
    assert wrong_writes(writes_in(recorder.commands), here.judged()) == []
    assert (here.committed(), member_ids(here)) == (commits, members)
    assert replay.summary["time_to_detect_s"]["max"] is None
    assert finished(here, engine, ahead_s + 100) == ""


def test_r10_what_the_engine_writes_meanwhile_is_not_replaced_by_what_is_older(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(300)
    engine = live_engine(here)
    for partition in (0, 1):
        for first_s in (start_s, start_s + 20):
            here.produce(partition, burst(first_s, FIRST) + burst(first_s, SECOND))
        here.produce(partition, [event(start_s + 60, THIRD)])
    here.wait_for_closed(start_s + 30)
    with here.client() as client:
        client.flushall()
    with MonitorRecorder(here.valkey.url) as recorder:
        here.produce(0, burst(start_s + 100, SECOND) + [event(start_s + 100, FIRST)])
        for partition in (0, 1):
            here.produce(partition, [event(start_s + 200, THIRD)])
        here.wait_for_closed(start_s + 110)
        replayed(here)
        here.produce(1, burst(start_s + 220, THIRD))
        assert finished(here, engine, start_s + 300) == ""
    writes = list(writes_in(recorder.commands))
    assert wrong_writes(writes, here.judged()) == []
    assert shortened(writes) == []


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole_log", "beginning_deleted"])
def test_r10_a_replay_from_the_middle_of_the_log_writes_whole_windows_that_are_not_over_only(
    is_cut: bool, rig: Callable[..., Rig]
) -> None:
    here = rig()
    ages_s = {2000: FIRST, 300: SECOND, 150: THIRD, 100: OPEN}
    for age_s, ip in ages_s.items():
        start_s = window_ago(age_s)
        rows = [(0, value, start_s * 1000, None) for value in burst(start_s, ip)]
        here.kafka.produce(here.topic, rows)
    here.close_windows(window_ago(-AHEAD_S))
    expected = here.judged()
    if is_cut:
        here.kafka.admin.delete_records([TopicPartition(here.topic, 0, 45)])
    with MonitorRecorder(here.valkey.url) as recorder:
        replay = replayed(here, "replay.since_s=200")
    assert wrong_writes(writes_in(recorder.commands), expected) == []
    whole = {OPEN} if is_cut else {THIRD, OPEN}
    found = keys_of(here)
    assert {ip: found[f"stat_{ip}"] for ip in whole} == {
        ip: expected.statistics[ip] for ip in whole
    }
    assert {key for key in found if key.startswith("stat_")} == {f"stat_{ip}" for ip in whole}
    assert replay.summary["events"] == (36 if is_cut else 61)
    assert here.committed() == {}


def test_r7_after_a_failover_to_a_replica_that_lagged_a_replay_restores_what_it_never_had(
    rig: Callable[..., Rig], new_valkey: Callable[..., ValkeyServer]
) -> None:
    here, start_s = rig(2), window_ago(300)
    replica = new_valkey(arguments=("--replicaof", f"{LOOPBACK} {here.valkey.port}"))
    engine = live_engine(here)
    for partition in (0, 1):
        here.produce(partition, burst(start_s, FIRST))
        here.produce(partition, burst(start_s + 30, SECOND))
    here.wait_for_key(f"stat_{FIRST}")
    with replica.client() as client:
        wait_until(lambda: client.get(f"stat_{FIRST}"), deadline_s=DEADLINE_S, what="a copy")
        client.replicaof("NO", "ONE")  # the link is cut: what follows is acknowledged, and lost
    for partition in (0, 1):
        here.produce(partition, burst(start_s + 60, THIRD))
        here.produce(partition, burst(window_ago(-AHEAD_S), OPEN))
    here.wait_for_key(f"stat_{THIRD}")
    here.wait_for_closed(start_s + 70)
    take_over(here.valkey, replica)
    engine.wait_for("Redis came back")
    assert "with the same settings and task=replay replay.since_s=600 beside this" in engine.stderr
    assert here.get(f"stat_{THIRD}") is None
    replayed(here)
    assert finished(here, engine, window_ago(-AHEAD_S) + 100) == ""


def take_over(server: ValkeyServer, replica: ValkeyServer) -> None:
    """Let a replica serve at the address of the server that dies."""
    server.kill()
    server._arguments = ("--replicaof", f"{LOOPBACK} {replica.port}")
    server.start()
    with server.client() as client:
        wait_until(
            lambda: client.info("replication")["master_link_status"] == "up",
            deadline_s=DEADLINE_S,
            what="the replica's keys",
        )
        client.replicaof("NO", "ONE")
