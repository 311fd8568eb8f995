"""The engine's speed as a ratio to a fixed loop of plain Python, so that machines do not matter.

`python -m benchmarks.bench_check` (`make bench-check`) measures the ratio anew and compares it with
the one kept in results.json; exit 1 where it fell by more than three tenths.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks.rig import Found, Summary, Traffic, botgen, interleaved, median, run_engine, table

TITLE = "The ratio that `make bench-check` watches"
ENGINE, REFERENCE = "engine, file to memory", "json.loads and a dictionary"
N_EVENTS, N_REFERENCE, N_RUNS = 2_000_000, 200_000, 5
LEAST = 0.7  # on a shared machine the ratio itself moves by a fifth
KEPT = Path(__file__).with_name("results.json")


def reference(path: Path) -> Summary:
    """Count events by window and address in plain Python."""
    begun_s, counts = time.perf_counter(), Counter[tuple[int, str]]()
    with path.open("rb") as lines:
        for line in islice(lines, N_REFERENCE):
            event = json.loads(line)
            counts[event["unix_time"] // 10, event["ip"]] += 1
    return {"events_per_s": counts.total() / (time.perf_counter() - begun_s)}


def measure(**_: int) -> Found:
    """Run both in turn over the same file."""
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder:
        path = Path(folder) / "events.ndjson"
        botgen(Traffic(N_EVENTS), "--format", "ndjson", "-f", str(path))
        words = ("source=file", f"source.path={path}", "sink=memory", "rules=seed")
        cases = {ENGINE: partial(run_engine, *words), REFERENCE: partial(reference, path)}
        return interleaved(cases, n_runs=N_RUNS)


def ratio(found: Found) -> float:
    """Return how many times as fast the engine is."""
    return median(found[ENGINE]) / median(found[REFERENCE])


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    rows = [(case, f"{median(runs):,.0f}") for case, runs in found.items()]
    text = table(f"case | events/s, median of {N_RUNS}", rows)
    return f"{text}\n\nThe engine is {ratio(found):.1f} times as fast as the loop.\n"


def main() -> int:
    """Compare the ratio now with the kept one."""
    kept = ratio(json.loads(KEPT.read_text(encoding="utf-8"))["check"]["found"])
    now = ratio(measure())
    print(f"{now:.1f} times the reference loop; {kept:.1f} is kept, {LEAST * kept:.1f} is allowed")
    return int(now < LEAST * kept)


if __name__ == "__main__":
    sys.exit(main())
