"""`make bench`: measure on this machine, keep the figures, and write benchmarks/RESULTS.md.

Each section's figures are kept in results.json with the machine and the time, so that one section
can be measured anew: make bench ARGS="--only pipeline --runs 5".
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import (
    bench_check,
    bench_file,
    bench_growth,
    bench_latency,
    bench_peers,
    bench_pipeline,
    bench_recorded,
    bench_rejects,
    bench_rekey,
    bench_scaling,
    bench_start,
    bench_sweep,
    bench_windows,
    bench_write,
    plan,
    plots,
)
from benchmarks.machine import describe

FOLDER = Path(__file__).parent
KEPT, RESULTS, NOTES = (FOLDER / name for name in ("results.json", "RESULTS.md", "NOTES.md"))
SECTIONS: dict[str, ModuleType] = {
    "pipeline": bench_pipeline,
    "write": bench_write,
    "latency": bench_latency,
    "start": bench_start,
    "file": bench_file,
    "rejects": bench_rejects,
    "growth": bench_growth,
    "windows": bench_windows,
    "scaling": bench_scaling,
    "rekey": bench_rekey,
    "recorded": bench_recorded,
    "sweep": bench_sweep,
    "check": bench_check,
    "peers": bench_peers,
}
APART = {"peers"}  # needs what only `make bench-peers` sets up
HEAD = """# Results

Written by `make bench` from `results.json`. Compare ratios within one table, not figures of two
machines or of two hours: the cases of a table were run in turn.
"""

Kept = dict[str, dict[str, Any]]


def main() -> None:
    """Measure the chosen sections and write the report of all that is known."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    usual = [name for name in SECTIONS if name not in APART]
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=usual)
    parser.add_argument("--events", type=int, default=30_000_000, help="of the pipeline (30 M)")
    parser.add_argument("--runs", type=int, default=5, help="interleaved runs of each case (5)")
    parser.add_argument("--seconds", type=int, default=60, help="of load at each rate (60)")
    options = parser.parse_args()
    kept: Kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    for name in options.only:
        kept[name] = measured(name, options)
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        RESULTS.write_text(report(kept), encoding="utf-8")
        plots.draw(kept)
        plan.write(kept)
    print(RESULTS.read_text(encoding="utf-8"))


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one section; growth and files need fewer events than the pipeline."""
    print(f"== {name}", file=sys.stderr)
    few = min(options.events, 10_000_000)
    n_events = options.events if name == "pipeline" else few
    figures = {"n_events": n_events, "n_runs": options.runs, "duration_s": options.seconds}
    found = SECTIONS[name].measure(**figures)
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"when": when, "machine": describe(), "found": found}


def report(kept: Kept) -> str:
    """Return RESULTS.md."""
    parts = [HEAD]
    for name, section in SECTIONS.items():
        if name in kept:
            text = section.report(kept[name]["found"])
            if name in plots.PLOTS:
                text += f"\n![{section.TITLE}]({name}.png)\n"
            parts.append(f"## {section.TITLE}\n\n{text}\n{kept[name]['when']}. ")
            parts[-1] += kept[name]["machine"].replace("\n", " ") + "\n"
    if NOTES.exists():
        parts.append(NOTES.read_text(encoding="utf-8"))
    return "\n".join(parts)


if __name__ == "__main__":
    main()
