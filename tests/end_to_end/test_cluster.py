"""A real cluster of three masters as the sink: every key on its node, whatever moves meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.end_to_end.judged import Write, writes_in, wrong_writes
from tests.end_to_end.logs import burst, event, window_ago
from tests.end_to_end.redis_view import held_keys
from tests.end_to_end.rig import OFTEN, TO_THE_END, Rig
from tests.services.monitor import MonitorRecorder
from tests.services.process import wait_until
from tests.services.valkey import ValkeyServer
from tests.services.valkey_cluster import DEADLINE_S, ValkeyCluster, slot_of

N_ADDRESSES = 2_000
SOON_IDLE, NEVER_IDLE = "window.idle_s=2", "window.idle_s=600"
AHEAD_S = 300
"""So far ahead, a window stays open for the whole test, and closes all that is older."""


def crowd(start_s: int) -> list[bytes]:
    """Return one event of each of many addresses."""
    return [event(start_s + n % 10, f"10.1.{n >> 8}.{n & 255}") for n in range(N_ADDRESSES)]


def bursts(start_s: int, block: int, *, n: int = 30) -> list[bytes]:
    """Return the clicks of many bots, of which each node has some."""
    return [value for k in range(n) for value in burst(start_s, f"192.0.{block}.{k}")]


def strays(cluster: ValkeyCluster) -> list[bytes]:
    """Return the keys that are where they do not belong."""
    found = []
    for node in cluster.masters():
        slots = cluster.slots_of(node)
        with node.client() as client:
            keys = list(client.scan_iter(count=1_000))
        assert keys, f"nothing is at {node.port}"
        found += [key for key in keys if slot_of(key.decode()) not in slots]
    return found


@contextmanager
def recorded(cluster: ValkeyCluster) -> Iterator[list[Write]]:
    """Record what the masters are told, those that die included; the list is filled at the end."""
    writes: list[Write] = []
    with ExitStack() as stack:
        recorders = [stack.enter_context(MonitorRecorder(node.url)) for node in cluster.masters()]
        yield writes
    writes += [write for recorder in recorders for write in writes_in(recorder.commands)]


def told(node: ValkeyServer, error: str) -> int:
    """Return how often a node has answered with this error."""
    with node.client() as client:
        found = client.info("errorstats").get(f"errorstat_{error}", {"count": 0})
        count: int = found["count"]
        return count


def test_each_key_is_the_models_and_lies_on_its_node(
    rig: Callable[..., Rig], new_cluster: Callable[..., ValkeyCluster]
) -> None:
    cluster = new_cluster()
    here, start_s = rig(2, valkey=cluster), window_ago(120)
    for partition in (0, 1):
        here.produce(partition, crowd(start_s) + bursts(start_s + 10, partition))
    with recorded(cluster) as writes:
        here.engine(TO_THE_END).ends()
    expected = here.judged()
    assert here.wrong_keys(expected) == ""
    assert wrong_writes(writes, expected) == []
    assert strays(cluster) == []
    with here.client() as client:
        assert len(held_keys(client, "bot_")) == 60


def test_a_slot_that_moves_while_the_engine_writes_is_followed(
    rig: Callable[..., Rig], new_cluster: Callable[..., ValkeyCluster]
) -> None:
    cluster, moved = new_cluster(), "192.0.2.7"
    here, start_s = rig(1, valkey=cluster), window_ago(120)
    key = f"bot_{moved}"
    source = cluster.owner_of(key)
    target = next(node for node in cluster.masters() if node is not source)
    with recorded(cluster) as writes:
        engine = here.engine(OFTEN)
        here.produce(0, bursts(start_s, 0))
        here.wait_for_key("bot_192.0.0.0")
        with cluster.migrating(slot_of(key), source, target):
            here.produce(0, burst(start_s + 10, moved))
            here.wait_until(lambda: told(source, "ASK"), "an ASK")
            wait_until(lambda: here.get(key), deadline_s=DEADLINE_S, what=key)
        here.produce(0, burst(start_s + 40, moved) + bursts(start_s + 40, 1))
        here.wait_until(lambda: told(source, "MOVED"), "a MOVED")
        here.close_windows(start_s + 200)
        here.end(engine)
    expected = here.judged()
    assert here.wrong_keys(expected) == ""
    assert wrong_writes(writes, expected) == []
    assert strays(cluster) == []
    assert cluster.owner_of(key) is target
    assert "WARNING" not in engine.stderr


def test_r7_a_master_that_dies_is_replaced_by_its_replica_and_a_replay_restores_what_it_lacked(
    rig: Callable[..., Rig], new_cluster: Callable[..., ValkeyCluster]
) -> None:
    cluster = new_cluster(n_replicas=3)
    here, start_s = rig(1, valkey=cluster), window_ago(120)
    dying = cluster.masters()[0]
    with recorded(cluster) as writes:
        engine = here.engine(OFTEN, NEVER_IDLE)
        here.produce(0, crowd(start_s) + bursts(start_s, 0))
        here.wait_for_key("bot_192.0.0.0")
        dying.kill()
        here.produce(0, bursts(start_s + 20, 1))
        engine.wait_for("does not answer")
        here.produce(0, bursts(start_s + 40, 2))
        here.close_windows(window_ago(-AHEAD_S))
        here.wait_for_closed(start_s + 50)
        engine.wait_for("Redis came back as another server")
    here.engine("task=replay", SOON_IDLE).ends()
    here.end(engine)
    expected = here.judged()
    assert here.wrong_keys(expected) == ""
    assert wrong_writes(writes, expected, on_time=False) == []
    assert strays(cluster) == []
    assert len(cluster.masters()) == 3
