"""What every benchmark of the engine needs: a loaded topic, a run into a fresh Valkey, medians.

Rates are those of the engine's own summary, from the first fetch to the last acknowledged reply.
Runs of the cases that are compared are interleaved, so that a slow minute hits all of them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.services.kafka import KafkaBroker
from tests.services.valkey import ValkeyServer

BROKER_JVM = ("-Xms1g", "-Xmx1g", "-XX:+UseG1GC")
EVENTS_PER_S, USERS, BOTS, PARTITIONS, SEED = 20_000, 200_000, 2_000, 4, 7
START_S = 1_700_000_000
ROOT = Path(__file__).resolve().parents[1]

# Python keeps its compiled modules, as it does for a user whose environment does not forbid it.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

Summary = dict[str, Any]
Found = dict[str, list[Summary]]


class Traffic(NamedTuple):
    """What botgen is asked for: a tenth of the events are by bots, an event a second each."""

    n_events: int
    users: int = USERS
    partitions: int = PARTITIONS

    def options(self) -> list[str]:
        """Return botgen's options."""
        seconds = max(self.n_events // EVENTS_PER_S, 1)
        options = {
            "-u": self.users,
            "-n": EVENTS_PER_S - BOTS,
            "-b": BOTS,
            "--bot-freq": 1,
            "--seed": SEED,
            "--start": START_S,
            "-d": seconds,
        }
        return [str(word) for pair in options.items() for word in pair]


def botgen(traffic: Traffic, *target: str) -> None:
    """Write the traffic to a target."""
    script = str(ROOT / "tools" / "botgen.py")
    subprocess.run([sys.executable, script, *traffic.options(), *target], check=True)


@contextmanager
def started_broker() -> Iterator[KafkaBroker]:
    """Yield a broker with a heap that is large enough for load."""
    with (
        tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder,
        KafkaBroker(Path(folder) / "kafka", jvm_options=BROKER_JVM) as broker,
    ):
        yield broker


def load(broker: KafkaBroker, name: str, traffic: Traffic) -> str:
    """Fill a new topic; return its name."""
    topic = broker.create_topic(name, traffic.partitions)
    botgen(traffic, "--to-kafka", f"{broker.bootstrap}/{topic}")
    return topic


def run_engine(*overrides: str) -> Summary:
    """Run the engine into a fresh Valkey; return its summary."""
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder:
        summary = Path(folder) / "summary.json"
        with ValkeyServer(Path(folder) / "valkey") as valkey:
            words = [f"sink.url={valkey.url}", "view=none", f"summary.json={summary}", *overrides]
            argv = [sys.executable, "-m", "engine", *words]
            subprocess.run(argv, check=True, cwd=ROOT, env=ENVIRONMENT)
        found: Summary = json.loads(summary.read_text(encoding="utf-8"))
        return found


def run_topic(bootstrap: str, topic: str, *overrides: str) -> Summary:
    """Run the engine over a whole topic as a backlog."""
    return run_engine(*backlog(bootstrap, topic), "source.stop_at_end=true", *overrides)


def backlog(bootstrap: str, topic: str) -> list[str]:
    """Return the overrides with which an engine reads a topic from its beginning."""
    return [
        f"source.bootstrap_servers={bootstrap}",
        f"source.topic={topic}",
        "source.start=earliest",
        "source.ignore_commits=true",
        "ttl.clock=write",
    ]


def interleaved(
    cases: Mapping[str, Callable[[], Summary]], *, n_runs: int, key: str = "events_per_s"
) -> Found:
    """Run every case n_runs times, in turn; tell one figure of each run."""
    found: Found = {case: [] for case in cases}
    for i in range(n_runs):
        for case, run in cases.items():
            summary = run()
            found[case].append(summary)
            told = f"run {i + 1} of {n_runs}, {case}: {key} {summary[key]:,.2f}"
            print(told, file=sys.stderr, flush=True)
    return found


def median(runs: list[Summary], key: str = "events_per_s") -> float:
    """Return the median of one figure."""
    return float(statistics.median(run[key] for run in runs))


def cpu_s_per_million(runs: list[Summary]) -> float:
    """Return the median CPU time of the engine for a million events, its start included."""
    return float(statistics.median(run["cpu_s"] / run["events"] * 1e6 for run in runs))


def table(head: str, rows: list[tuple[object, ...]]) -> str:
    """Return a Markdown table."""
    columns = head.split(" | ")
    lines = [head, " | ".join("---" for _ in columns)]
    lines += [" | ".join(map(str, row)) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def engine_table(found: Found, *, base: str | None = None) -> str:
    """Return rate, spread, CPU and memory of every case, as ratios to `base` where it is named."""
    rows = []
    for case, runs in found.items():
        rates = [run["events_per_s"] for run in runs]
        ratio = (f"{median(runs) / median(found[base]):.2f}",) if base else ()
        rows.append(
            (
                case,
                f"{median(runs):,.0f}",
                f"{min(rates):,.0f} - {max(rates):,.0f}",
                *ratio,
                f"{cpu_s_per_million(runs):.2f}",
                f"{max(run['peak_rss_mb'] for run in runs):.0f}",
            )
        )
    against = f" | ratio to {base}" if base else ""
    head = f"case | events/s, median | lowest - highest{against} | CPU s a million | peak RSS, MB"
    return table(head, rows)
