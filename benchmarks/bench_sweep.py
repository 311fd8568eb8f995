"""10,000 sets of thresholds over one range: what they take once its windows are counted."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.rig import ENVIRONMENT, ROOT, Found, Summary, Traffic, botgen, interleaved, table
from engine.allowlist import Allowlist
from engine.history.aggregates import Aggregates
from engine.history.combinations import combinations_of
from engine.history.evaluation import evidence_of
from engine.history.span import Span
from engine.history.sweep import surface
from engine.history.sweep_report import Wanted, report_of
from engine.history.tally import Tally
from engine.labels import load_labels
from engine.rule_windows import rule_set
from engine.settings.compose import compose

TITLE = "Sweep"
N_SETS, MOST_S = 10_000, 10
TENS = ("[4,5,6,7,8,9,10,12,15,20]", "[3,4,5,6,7,8,10,12,15,20]", "[1,1.5,2,2.5,3,4,5,6,8,10]")
VALUES = (
    f"sweep.values={{event_rate: [{TENS[0]}], click_view_rate: [{TENS[1]}, {TENS[2]}], "
    f"categories_rate: [{TENS[0]}]}}"
)
CASES = {"rules=fast, 10 values each": ("rules=fast", VALUES), "rules=default": ("rules=default",)}


def swept(words: list[str]) -> Summary:
    """Aggregate a range, then try the sets on it; only the latter is `seconds`."""
    conf = compose(words, environ={})
    span = Span(conf, rule_set(conf), Allowlist(conf.allow))
    aggregates = Aggregates(Tally(span.rules, delay_s=span.delay_s))
    for outcome in span.outcomes():
        aggregates.add(outcome)
    evidence = evidence_of(aggregates.tally, load_labels(str(conf.labels)))
    begun_s, begun_cpu_s = time.monotonic(), time.process_time()
    limits = {"n_sets": N_SETS, "max_categories": conf.window.max_categories}
    combinations = combinations_of(span.rules, conf.sweep.values, **limits)
    found = surface(aggregates, combinations, evidence.people["is_bot"])
    report = report_of(found, Wanted(conf.sweep.max_people_share, conf.sweep.max_flagged))
    return {
        "events": span.metrics.summary()["events"],
        "aggregation_s": span.metrics.summary()["seconds"],
        "sets": report["sets"],
        "addresses": report["addresses"],
        "seconds": time.monotonic() - begun_s,
        "cpu_s": time.process_time() - begun_cpu_s,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_a_process(words: list[str]) -> Summary:
    """Do so in a process of its own: each has its own peak of memory and loads its own kernels."""
    argv = [sys.executable, "-m", "benchmarks.bench_sweep", *words]
    done = subprocess.run(
        argv, check=True, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    found: Summary = json.loads(done.stdout)
    return found


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Sweep the same file in turn."""
    with tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder:
        log, labels = Path(folder) / "log.ndjson", Path(folder) / "labels.csv"
        files = ("--format", "ndjson", "-f", str(log), "--labels", str(labels))
        botgen(Traffic(n_events), *files)
        said = ["task=sweep", "source=file", f"source.path={log}", f"labels={labels}"]
        cases = {
            case: partial(in_a_process, [*said, f"sweep.sets={N_SETS}", *words])
            for case, words in CASES.items()
        }
        return interleaved(cases, n_runs=n_runs, key="seconds")


def rows_of(found: Found) -> Iterator[tuple[object, ...]]:
    """Yield a row for each case: medians are of one run, the one in the middle by its seconds."""
    for case, runs in found.items():
        by_time = sorted(runs, key=lambda run: float(run["seconds"]))
        one, most = by_time[len(runs) // 2], by_time[-1]
        figures = (f"{one['sets']:,}", f"{one['seconds']:.2f}", f"{most['seconds']:.2f}")
        memory_mb = max(run["peak_rss_mb"] for run in runs)
        rest = (f"{one['cpu_s']:.2f}", f"{one['aggregation_s']:.1f}", f"{memory_mb:.0f}")
        yield (case, *figures, *rest)


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    first = next(iter(found.values()))[0]
    head = "case | sets | s, median | s, longest | CPU s | aggregation before, s | peak RSS, MB"
    return (
        f"{first['events']:,} events of {first['addresses']:,} addresses; what the sets take "
        f"after the range is aggregated once, kernels loaded anew (at most {MOST_S} s for "
        f"{N_SETS:,} sets).\n\n{table(head, list(rows_of(found)))}\n"
    )


if __name__ == "__main__":
    print(json.dumps(swept(sys.argv[1:])))
