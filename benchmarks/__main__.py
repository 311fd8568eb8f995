"""`make bench`: measure on this machine and write benchmarks/RESULTS.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import bench_pipeline
from benchmarks.machine import describe

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Results

Written by `make bench`; compare ratios within one table, not figures of two machines.
"""


def main() -> None:
    """Run the benchmarks and write their report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    section = bench_pipeline.measure(n_events=options.events, n_runs=options.runs)
    report = f"{HEAD}\n{describe()}\n\n## The whole pipeline\n\n{section}"
    RESULTS.write_text(report, encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
