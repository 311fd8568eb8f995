"""From the start of the process to the first decision in Redis, with a warm kernel cache."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rig import (
    ENVIRONMENT,
    ROOT,
    Found,
    Summary,
    Traffic,
    backlog,
    interleaved,
    load,
    started_broker,
)
from tests.services.process import wait_until
from tests.services.valkey import ValkeyServer

TITLE = "Start"
CASE = "start of the process to the first `bot_` key"
N_EVENTS = 1_000_000


def first_decision(bootstrap: str, topic: str) -> Summary:
    """Start an engine over a backlog and look until a decision is there."""
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder)) as valkey:
        words = [*backlog(bootstrap, topic), "rules=seed", "view=none"]
        words += [f"sink.url={valkey.url}", "sink.statistics=none"]
        with valkey.client() as client:
            begun_s = time.monotonic()
            argv = [sys.executable, "-m", "engine", *words]
            engine = subprocess.Popen(argv, cwd=ROOT, env=ENVIRONMENT)
            wait_until(client.dbsize, deadline_s=120, what="a decision")
            seconds = time.monotonic() - begun_s
        engine.terminate()
        engine.wait()
    return {"seconds": seconds}


def measure(*, n_runs: int, **_: int) -> Found:
    """Start n_runs times."""
    with started_broker() as broker:
        topic = load(broker, "bench", Traffic(N_EVENTS))
        cases = {CASE: lambda: first_decision(broker.bootstrap, topic)}
        return interleaved(cases, n_runs=n_runs, key="seconds")


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    seconds = [run["seconds"] for run in found[CASE]]
    return (
        f"{CASE.capitalize()}: {statistics.median(seconds):.2f} s (median of {len(seconds)}, "
        f"{min(seconds):.2f} to {max(seconds):.2f}); looked at every 20 ms.\n"
    )
