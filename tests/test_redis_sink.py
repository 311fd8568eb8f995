"""A replay beside the engine, on a real server: the newer value stays, whoever wrote it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import polars as pl
import pytest
import redis

from engine.batch.verdict import VERDICT_SCHEMA, Verdicts
from engine.redis_scripts import SCRIPTS
from engine.redis_sink import RedisSink
from engine.redis_topology import servers_of
from engine.redis_watch import ServerWatch
from engine.redis_writer import RedisWriter
from engine.sink_config import SinkConf
from engine.sinks import timing
from tests.doubles import rule_set
from tests.naive import ModelConfig, ModelRule
from tests.services.valkey import ValkeyServer
from tests.services.valkey_cluster import ValkeyCluster

LENGTH_S = 10
PREFIXES = {
    "keys": {b"bot", b"stat"},
    "hash": {b"bots", b"stat"},
    "sets": {b"bots", b"statistics"},
}
IP, WORD = "192.0.2.1", 0xFFFF_C000_0201
RULES = rule_set(ModelConfig(rules=(ModelRule("many", "events > 3"),)))


def sink_to(server: ValkeyServer | ValkeyCluster, layout: str, *, compare: bool) -> RedisSink:
    """Return an open sink."""
    topology = "cluster" if isinstance(server, ValkeyCluster) else "single"
    conf = SinkConf(url=server.url, topology=topology, layout=layout)
    servers = servers_of(
        conf, new_watch=lambda: ServerWatch(on_evicted=lambda n_keys: None, replay="")
    )
    writer = RedisWriter(servers, stopping=threading.Event(), on_state=lambda ready: None)
    sink = RedisSink(
        conf,
        RULES,
        timing(conf, RULES, event_clock=True),
        writer=writer,
        seed=np.uint64(1),
        stage=lambda name: nullcontext(),
        compare=compare,
    )
    sink.open()
    return sink


def window(start_s: int) -> Verdicts:
    """Return a closed window in which the address is flagged."""
    columns = {name: [0] for name in VERDICT_SCHEMA} | {
        "low": [WORD], "events": [9], "mask": [1], "new_mask": [1],
    }  # fmt: skip
    frame = pl.DataFrame(columns, schema=VERDICT_SCHEMA)
    return Verdicts(start_s, start_s + LENGTH_S, final=True, partial=False, frame=frame)


def write(sink: RedisSink, start_s: int) -> None:
    """Write the decision and the statistics of a window."""
    sink.write_decisions(window(start_s), now_s=time.time())
    sink.write_statistics(window(start_s), now_s=time.time())


def newest(client: redis.Redis, layout: str) -> set[bytes]:
    """Return the windows that Redis shows, decision and statistics."""
    decision = client.hget("bots", IP) if layout == "hash" else client.get(f"bot_{IP}")
    return {value.partition(b',"events"')[0] for value in (decision, client.get(f"stat_{IP}"))}


@pytest.mark.parametrize("layout", ["keys", "hash"])
def test_r10_each_write_of_a_replay_leaves_what_the_engine_has_written_since_the_last_one(
    layout: str, valkey: ValkeyServer
) -> None:
    live = sink_to(valkey, layout, compare=False)
    replay = sink_to(valkey, layout, compare=True)
    start_s = int(time.time()) // LENGTH_S * LENGTH_S - 200
    newer_s = start_s + 5 * LENGTH_S
    shown = b'{"v":1,"window_start":%d,"window_end":%d' % (newer_s, newer_s + LENGTH_S)
    with valkey.client() as client:
        write(replay, start_s)
        write(live, newer_s)
        assert newest(client, layout) == {shown}
        for later_s in (start_s + LENGTH_S, start_s + 2 * LENGTH_S):
            write(replay, later_s)
        assert newest(client, layout) == {shown}
        write(replay, newer_s + LENGTH_S)
        assert newest(client, layout) != {shown}
    live.close()
    replay.close()


def test_each_layout_is_written_to_a_cluster_and_its_flags_are_found(
    new_cluster: Callable[..., ValkeyCluster],
) -> None:
    cluster = new_cluster()
    with cluster.client() as client:
        for layout in SCRIPTS:
            sink = sink_to(cluster, layout, compare=layout != "sets")
            write(sink, int(time.time()) // LENGTH_S * LENGTH_S - 20)
            keys = {key.partition(b"_")[0] for key in client.scan_iter()}
            assert keys == PREFIXES[layout]
            assert sink.flagged_among(lambda addresses: addresses) == [IP.encode()]
            sink.close()
            client.flushall()
