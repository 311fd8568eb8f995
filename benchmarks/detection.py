"""Whom the presets catch and whom they spare: writes docs/detection.md.

    python -m benchmarks.detection

Traffic of tools/botgen.py, whose labels are true, judged by `task=evaluate`. The seeds are none of
those that the rules were chosen on.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from engine.allowlist import Allowlist
from engine.history.span import Span
from engine.history.tasks import evaluation
from engine.rule_windows import rule_set
from engine.settings.compose import compose

ROOT = Path(__file__).resolve().parents[1]
BOTGEN = ROOT / "tools" / "botgen.py"
LOG, LABELS = "log.ndjson", "labels.csv"
PAGE = ROOT / "docs" / "detection.md"
PRESETS = ("seed", "fast", "default")
SEEDS = (11, 12, 13, 14, 15)
START_S = 1_700_000_000
ORIGINAL = ("-b", "10", "-u", "1000", "-n", "100", "-d", "300")
MIXES = sorted(path.stem for path in (ROOT / "tools" / "mixes").glob("*.yaml"))
MIX_S = 1800
GAPS_S = (2, 5, 10, 20, 40, 60, 90, 120)
JITTERS = (0.0, 0.3, 0.6)
CLICK_SHARES = (0.9, 0.75, 0.6, 0.5)
PERSON_GAPS_S = (7.0, 5.0, 3.0, 2.0, 1.0)

Report = dict[str, Any]

HEAD = """\
# Whom it catches, and whom it spares

Written by `make detection`. Traffic of `tools/botgen.py`, whose labels are true, through
`task=evaluate`; seeds {seeds}, none of which the rules were chosen on. Each cell is the median
of the seeds, with the worst of them behind it where it differs. By address: *precision* is the
share of the flagged that are bots, *recall* the share of the bots that are flagged, *people* the
share of the people who are flagged at least once. Time counts from a bot's first event to the
decision, in seconds: the delay of the watermark is in it, the milliseconds of writing are not.
"""


def main() -> None:
    """Measure everything and write the page."""
    with tempfile.TemporaryDirectory(prefix="botsieve-detection-") as folder:
        parts = [
            HEAD.format(seeds=f"{SEEDS[0]} to {SEEDS[-1]}"),
            original_section(Path(folder)),
            mixes_section(Path(folder)),
            bots_section(Path(folder)),
            people_section(Path(folder)),
        ]
    PAGE.write_text("\n".join(parts), encoding="utf-8")


def original_section(folder: Path) -> str:
    """Return how each preset does on the traffic of the original job."""
    lines = [row("rules", "precision", "recall", "people", "in 60 s", "p50", "longest")]
    lines += ["| --- |" + " ---: |" * 6]
    for preset, reports in evaluated(folder, ORIGINAL).items():
        lines.append(row(preset, *cells(reports, within="60")))
    text = "Ten bots and a thousand users, 100 events of users a second, five minutes."
    return section("The original traffic", text, lines)


def mixes_section(folder: Path) -> str:
    """Return how each preset does on each mix."""
    lines = [row("traffic", "rules", "precision", "recall", "people", "in 600 s", "p50", "longest")]
    lines += ["| --- | --- |" + " ---: |" * 6]
    for mix in MIXES:
        words = ("--profile", mix, "-d", str(MIX_S))
        for preset, reports in evaluated(folder, words).items():
            lines.append(row(mix, preset, *cells(reports, within="600")))
    text = (
        "Half an hour of people, with one kind of bot or of crowd among them; `everything` has\n"
        "all at once. `flash_crowd`, `nat` and `crawler` have no bots: there only people count."
    )
    return section("Other people, other bots", text, lines)


def bots_section(folder: Path) -> str:
    """Return which bots `rules=default` no longer catches."""
    lines = [row("seconds between events", *(f"jitter {j:g}" for j in JITTERS))]
    lines += ["| ---: |" + " ---: |" * len(JITTERS)]
    for gap_s in GAPS_S:
        found = [bot_recall(folder, gap_s=gap_s, gap_spread=jitter) for jitter in JITTERS]
        lines.append(row(f"{gap_s:g}", *map(percent, found)))
    lines += ["", row("clicks among its events", *(f"every {s} s" for s in (2, 10, 40)))]
    lines += ["| ---: |" + " ---: |" * 3]
    for share in CLICK_SHARES:
        found = [bot_recall(folder, gap_s=gap, click_share=share) for gap in (2, 10, 40)]
        lines.append(row(percent(share), *map(percent, found)))
    text = (
        "Recall of `rules=default` within ten minutes, for bots of one kind: how slow, how uneven\n"
        "(sigma of the logarithm of the gaps), and how much like a person in what they click."
    )
    return section("What it does not catch", text, lines)


def people_section(folder: Path) -> str:
    """Return how busy people may be before they are flagged."""
    lines = [row("seconds between a person's events", *(f"rules={p}" for p in PRESETS))]
    lines += ["| ---: |" + " ---: |" * len(PRESETS)]
    for gap_s in PERSON_GAPS_S:
        groups = [{"profile": "person", "n": 1000, "gap_s": gap_s}]
        found = evaluated(folder, words_for(folder, groups), seeds=SEEDS[:1])
        lines.append(row(f"{gap_s:g}", *(percent(worst(found[preset])) for preset in PRESETS)))
    text = "The share of people flagged at least once in half an hour, by how fast they look."
    return section("How busy a person may be", text, lines)


def bot_recall(folder: Path, **acts: float) -> float:
    """Return the share of such bots that `rules=default` catches within ten minutes."""
    groups = [{"profile": "spread_24", "n": 200, **acts}]
    found = evaluated(folder, words_for(folder, groups), ["default"], seeds=SEEDS[:1])
    return float(found["default"][0]["caught_within_s"]["600"])


def words_for(folder: Path, groups: Sequence[dict[str, object]]) -> tuple[str, ...]:
    """Return botgen's options for a mix of these groups."""
    path = folder / "groups.yaml"
    path.write_text(yaml.safe_dump({"groups": list(groups)}), encoding="utf-8")
    return ("--profile", str(path), "-d", str(MIX_S))


def evaluated(
    folder: Path,
    words: Sequence[str],
    presets: Sequence[str] = PRESETS,
    *,
    seeds: Iterable[int] = SEEDS,
) -> dict[str, list[Report]]:
    """Return the reports of each preset on this traffic, one for each seed."""
    found: dict[str, list[Report]] = {preset: [] for preset in presets}
    for seed in seeds:
        make_traffic(folder, [*words, "--seed", str(seed)])
        for preset in presets:
            found[preset].append(evaluate(folder, preset))
    return found


def make_traffic(folder: Path, words: Sequence[str]) -> None:
    """Write the log and its labels."""
    made = ["-f", str(folder / LOG), "--labels", str(folder / LABELS), "--format", "ndjson"]
    argv = [sys.executable, str(BOTGEN), *words, *made, "--start", str(START_S)]
    subprocess.run(argv, check=True, capture_output=True)


def evaluate(folder: Path, preset: str) -> Report:
    """Return the report of a preset on the log."""
    said = ["task=evaluate", "source=file", f"source.path={folder / LOG}", f"rules={preset}"]
    conf = compose([*said, f"labels={folder / LABELS}"], environ={})
    return evaluation(conf, Span(conf, rule_set(conf), Allowlist(conf.allow)))


def cells(reports: Sequence[Report], *, within: str) -> list[str]:
    """Return precision, recall, people flagged, recall in time, and the times to a decision."""
    by_address = [report["by_address"] for report in reports]
    times = [report["time_to_detect_s"]["decision"] for report in reports]
    return [
        spread([one["precision"] for one in by_address], bad=min),
        spread([one["recall"] for one in by_address], bad=min),
        spread([one["wrongly_flagged_share"] for one in by_address], bad=max, digits=4),
        spread([report["caught_within_s"][within] for report in reports], bad=min),
        spread([one["p50"] for one in times], bad=max, digits=0),
        spread([one["max"] for one in times], bad=max, digits=0),
    ]


def spread(values: Sequence[float | None], *, bad: Any, digits: int = 3) -> str:
    """Return the median, and the worst where it differs; a dash where there is nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    median, end = (f"{value:.{digits}f}" for value in (statistics.median(known), bad(known)))
    return median if median == end else f"{median} ({end})"


def worst(reports: Sequence[Report]) -> float:
    """Return the greatest share of people flagged."""
    return max(float(report["by_address"]["wrongly_flagged_share"]) for report in reports)


def percent(value: float) -> str:
    """Show a share."""
    return f"{100 * value:.1f} %"


def row(*cells: str) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def section(title: str, text: str, lines: Sequence[str]) -> str:
    """Return a section with a table."""
    return "\n".join([f"## {title}", "", text, "", *lines, ""])


if __name__ == "__main__":
    main()
