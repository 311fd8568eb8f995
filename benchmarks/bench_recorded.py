"""task=evaluate over a hundred million recorded events, start to end of the process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks.rig import (
    ENVIRONMENT,
    ROOT,
    Found,
    Summary,
    Traffic,
    botgen,
    engine_table,
    interleaved,
    run_engine,
)
from engine.parquet_source import EVENTS

TITLE = "Recorded events"
N_COPIES, MOST_S = 20, 25
RULES = ("fast", "default")


def record(log: Path, folder: Path) -> None:
    """Record a log, and then the same again and again, by a process of its own.

    What this process has ever held would count as memory of those that it starts later.
    """
    words = ("source=file", f"source.path={log}", "sink=memory", f"record.path={folder}")
    run_engine(*words, "rules=fast")
    argv = [sys.executable, "-m", "benchmarks.bench_recorded", str(folder)]
    subprocess.run(argv, check=True, cwd=ROOT, env=ENVIRONMENT)


def copy(folder: Path) -> None:
    """Write copies of what is recorded, each later than the one before."""
    events = pl.concat(map(pl.read_parquet, sorted(folder.glob(f"*{EVENTS}"))))
    times_s = events["time"].to_numpy()
    length_s = int(times_s.max() - times_s.min()) + 1
    for n in range(1, N_COPIES):
        later_s = n * length_s
        events.with_columns(
            time=pl.col("time") + later_s,
            timestamp_ms=pl.col("timestamp_ms") + later_s * 1000,
            offset=pl.col("offset") + n * len(events),
        ).write_parquet(folder / f"copy-{n:03}{EVENTS}", compression="lz4")


def evaluated(folder: Path, labels: Path, rules: str, n_events: int) -> Summary:
    """Evaluate the folder, from the start of the process to its end."""
    words = ["task=evaluate", "source=file", f"source.path={folder}", f"labels={labels}"]
    argv = [sys.executable, "-m", "engine", *words, f"rules={rules}", "view=none"]
    begun_s = time.monotonic()
    process = subprocess.Popen(argv, cwd=ROOT, env=ENVIRONMENT)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun_s
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), argv)
    return {
        "events": n_events,
        "seconds": seconds,
        "events_per_s": n_events / seconds,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_rss_mb": used.ru_maxrss / 1024,
    }


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Evaluate the same folder in turn."""
    n_events //= 2
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as name:
        log, labels, folder = (Path(name) / part for part in ("log", "labels.csv", "recorded"))
        traffic = Traffic(n_events)
        botgen(traffic, "--format", "ndjson", "-f", str(log), "--labels", str(labels))
        record(log, folder)
        cases = {
            f"rules={rules}": partial(evaluated, folder, labels, rules, N_COPIES * n_events)
            for rules in RULES
        }
        return interleaved(cases, n_runs=n_runs, key="seconds")


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    seconds = {case: sorted(run["seconds"] for run in runs) for case, runs in found.items()}
    told = "; ".join(f"{case}: {by[len(by) // 2]:.1f} s" for case, by in seconds.items())
    return (
        f"{next(iter(found.values()))[0]['events']:,} events in Parquet, `task=evaluate` from the "
        f"start of the process to its end (at most {MOST_S} s): {told}. The default set "
        "has three kinds of window, of which two hop.\n\n"
        f"{engine_table(found)}\n"
    )


if __name__ == "__main__":
    copy(Path(sys.argv[1]))
