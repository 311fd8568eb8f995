"""One, two and four engines over a topic that is keyed by address, on the cores of one machine.

All join before there is a record, stand still while the topic is filled, and then read it at once:
so what is measured is reading, not the group's coming together.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.rig import (
    ENVIRONMENT,
    ROOT,
    START_S,
    Found,
    Summary,
    Traffic,
    botgen,
    engine_table,
    interleaved,
    started_broker,
)
from tests.end_to_end.logs import ends_of
from tests.services.kafka import KafkaBroker
from tests.services.process import wait_until
from tests.services.valkey import ValkeyServer

TITLE = "Several engines"
COUNTS = (1, 2, 4)
PARTITIONS = 4
DEADLINE_S = 300.0
PATIENT = ("source.kafka.session.timeout.ms=600000", "source.kafka.max.poll.interval.ms=600000")
READING = "reading '"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Engine(NamedTuple):
    """A running engine, where it says what it does, and where it will write its summary."""

    process: subprocess.Popen[bytes]
    said: Path
    summary: Path

    def is_reading(self) -> bool:
        """Whether the group has given it its partitions."""
        return READING in self.said.read_text(encoding="utf-8")

    def cpu_s(self) -> float:
        """Return the CPU that it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@contextmanager
def started(folder: Path, name: str, words: list[str]) -> Iterator[Engine]:
    """Yield an engine that ends with the block."""
    engine_folder = folder / name
    engine_folder.mkdir()
    said, summary = engine_folder / "said", engine_folder / "summary.json"
    own = [f"source.instance_id={name}", f"summary.json={summary}"]
    argv = [sys.executable, "-m", "engine", "source.keyed=true", *own, *words]
    with said.open("wb") as file:
        process = subprocess.Popen(argv, cwd=ROOT, env=ENVIRONMENT, stderr=file)
    try:
        yield Engine(process, said, summary)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(DEADLINE_S)


def words_for(broker: KafkaBroker, topic: str, valkey: ValkeyServer) -> list[str]:
    """Return what every engine is told."""
    source = [f"source.bootstrap_servers={broker.bootstrap}", f"source.topic={topic}"]
    group = [f"source.group_id={topic}", "source.start=earliest", *PATIENT]
    sink = [f"sink.url={valkey.url}", "sink.statistics=none", "ttl.clock=write"]
    return [*source, *group, *sink, "rules=seed", "view=plain", "batch.interval_s=0.2"]


def fill(broker: KafkaBroker, topic: str, traffic: Traffic) -> dict[int, int]:
    """Fill the topic, and close all windows; return what will be committed then."""
    botgen(traffic, "--to-kafka", f"{broker.bootstrap}/{topic}", "--keyed")
    last_s = START_S + 10_000_000
    event = {"unix_time": last_s, "category_id": 1, "ip": "192.0.2.1", "type": "view"}
    value = json.dumps(event).encode()
    stamp_ms = last_s * 1000
    broker.produce(topic, [(p, value, stamp_ms, None) for p in broker.partitions(topic)])
    return {p: end - 1 for p, end in ends_of(broker, topic).items()}


def shared(broker: KafkaBroker, n_engines: int, n_events: int) -> Summary:
    """Let so many engines read a topic; return what they took together."""
    topic = broker.create_topic(f"scaling-{n_engines}-{time.monotonic_ns()}", PARTITIONS)
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        valkey = stack.enter_context(ValkeyServer(folder / "valkey"))
        words = words_for(broker, topic, valkey)
        engines = [
            stack.enter_context(started(folder, f"engine-{i}", words)) for i in range(n_engines)
        ]
        wait_until(
            lambda: all(engine.is_reading() for engine in engines),
            deadline_s=DEADLINE_S,
            what="engines that read",
        )
        for engine in engines:
            engine.process.send_signal(signal.SIGSTOP)
        wanted = fill(broker, topic, Traffic(n_events, partitions=PARTITIONS))
        before_s, begun_s = sum(engine.cpu_s() for engine in engines), time.monotonic()
        for engine in engines:
            engine.process.send_signal(signal.SIGCONT)
        wait_until(
            lambda: {p: at for p, (at, _) in broker.committed(topic, topic).items()} == wanted,
            deadline_s=DEADLINE_S,
            what="commits at the end",
        )
        seconds = time.monotonic() - begun_s
        cpu_s = sum(engine.cpu_s() for engine in engines) - before_s
        stack.close()
        summaries = [json.loads(engine.summary.read_text()) for engine in engines]
    return {
        "events": n_events,
        "events_per_s": n_events / seconds,
        "cpu_s": cpu_s,
        "peak_rss_mb": max(one["peak_rss_mb"] for one in summaries),
        "verdicts": sum(one["verdicts"] for one in summaries),
        "flagged": sum(one["flagged"] for one in summaries),
    }


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Let one, two and four engines read as much, in turn."""
    with started_broker() as broker:
        cases = {
            f"{n} {'engine' if n == 1 else 'engines'}": partial(shared, broker, n, n_events)
            for n in COUNTS
        }
        return interleaved(cases, n_runs=n_runs)


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    runs = [run for some in found.values() for run in some]
    answers = {(run["verdicts"], run["flagged"]) for run in runs}
    return (
        f"{runs[0]['events']:,} events as a backlog in {PARTITIONS} partitions keyed by address, "
        "decisions only, broker and Valkey on the same cores. Verdicts and flagged pairs of all "
        f"engines together, in every run: {sorted(answers)}. CPU is of all engines, without their "
        "start; memory that of the largest.\n\n"
        f"{engine_table(found, base=next(iter(found)))}\n"
    )
