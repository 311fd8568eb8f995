"""`make faults`: run every row of the matrix some times, and write docs/faults.md.

A row's tests are those with its id in their name. What they record (lost, wrong, repeated, seconds
to recover) comes from the standard verdict, through the properties of a JUnit report.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import describe
from tests.faults.matrix import ROWS
from tests.services.kafka import ROOT

PAGE = ROOT / "docs" / "faults.md"
PYTEST = (sys.executable, "-m", "pytest", "-q")
RECOVERY = ("takeover_s", "recovery_s")
ROW_IDS = re.compile(r"test_((?:[a-z]\d+_)+)")
CASE_ID = re.compile(r"\[([a-z]\d+)_")
HEAD = """# What we broke, and what happened

Written by `make faults`, two tests at a time. Each row is a fault, done to the real engine
between a real Kafka and a real Valkey; a naive model judges what every key holds at the end, and
every command that was ever sent. *Lost*: results that are not there. *Wrong*: values, expiries or
commits that were not true, even for a moment. *Repeated*: writes that said again, byte for byte,
what had been said before. *Recovery*: seconds from the end of the fault until everything is
written and committed, the start of the engine included where it was killed; for an engine that
takes over (G1), until the group has given it all partitions; for a standby (G2), until it has
decided as well.

| row | fault | tried | failed | lost | wrong | repeated | recovery p95, s |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
SOAK = """Traffic flows at a steady rate while one nemesis after the other comes, in an order drawn
by a fixed seed. *Recovery* is here the time from the end of the fault until a new bot is a readable
key. The same verdict holds at the end as in the rows above."""


class Try(NamedTuple):
    """One run of one test."""

    rows: tuple[str, ...]
    passed: bool
    figures: dict[str, str]


def row_ids(name: str) -> tuple[str, ...]:
    """Return the rows that a test is of; a case that names its row is of that alone."""
    found = ROW_IDS.match(name)
    case = CASE_ID.search(name)
    if found is None:
        return ()
    return (case[1],) if case else tuple(found[1].rstrip("_").split("_"))


def tries_in(report: Path) -> Iterator[Try]:
    """Yield what a JUnit report says of the rows' tests."""
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by our own tests
        figures = {p.get("name", ""): p.get("value", "") for p in case.iter("property")}
        passed = not any(case.find(kind) is not None for kind in ("failure", "error"))
        yield Try(row_ids(case.get("name", "")), passed, figures)


def node_ids(only: Iterable[str]) -> list[str]:
    """Return every test of these rows, of all where none is named."""
    argv = [*PYTEST, "--collect-only", "tests"]
    listed = subprocess.run(argv, check=True, cwd=ROOT, capture_output=True, text=True).stdout
    wanted = set(only) or {row.id for row in ROWS}
    names = ((line, line.rpartition("::")[2]) for line in listed.splitlines())
    return [line for line, name in names if wanted & set(row_ids(name))]


def run(n_runs: int, only: Iterable[str]) -> list[Try]:
    """Run the tests of these rows so often; return every try."""
    found: list[Try] = []
    with tempfile.TemporaryDirectory() as folder:
        chosen, report = Path(folder) / "tests", Path(folder) / "report.xml"
        chosen.write_text("\n".join(node_ids(only)))
        for _ in range(n_runs):
            argv = [*PYTEST, "-n2", f"@{chosen}", f"--junitxml={report}"]
            subprocess.run(argv, check=False, cwd=ROOT)
            found += tries_in(report)
    return found


def lines_of(tries: Iterable[Try]) -> dict[str, str]:
    """Return the line of each row of the matrix, by its id."""
    by_row: dict[str, list[Try]] = defaultdict(list)
    for one in tries:
        for row in one.rows:
            by_row[row].append(one)
    return {row.id: line(row.id.upper(), row.fault, row.reason, by_row[row.id]) for row in ROWS}


def line(row: str, fault: str, reason: str, tries: list[Try]) -> str:
    """Return one row of the table; why it is empty, where it is."""
    if not tries:
        return f"| {row} | {fault} | {reason or 'in `make soak`'} | | | | | |"
    sums = [str(total(tries, name)) for name in ("lost", "wrong", "duplicated")]
    n_failed = sum(not one.passed for one in tries)
    seconds = [s for one in tries if (s := recovery_s(one)) is not None]
    cells = [row, fault, str(len(tries)), str(n_failed), *sums, p95(seconds)]
    return f"| {' | '.join(cells)} |"


def recovery_s(one: Try) -> float | None:
    """Return how long a try took to recover, where it tells."""
    found = [float(one.figures[name]) for name in RECOVERY if name in one.figures]
    return found[0] if found else None


def total(tries: list[Try], name: str) -> int | str:
    """Return the sum of a figure, or a dash where no test takes it."""
    figures = [int(one.figures[name]) for one in tries if name in one.figures]
    return sum(figures) if figures else "-"


def p95(seconds: list[float]) -> str:
    """Return the 95th percentile."""
    if len(seconds) < 2:
        return f"{seconds[0]:.1f}" if seconds else "-"
    return f"{statistics.quantiles(seconds, n=20, method='inclusive')[-1]:.1f}"


def soak_table(tries: Iterable[Try]) -> str:
    """Return a line for each nemesis of the soak."""
    lines = ["| nemesis | times | recovery p95, s | longest, s |", "| --- | --- | --- | --- |"]
    found: dict[str, list[float]] = defaultdict(list)
    for one in tries:
        for name, seconds in json.loads(one.figures.get("nemeses", "{}")).items():
            found[name] += seconds
    for name, seconds in found.items():
        cells = [name.replace("_", " "), str(len(seconds)), p95(seconds), f"{max(seconds):.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.report", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="how often each row is tried (3)")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=[row.id for row in ROWS], metavar="ROW",
        help="try these rows, and leave the others on the page as they are",
    )  # fmt: skip
    options = parser.parse_args()
    tries = run(options.runs, options.only)
    text = page_with(options.only, lines_of(tries)) if options.only else page_of(tries)
    PAGE.write_text(text, encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def page_of(tries: list[Try]) -> str:
    """Return the whole page."""
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    soak = f"## Everything at once\n\n{SOAK}\n\n{soak_table(tries)}"
    rows = "\n".join(lines_of(tries).values())
    return f"{HEAD}{rows}\n\n{soak}\n\n{when}. {describe()}\n"


def page_with(only: Iterable[str], lines: Mapping[str, str]) -> str:
    """Return the page as it is, with new lines for these rows."""
    border = HEAD.splitlines(keepends=True)[-1]
    text = HEAD + PAGE.read_text(encoding="utf-8").partition(border)[2]
    for row in only:
        start = f"| {row.upper()} |"
        text = re.sub(rf"^{re.escape(start)}.*$", lambda _, row=row: lines[row], text, flags=re.M)
    return text


if __name__ == "__main__":
    main()
