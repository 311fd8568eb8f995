"""A file of JSON lines into memory, beside Polars' own streaming group-by over the same file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.rig import Found, Summary, Traffic, botgen, engine_table, interleaved, run_engine

TITLE = "From a file"
OURS, THEIRS = "engine, sink=memory", "Polars, streaming group-by"
GROUP_BY = """
import sys, time
import polars as pl
begun_s = time.monotonic()
schema = {"unix_time": pl.Int64, "category_id": pl.Int64, "ip": pl.String, "type": pl.String}
counts = (
    pl.scan_ndjson(sys.argv[1], schema=schema)
    .with_columns(window=pl.col("unix_time") // 10)
    .group_by("window", "ip")
    .agg(
        events=pl.len(),
        clicks=(pl.col("type") == "click").sum(),
        categories=pl.col("category_id").n_unique(),
    )
    .collect(engine="streaming")
)
print(len(counts), time.monotonic() - begun_s)
"""


def grouped(path: Path, n_events: int) -> Summary:
    """Let Polars count the same; no watermark, no rules."""
    argv = [sys.executable, "-c", GROUP_BY, str(path)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    verdicts, seconds = done.stdout.split()
    rate = n_events / float(seconds)
    figures = {"verdicts": int(verdicts), "cpu_s": 0, "peak_rss_mb": 0}
    return {"events": n_events, "events_per_s": rate, **figures}


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Count the same file in turn."""
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder:
        path = Path(folder) / "events.ndjson"
        botgen(Traffic(n_events), "--format", "ndjson", "-f", str(path))
        words = ("source=file", f"source.path={path}", "sink=memory", "rules=seed")
        cases = {OURS: partial(run_engine, *words), THEIRS: partial(grouped, path, n_events)}
        return interleaved(cases, n_runs=n_runs)


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    n = {run["verdicts"] for runs in found.values() for run in runs}
    return (
        f"{found[OURS][0]['events']:,} events; rows of (window, address) in every run: "
        f"{sorted(n)}. Start-up is left out.\n\n{engine_table(found, base=THEIRS)}\n"
    )
