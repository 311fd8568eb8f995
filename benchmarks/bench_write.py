"""The write path alone beside redis-benchmark: SET with EX, the same depth and value size."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.rig import Found, Summary, interleaved, median, table
from engine.batch.verdict import VERDICT_SCHEMA, Verdicts
from engine.config import RuleConf
from engine.metrics import Metrics
from engine.redis_sink import RedisSink
from engine.redis_topology import servers_of
from engine.redis_watch import ServerWatch
from engine.redis_writer import RedisWriter
from engine.rules import load_rules
from engine.sink_config import SinkConf
from engine.sinks import Timing
from engine.windows import Window
from engine.writer import CHUNK_ROWS
from tests.services.valkey import ValkeyServer

TITLE = "The write path"
N_ROWS = 400_000
OURS, THEIRS = "statistics through the sink", "redis-benchmark"
RULES = load_rules(
    [RuleConf(name="event_rate", description="Many events.", when="events > 10")],
    base=Window(10, 10),
    default_ttl_s=600,
    max_categories=64,
)


def verdicts() -> Verdicts:
    """Return a closed window of many addresses."""
    n = N_ROWS
    low = np.arange(n, dtype=np.uint64) + np.uint64(0xFFFF_AC0A_0000)
    counts = [np.full(n, count, np.uint32) for count in (3, 1, 2)]
    nothing = [np.zeros(n, dtype) for dtype in (np.uint8, np.uint64, np.uint64, np.int64)]
    columns = [np.zeros(n, np.uint64), low, *counts, *nothing]
    frame = pl.DataFrame(columns, schema=VERDICT_SCHEMA)
    return Verdicts(1_700_000_000, 1_700_000_010, final=True, partial=False, frame=frame)


def sink_to(url: str) -> RedisSink:
    """Return an open sink."""
    conf, seed = SinkConf(url=url), np.uint64(1)
    servers = servers_of(
        conf, new_watch=lambda: ServerWatch(on_evicted=lambda n_keys: None, replay="")
    )
    writer = RedisWriter(servers, stopping=threading.Event(), on_state=lambda ready: None)
    times = Timing(event_clock=False, ttl_s=np.array(RULES.ttl_s, np.int64), statistics_ttl_s=600)
    sink = RedisSink(conf, RULES, times, writer=writer, seed=seed, stage=Metrics().stage)
    sink.open()
    return sink


def written(sink: RedisSink, rows: Verdicts) -> Summary:
    """Write all rows, in the chunks of the engine."""
    begun_s = time.monotonic()
    for i in range(0, N_ROWS, CHUNK_ROWS):
        chunk = rows._replace(frame=rows.frame.slice(i, CHUNK_ROWS))
        sink.write_statistics(chunk, now_s=time.time())
    return {"events_per_s": N_ROWS / (time.monotonic() - begun_s)}


def benchmarked(port: int, n_bytes: int) -> Summary:
    """Let redis-benchmark write as many keys with values of that size."""
    words = ["redis-benchmark", "-p", port, "-c", 1, "-n", N_ROWS, "-r", N_ROWS, "-P", CHUNK_ROWS]
    command = ["SET", "stat___rand_int__", "x" * n_bytes, "EX", 600]
    argv = [str(word) for word in (*words, "-q", *command)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    rate = re.findall(r"([\d.]+) requests per second", done.stdout)[-1]
    return {"events_per_s": float(rate)}


def measure(*, n_runs: int, **_: int) -> Found:
    """Write in turn, both into the same server."""
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder)) as valkey:
        sink, rows = sink_to(valkey.url), verdicts()
        written(sink, rows)
        with valkey.client() as client:
            n_bytes = len(client.get("stat_172.10.0.0") or b"")
        cases: dict[str, Callable[[], Summary]] = {OURS: lambda: written(sink, rows)}
        if shutil.which("redis-benchmark"):
            cases[THEIRS] = lambda: benchmarked(valkey.port, n_bytes)
        found = interleaved(cases, n_runs=n_runs)
        sink.close()
    return found


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    base = median(found.get(THEIRS, found[OURS]))
    rows = [
        (case, f"{median(runs):,.0f}", f"{median(runs) / base:.2f}") for case, runs in found.items()
    ]
    head = f"case | commands/s, median of {len(found[OURS])} | ratio"
    return (
        f"{N_ROWS:,} statistics rows rendered and written, {CHUNK_ROWS:,} commands in flight, one "
        f"connection, beside `SET key value EX 600` of the same size.\n\n{table(head, rows)}\n"
    )
