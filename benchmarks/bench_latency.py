"""From the event that crosses a limit, as appended by the broker, to the readable decision.

The load is open: botgen produces in real time, whatever the engine does. The broker stamps each
record when it appends it; Redis tells of each `bot_` key as it is set, and the value that is read
then says of which window it is. All on one machine, the generator and the broker included.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.rig import (
    BOTS,
    ENVIRONMENT,
    PARTITIONS,
    ROOT,
    SEED,
    USERS,
    Found,
    started_broker,
    table,
)
from tests.services.kafka import KafkaBroker
from tests.services.process import wait_until
from tests.services.valkey import ValkeyServer

TITLE = "Latency"
RATES = (20_000, 50_000, 100_000, 200_000, 300_000)
LIMIT, WINDOW_S, BOT_RATE = 10, 10, 2
BATCH = 10_000
GROUP = "bench-latency"
SETTLE_S = 5.0
DEADLINE_S = 120.0
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
RECORD = re.compile(rb'"unix_time":(\d+).*"ip":"(172\.20\.[\d.]+)"')

Decisions = dict[tuple[str, int], float]


class Watcher(threading.Thread):
    """Notes when each decision can be read: (address, window) -> unix seconds."""

    def __init__(self, valkey: ValkeyServer) -> None:
        """Nothing is noted yet."""
        super().__init__(daemon=True)
        self.seen: Decisions = {}
        self.last_s = time.time()
        self._valkey, self._over = valkey, threading.Event()

    def run(self) -> None:
        """Read every `bot_` key that is set."""
        with self._valkey.client(decode_responses=True) as client, client.pubsub() as keys:
            client.config_set("notify-keyspace-events", "K$")
            keys.psubscribe("__keyspace@0__:bot_*")
            while not self._over.is_set():
                message = keys.get_message(ignore_subscribe_messages=True, timeout=0.1)
                if message is None:
                    continue
                key = message["channel"].partition(":")[2]
                value = client.get(key)
                if value is not None:
                    where = key.removeprefix("bot_"), json.loads(value)["window_start"]
                    self.last_s = time.time()
                    self.seen.setdefault(where, self.last_s)

    def stop(self) -> Decisions:
        """Return what was seen."""
        self._over.set()
        self.join()
        return self.seen


def records(broker: KafkaBroker, topic: str) -> Iterator[tuple[bytes, int]]:
    """Yield the value and the time of append of every record; a partition keeps its order."""
    settings = {"group.id": "reader", "enable.partition.eof": True, "fetch.queue.backoff.ms": 5}
    with Consumer({"bootstrap.servers": broker.bootstrap, **settings}) as reader:
        reader.assign([TopicPartition(topic, p, 0) for p in range(PARTITIONS)])
        n_ended = 0
        while n_ended < PARTITIONS:
            for message in reader.consume(BATCH, 0.1):
                if message.error() is not None:
                    n_ended += 1
                else:
                    yield message.value() or b"", message.timestamp()[1]


def crossings(broker: KafkaBroker, topic: str) -> Decisions:
    """Return when the broker appended the event with which a bot crossed the limit of a window."""
    rows = [
        (int(found[1]), found[2].decode(), stamp_ms)
        for value, stamp_ms in records(broker, topic)
        if (found := RECORD.search(value))
    ]
    frame = pl.DataFrame(rows, schema=["time", "ip", "stamp_ms"], orient="row")
    crossed = (
        frame.with_columns(window=pl.col("time") // WINDOW_S * WINDOW_S)
        .sort("stamp_ms", maintain_order=True)
        .with_columns(nth=pl.int_range(pl.len()).over("window", "ip"))
        .filter(pl.col("nth") == LIMIT)
    )
    columns = (crossed[name].to_list() for name in ("ip", "window", "stamp_ms"))
    return {(ip, window): stamp_ms / 1000 for ip, window, stamp_ms in zip(*columns, strict=True)}


def measured(broker: KafkaBroker, rate: int, duration_s: int) -> dict[str, Any]:
    """Run an engine under load; return its latencies in ms and what it had to do."""
    topic = broker.create_topic(
        f"rate-{rate}", PARTITIONS, **{"message.timestamp.type": "LogAppendTime"}
    )
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder) / "valkey") as valkey:
        watcher = Watcher(valkey)
        watcher.start()
        summary = Path(folder) / "summary.json"
        engine = started_engine(broker, topic, valkey, summary)
        wait_until(
            lambda: has_committed(broker, topic),
            deadline_s=DEADLINE_S,
            what="an engine that reads",
        )
        produce(broker, topic, rate, duration_s)
        wait_until(
            lambda: time.time() - watcher.last_s > SETTLE_S,
            deadline_s=DEADLINE_S,
            what="the last decision",
        )
        engine.terminate()
        engine.wait()
        seen = watcher.stop()
        found = json.loads(summary.read_text(encoding="utf-8"))
    crossed = crossings(broker, topic)
    waited_ms = [1000 * (seen[where] - at) for where, at in crossed.items() if where in seen]
    figures = {name: float(np.quantile(waited_ms, share)) for name, share in SHARES.items()}
    figures |= {
        "max": max(waited_ms),
        "n": len(waited_ms),
        "missing": len(crossed) - len(waited_ms),
    }
    return {**figures, "events": found["events"], "cpu_s": found["cpu_s"], "rate": rate}


def has_committed(broker: KafkaBroker, topic: str) -> bool:
    """Say whether the engine has its partitions: it commits where it begins."""
    try:
        return bool(broker.committed(GROUP, topic))
    except KafkaException:  # no group has been coordinated yet
        return False


def started_engine(
    broker: KafkaBroker, topic: str, valkey: ValkeyServer, summary: Path
) -> subprocess.Popen[bytes]:
    """Start an engine with all statistics on."""
    words = [
        f"source.bootstrap_servers={broker.bootstrap}",
        f"source.topic={topic}",
        f"source.group_id={GROUP}",
        "source.start=earliest",
        "batch.interval_s=1",
        "rules=seed",
        "view=none",
        f"sink.url={valkey.url}",
        f"summary.json={summary}",
    ]
    argv = [sys.executable, "-m", "engine", *words]
    return subprocess.Popen(argv, cwd=ROOT, env=ENVIRONMENT)


def produce(broker: KafkaBroker, topic: str, rate: int, duration_s: int) -> None:
    """Produce so many events a second in real time."""
    bots = BOTS if rate // 2 > BOTS * BOT_RATE else rate // 2 // BOT_RATE
    options = {
        "-u": max(USERS, rate),
        "-n": rate - bots * BOT_RATE,
        "-b": bots,
        "--bot-freq": BOT_RATE,
        "--seed": SEED,
        "-d": duration_s,
        "--to-kafka": f"{broker.bootstrap}/{topic}",
    }
    words = [str(word) for pair in options.items() for word in pair]
    script = str(ROOT / "tools" / "botgen.py")
    subprocess.run([sys.executable, script, "--realtime", *words], check=True)


def measure(*, duration_s: int, **_: int) -> Found:
    """Measure every rate, the lowest first, until the engine no longer keeps up."""
    found: Found = {}
    for rate in RATES:
        with started_broker() as broker:
            run = measured(broker, rate, duration_s)
        found[f"{rate:,}"] = [run]
        print(f"{rate:,}/s: {run}", file=sys.stderr, flush=True)
        if run["p50"] > 1000 * WINDOW_S:
            break
    return found


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    rows = []
    for case, (run,) in found.items():
        figures = (f"{run[name]:,.0f}" for name in (*SHARES, "max"))
        rows.append((case, f"{run['n']:,}", run["missing"], *figures))
    head = f"events/s | decisions | missing | {' | '.join(SHARES)} | max"
    return (
        "Milliseconds from the append of the crossing event to the readable `bot_` key; all "
        "statistics on, window closings included, `rules=seed`, bots at 2 events a second, the "
        "generator and the broker on the same two cores.\n\n"
        f"{table(head, rows)}\n"
    )
