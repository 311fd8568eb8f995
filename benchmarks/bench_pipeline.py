"""The whole pipeline over a backlog: real Kafka in, real Valkey out, on one machine.

Beside it in the same run: kcat, which only drains the topic (where it is installed).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from functools import partial

from benchmarks.rig import (
    EVENTS_PER_S,
    Found,
    Summary,
    Traffic,
    engine_table,
    interleaved,
    load,
    median,
    run_topic,
    started_broker,
    table,
)

TITLE = "The whole pipeline"
DECISIONS, STATISTICS, DRAIN = "decisions only", "all statistics", "kcat"
CASES = {DECISIONS: "none", STATISTICS: "all"}
KCAT = (
    *("kcat", "-C", "-e", "-q", "-u", "-o", "beginning"),
    *("-X", "queued.min.messages=1000000", "-X", "queued.max.messages.kbytes=131072"),
    *("-X", "fetch.max.bytes=52428800", "-X", "max.partition.fetch.bytes=10485760"),
)


def drained(bootstrap: str, topic: str, n_events: int) -> Summary:
    """Let kcat read the topic to its end and throw it away."""
    begun_s, cpu = time.monotonic(), os.times()
    argv = [*KCAT, "-b", bootstrap, "-t", topic]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    now = os.times()
    spent_s = now.children_user + now.children_system - cpu.children_user - cpu.children_system
    rate = n_events / (time.monotonic() - begun_s)
    return {"events": n_events, "events_per_s": rate, "cpu_s": spent_s, "peak_rss_mb": 0}


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Run every case n_runs times, interleaved."""
    with started_broker() as broker:
        topic = load(broker, "bench", Traffic(n_events))
        at = (broker.bootstrap, topic)
        cases = {
            case: partial(run_topic, *at, "rules=seed", f"sink.statistics={kept}")
            for case, kept in CASES.items()
        }
        if shutil.which("kcat"):
            cases[DRAIN] = partial(drained, *at, n_events // EVENTS_PER_S * EVENTS_PER_S)
        return interleaved(cases, n_runs=n_runs)


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    runs = found[DECISIONS]
    n_events = runs[0]["events"]
    counted = {(run["events"], run["verdicts"], run["flagged"]) for run in runs}
    counted |= {(r["events"], r["verdicts"], r["flagged"]) for r in found[STATISTICS]}
    ratio = median(runs) / median(found[DRAIN]) if DRAIN in found else None
    beside = f"Decisions only is {ratio:.2f} of kcat's drain of the same topic.\n" if ratio else ""
    return (
        f"{n_events:,} events as a backlog, 4 partitions, broker and Valkey on the same machine, "
        f"`rules=seed`, {len(runs)} interleaved runs a case. CPU and memory are the engine's "
        "alone, its start included.\n"
        f"Events, verdicts and flagged pairs of every run: {sorted(counted)}.\n\n"
        f"{engine_table(found)}\n\n{beside}\n{stages(found)}\n"
    )


def stages(found: Found) -> str:
    """Return where the time of the last runs went; three threads, so it adds up to more."""
    cases = {case: runs[-1] for case, runs in found.items() if case in CASES}
    names = list(next(iter(cases.values()))["stage_s"])
    rows = [
        (case, f"{run['seconds']:.1f}", *(f"{run['stage_s'].get(name, 0):.1f}" for name in names))
        for case, run in cases.items()
    ]
    text = table(f"seconds, last run | in all | {' | '.join(names)}", rows)
    keys = ", ".join(f"{case} {run['keys_written']:,}" for case, run in cases.items())
    return f"{text}\n\nKeys written: {keys}."
