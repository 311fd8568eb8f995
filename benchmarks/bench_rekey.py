"""task=rekey: a topic copied to one that is keyed by address, in transactions."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.rig import (
    ENVIRONMENT,
    ROOT,
    Found,
    Summary,
    Traffic,
    backlog,
    engine_table,
    interleaved,
    load,
    started_broker,
)
from tests.services.kafka import KafkaBroker

TITLE = "Re-keying"
CASE, PARTITIONS, LEAST = "task=rekey", 4, 500_000


def rekeyed(broker: KafkaBroker, topic: str) -> Summary:
    """Copy a topic to a new one."""
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder:
        summary = Path(folder) / "summary.json"
        target = broker.create_topic(f"keyed-{Path(folder).name}", PARTITIONS)
        words = [*backlog(broker.bootstrap, topic), "source.stop_at_end=true", "task=rekey"]
        words += [f"source.group_id={target}", f"rekey.topic={target}", f"summary.json={summary}"]
        argv = [sys.executable, "-m", "engine", *words, "view=none"]
        subprocess.run(argv, check=True, cwd=ROOT, env=ENVIRONMENT)
        found: Summary = json.loads(summary.read_text(encoding="utf-8"))
        return found


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Copy the same topic again and again."""
    with started_broker() as broker:
        topic = load(broker, "bench-rekey", Traffic(n_events))
        return interleaved({CASE: partial(rekeyed, broker, topic)}, n_runs=n_runs)


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    return (
        f"{found[CASE][0]['events']:,} events of {PARTITIONS} partitions into as many, a "
        f"transaction each half second, the broker on the same cores (at least {LEAST:,} events/s)."
        f"\n\n{engine_table(found)}\n"
    )
