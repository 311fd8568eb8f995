"""The whole pipeline over a backlog: real Kafka in, real Valkey out, on one machine.

Rates are those of the engine's own summary: from the first fetch to the last acknowledged reply.
Runs of the cases are interleaved, so that a slow minute of the machine hits all of them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services.kafka import KafkaBroker
from tests.services.valkey import ValkeyServer

BROKER_JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC")
EVENTS_PER_S, USERS, BOTS = 20_000, 200_000, 2_000
PARTITIONS = 4
CASES = {"decisions only": "none", "all statistics": "all"}
TOOLS = Path(__file__).resolve().parents[1] / "tools"
ROW = (
    "| {case} | {events_per_s:,.0f} | {low:,.0f} - {high:,.0f} | {cpu:.2f} "
    "| {rss:.0f} MB | {keys:,} |"
)
HEAD = (
    "| case | events/s (median) | lowest - highest | CPU s per million "
    "| peak RSS | keys written |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


@contextmanager
def loaded_topic(n_events: int) -> Iterator[tuple[str, str]]:
    """Yield (bootstrap servers, topic) of a broker that holds the traffic, a tenth by bots."""
    with (
        tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder,
        KafkaBroker(Path(folder) / "kafka", jvm_options=BROKER_JVM) as broker,
    ):
        topic = broker.create_topic("bench", PARTITIONS)
        users_per_s = EVENTS_PER_S - BOTS
        options = {"-u": USERS, "-n": users_per_s, "-b": BOTS, "--bot-freq": 1, "--seed": 7}
        options |= {"-d": n_events // EVENTS_PER_S, "--to-kafka": f"{broker.bootstrap}/{topic}"}
        words = [str(word) for pair in options.items() for word in pair]
        subprocess.run([sys.executable, str(TOOLS / "botgen.py"), *words], check=True)
        yield broker.bootstrap, topic


def run_once(bootstrap: str, topic: str, *overrides: str) -> dict[str, Any]:
    """Run the engine over the whole topic into a fresh Valkey; return its summary."""
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder:
        summary = Path(folder) / "summary.json"
        with ValkeyServer(Path(folder) / "valkey") as valkey:
            arguments = [
                f"source.bootstrap_servers={bootstrap}",
                f"source.topic={topic}",
                "source.start=earliest",
                "source.ignore_commits=true",
                "source.stop_at_end=true",
                f"sink.url={valkey.url}",
                "ttl.clock=write",
                "rules=seed",
                "view=none",
                f"summary.json={summary}",
                *overrides,
            ]
            subprocess.run([sys.executable, "-m", "engine", *arguments], check=True)
        found: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
        return found


def row(case: str, runs: list[dict[str, Any]]) -> str:
    """Return the table row of one case."""
    rates = [run["events_per_s"] for run in runs]
    return ROW.format(
        case=case,
        events_per_s=statistics.median(rates),
        low=min(rates),
        high=max(rates),
        cpu=statistics.median(run["cpu_s"] / run["events"] * 1e6 for run in runs),
        rss=max(run["peak_rss_mb"] for run in runs),
        keys=runs[0]["keys_written"],
    )


def stage_line(case: str, runs: list[dict[str, Any]]) -> str:
    """Return where the time of the last run went."""
    spent = runs[-1]["stage_s"]
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in spent.items())
    return f"- {case}: {stages} (of {runs[-1]['seconds']:.1f} s; three threads)"


def measure(*, n_events: int, n_runs: int) -> str:
    """Run every case n_runs times, interleaved; return the section for RESULTS.md."""
    found: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
    with loaded_topic(n_events) as (bootstrap, topic):
        for _ in range(n_runs):
            for case, kept in CASES.items():
                summary = run_once(bootstrap, topic, f"sink.statistics={kept}")
                found[case].append(summary)
                print(row(case, [summary]), file=sys.stderr)
    flagged = {
        (run["events"], run["verdicts"], run["flagged"]) for runs in found.values() for run in runs
    }
    rows = "\n".join(row(case, runs) for case, runs in found.items())
    stages = "\n".join(stage_line(case, runs) for case, runs in found.items())
    return (
        f"{n_events:,} events as a backlog, {EVENTS_PER_S:,} a second of event time, "
        f"{USERS:,} users and {BOTS:,} bots, {PARTITIONS} partitions, broker and Valkey on the "
        f"same machine, `rules=seed`, {n_runs} interleaved runs a case.\n"
        f"Events, verdicts and flagged of every run: {sorted(flagged)}.\n\n"
        f"{HEAD}\n{rows}\n\nSeconds by stage, last run:\n\n{stages}\n"
    )
