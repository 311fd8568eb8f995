"""The same job by other engines: a backlog from Kafka, statistics and decisions into Redis.

Each run is a process of its own (`python -m benchmarks.peers`) into a fresh Valkey, from its start
to the last reply. What is then in Valkey, and what the peer says it wrote, is compared with a naive
group-by over the same traffic.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks.peers import recorded
from benchmarks.peers.check import wrong_writes
from benchmarks.peers.truth import Truth, differences, right_rows
from benchmarks.rig import (
    ROOT,
    Found,
    Summary,
    Traffic,
    botgen,
    cpu_s_per_million,
    interleaved,
    load,
    median,
    started_broker,
    table,
)
from tests.services.kafka import KafkaBroker
from tests.services.monitor import MonitorRecorder
from tests.services.valkey import ValkeyServer

TITLE = "Beside other engines"
OURS = "engine"
CHECKED_EVENTS = 600_000
NAMES = {
    OURS: "Botsieve",
    "flink": "Flink SQL 2.2.1, one-phase",
    "loop": "Python loop: confluent-kafka, orjson, redis-py",
    "spark": "PySpark 4.2.0 Structured Streaming",
}
# A strict watermark engine does not write the windows that are open at the end of the topic.
WINDOWS = {OURS: "all", "flink": "all", "loop": "all", "spark": "closed"}
HOW = (
    "Tumbling windows of 10 s by event time, 10 s of lateness, `rules=seed`; `stat_` for each "
    "address and window, `bot_` for the flagged, SET with 600 s. Seconds count from the start of "
    "the process to the last reply of Redis, so a JVM's start is in them; CPU and memory are those "
    "of the whole process tree (memory is the greatest sum of the processes' RSS, mostly the heap "
    "that was allowed: 4 GB for Flink, 6 GB for Spark). Broker and Valkey share the two cores and "
    "are not counted. Rows are right where the number of rows, of flagged pairs and of events in "
    "them, and every key that is then in Valkey, are those of a Polars group-by over the same "
    f"events, and each single write was right in a first run over {CHECKED_EVENTS:,} events. Spark "
    "leaves the windows open that end after the watermark, so with it only the closed ones are "
    "compared; and its rows are brought together by address and sorted before they are written, "
    "without which older windows overwrite newer ones. Of statistics that wait, Botsieve writes "
    "only the newest of an address; the others write each."
)


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Check every peer over few events, then run each n_runs times over all, interleaved."""
    traffic = Traffic(n_events)
    right = {scope: Truth.of(rows) for scope, rows in rows_of(traffic).items()}
    with started_broker() as broker:
        wrong = checked(broker)
        topic = load(broker, "peers", traffic)
        at = (broker.bootstrap, topic)
        cases = {peer: partial(timed, peer, *at, right[scope]) for peer, scope in WINDOWS.items()}
        found = interleaved(cases, n_runs=n_runs)
    for peer, runs in found.items():
        for run in runs:
            run["wrong"] += wrong[peer]
    return found


def rows_of(traffic: Traffic) -> dict[str, pl.DataFrame]:
    """Return what is to be found, from a file of the same events."""
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder:
        path = Path(folder) / "events.ndjson"
        botgen(traffic, "--format", "ndjson", "-f", str(path))
        return right_rows(path)


@contextmanager
def fresh_valkey() -> Iterator[ValkeyServer]:
    """Yield an empty server."""
    with (
        tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder,
        ValkeyServer(Path(folder) / "valkey") as valkey,
    ):
        yield valkey


def checked(broker: KafkaBroker) -> dict[str, list[str]]:
    """Return what was wrong with any single write of each peer, over few events."""
    traffic = Traffic(CHECKED_EVENTS)
    topic, right = load(broker, "checked", traffic), rows_of(traffic)
    wrong = {}
    for peer, scope in WINDOWS.items():
        with fresh_valkey() as valkey:
            with MonitorRecorder(valkey.url) as recorder:
                run_peer(peer, broker.bootstrap, topic, valkey)
            newest_only = peer == OURS
            wrong[peer] = wrong_writes(recorder.commands, right[scope], newest_only=newest_only)
        print(f"checked {peer}: {wrong[peer] or 'right'}", file=sys.stderr, flush=True)
    return wrong


def timed(peer: str, bootstrap: str, topic: str, right: Truth) -> Summary:
    """Run one peer into a fresh Valkey; return its figures and what was wrong."""
    with fresh_valkey() as valkey:
        figures = run_peer(peer, bootstrap, topic, valkey)
        with valkey.client(decode_responses=True) as client:
            return figures | {"wrong": differences(right, figures, client)}


def run_peer(peer: str, bootstrap: str, topic: str, valkey: ValkeyServer) -> Summary:
    """Run one peer in a process of its own; return its figures."""
    words = ("--bootstrap", bootstrap, "--topic", topic, "--redis", valkey.url)
    argv = [sys.executable, "-m", "benchmarks.peers", peer, *words]
    done = subprocess.run(argv, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    figures: Summary = json.loads(done.stdout)
    return figures


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    n_events, n_runs = found[OURS][0]["events"], len(found[OURS])
    head = (
        "peer | events/s, median | lowest - highest | ratio to Botsieve | CPU s a million "
        "| peak RSS, MB | rows | flagged pairs | rows equal the truth"
    )
    rows = [row(peer, runs, median(found[OURS])) for peer, runs in found.items()]
    wrong = [
        f"{peer}: {why}" for peer, runs in found.items() for run in runs for why in run["wrong"]
    ]
    notes = "".join(f"- {line}\n" for line in sorted(set(wrong)))
    what = f"{n_events:,} events as a backlog, 4 partitions, {n_runs} interleaved runs a peer."
    return f"{what} {HOW}\n\n{table(head, rows)}\n\n{notes}{recorded.report()}"


def row(peer: str, runs: list[Summary], ours: float) -> tuple[object, ...]:
    """Return one line of the table."""
    rates = [run["events_per_s"] for run in runs]
    n_wrong = sum(1 for run in runs if run["wrong"])
    return (
        NAMES[peer],
        f"{median(runs):,.0f}",
        f"{min(rates):,.0f} - {max(rates):,.0f}",
        f"{median(runs) / ours:.2f}",
        f"{cpu_s_per_million(runs):.2f}",
        f"{max(run['peak_rss_mb'] for run in runs):,.0f}",
        f"{runs[-1]['rows']:,}",
        f"{runs[-1]['flagged']:,}",
        "yes" if n_wrong == 0 else f"no, in {n_wrong} of {len(runs)} runs",
    )
