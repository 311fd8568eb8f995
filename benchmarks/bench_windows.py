"""What more kinds of window cost: rules over 10 s, then over 60 s as well, then over 600 s too."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import yaml

from benchmarks.rig import (
    Found,
    Traffic,
    cpu_s_per_million,
    engine_table,
    interleaved,
    load,
    run_topic,
    started_broker,
)

TITLE = "Several windows"
WINDOWS = {"10 s": (10, 10), "60 s": (60, 60), "600 s / 60 s": (600, 60)}
BASE = "10 s"
MOST = {"10 s, 60 s": 1.3, "10 s, 60 s, 600 s / 60 s": 1.5}
"""How much of one window's cost each case may have."""


def rules_over(length_s: int, slide_s: int) -> list[dict[str, object]]:
    """Return a rule that decides early where it may, and one that is judged at the close."""
    window = {"description": "A bot.", "window_s": length_s, "slide_s": slide_s}
    rate = {"name": f"rate_{length_s}", "when": f"events > {length_s}"}
    clicks = f"events >= 5 and clicks / max(views, 1) > {3 + length_s // 60}"
    return [rate | window, {"name": f"clicks_{length_s}", "when": clicks} | window]


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Run the same topic with one kind of window more each time."""
    with (
        tempfile.TemporaryDirectory(prefix="botsieve-bench-") as folder,
        started_broker() as broker,
    ):
        topic = load(broker, "bench-windows", Traffic(n_events))
        cases, rules = {}, []
        for n, sizes in enumerate(WINDOWS.values(), 1):
            rules += rules_over(*sizes)
            path = Path(folder) / f"rules-{n}.yaml"
            path.write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")
            words = (f"rules.path={path}", "sink.statistics=none")
            case = ", ".join(list(WINDOWS)[:n])
            cases[case] = partial(run_topic, broker.bootstrap, topic, *words)
        return interleaved(cases, n_runs=n_runs)


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    one = cpu_s_per_million(found[BASE])
    costs = [
        f"{case}: {cpu_s_per_million(found[case]) / one:.2f} (at most {most})"
        for case, most in MOST.items()
    ]
    return (
        f"{found[BASE][0]['events']:,} events, decisions only, two rules for each kind of window. "
        f"CPU as a ratio to one kind: {'; '.join(costs)}.\n\n"
        f"{engine_table(found, base=BASE)}\n"
    )
