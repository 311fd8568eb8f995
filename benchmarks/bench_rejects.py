"""What bad records cost: none, one in a hundred thousand, one in every micro-batch, one in ten."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks.rig import Found, Traffic, botgen, engine_table, interleaved, run_engine

TITLE = "Bad records"
CLEAN = "no bad line"
BAD = b'{"unix_time":17000000\n'
EVERY = {"one line in 100,000": 100_000, "one line in 1,000": 1_000, "one line in 10": 10}


def spoiled(path: Path, every: int) -> Path:
    """Return a copy of the file in which each so many-th line is cut short."""
    out = path.with_name(f"every-{every}.ndjson")
    with path.open("rb") as lines, out.open("wb") as copy:
        for i, line in enumerate(lines):
            copy.write(BAD if i % every == 0 else line)
    return out


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Read each file in turn."""
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder:
        path = Path(folder) / "events.ndjson"
        botgen(Traffic(n_events), "--format", "ndjson", "-f", str(path))
        paths = {CLEAN: path, **{case: spoiled(path, every) for case, every in EVERY.items()}}
        words = ("source=file", "sink=memory", "rules=seed")
        cases = {
            case: partial(run_engine, *words, f"source.path={one}") for case, one in paths.items()
        }
        return interleaved(cases, n_runs=n_runs)


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    rejected = {case: sum(runs[0]["rejected"].values()) for case, runs in found.items()}
    told = ", ".join(f"{case}: {n:,}" for case, n in rejected.items())
    return (
        "A file of JSON lines, `sink=memory`; a block of a hundred thousand lines is decoded at "
        f"once, so `one line in 100,000` is one in every micro-batch. Rejected: {told}.\n\n"
        f"{engine_table(found, base=CLEAN)}\n"
    )
