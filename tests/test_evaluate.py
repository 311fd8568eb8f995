"""task=evaluate: its figures are those of a count by hand over what the model says."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.allowlist import Allowlist
from engine.history.span import Span
from engine.history.tasks import evaluation
from engine.rule_windows import rule_set
from engine.settings.compose import compose
from tests import logs, naive
from tests.command_line import Done, engine
from tests.naive_config import ModelConfig, ModelRule
from tests.tool_process import run as run_tool

RULES = (
    ModelRule("many", "events > 3"),
    ModelRule("ratio", "clicks > views"),
    ModelRule("many_in_40", "events > 4", window_s=40),
    ModelRule("no_views_in_25", "views == 0", window_s=25, slide_s=5),
    ModelRule("watched", "events > 1", mode="shadow"),
)
MONOTONE = {"many", "many_in_40", "watched"}
CONFIG = ModelConfig(rules=RULES)
LABELS = {"192.0.2.1": True, "192.0.2.2": False, "2001:db8::1": True}
NOW_MS = 1_700_000_000_000

Firing = tuple[int, int]
"""Seconds at which a rule was crossed in one window, and at which that was known."""


def firings(rows: list[naive.Row]) -> dict[tuple[str, str], list[Firing]]:
    """Return for (rule, address) when it fired in each of its windows, event by event."""
    by_window: dict[naive.Window, list[naive.Event]] = defaultdict(list)
    for event in naive.accepted_events(rows, naive.Judgement(CONFIG)):
        for window in naive.windows_of(event, CONFIG):
            by_window[window].append(event)
    found = defaultdict(list)
    for window, events in by_window.items():
        for name in fired(window, events):
            known_s = (window[1], window[1] + CONFIG.delay_s)
            if name in MONOTONE:
                first = next(
                    n for n in range(len(events)) if name in fired(window, events[: n + 1])
                )
                known_s = (events[first].time_s, events[first].time_s)
            found[name, window[2]].append(known_s)
    return found


def fired(window: naive.Window, events: list[naive.Event]) -> tuple[str, ...]:
    """Return the rules that hold for these events of a window."""
    verdict = naive.verdict_of(window, events, CONFIG)
    return verdict.reasons + verdict.shadow_reasons


def score(caught: int, wrong: int, bots: int, people: int) -> dict[str, Any]:
    """Return a score in the words of the report."""
    return {
        "precision": round(caught / (caught + wrong), 6) if caught + wrong else None,
        "recall": round(caught / bots, 6) if bots else None,
        "f1": round(2 * caught / (caught + wrong + bots), 6) if caught + wrong + bots else None,
        "bots": bots,
        "caught": caught,
        "people": people,
        "wrongly_flagged": wrong,
        "wrongly_flagged_share": round(wrong / people, 6) if people else None,
    }


def expected(rows: list[naive.Row]) -> dict[str, Any]:
    """Return what the report must say, by rule (None: all enforced ones together)."""
    judgement, when = naive.judge(rows, CONFIG), firings(rows)
    first_s: dict[str, int] = {}
    for row in rows:
        event = naive.parse_event(row.value, row.timestamp_ms, CONFIG)
        if isinstance(event, naive.Event):
            first_s[event.ip] = min(event.time_s, first_s.get(event.ip, event.time_s))
    enforced = {rule.name for rule in RULES if rule.mode == "enforce"}
    report = {}
    for names in ({rule.name} for rule in RULES), [enforced]:
        for chosen in names:
            report["all" if chosen == enforced else min(chosen)] = {
                "by_address": score_of(
                    {ip: any((n, ip) in when for n in chosen) for ip in first_s},
                ),
                "by_window": by_window(judgement, chosen),
                "decision_s": sorted(
                    min(known[1] for n in chosen for known in when.get((n, ip), [])) - first_s[ip]
                    for ip in first_s
                    if LABELS.get(ip) and any((n, ip) in when for n in chosen)
                ),
            }
    return report


def score_of(flagged: dict[Any, bool], ip_of: Any = lambda key: key) -> dict[str, Any]:
    """Return the score of flags by their labels."""
    hit = [
        [flag for key, flag in flagged.items() if LABELS.get(ip_of(key)) is who]
        for who in (True, False)
    ]
    return score(sum(hit[0]), sum(hit[1]), len(hit[0]), len(hit[1]))


def by_window(judgement: naive.Judgement, chosen: set[str]) -> dict[str, Any]:
    """Return the score over the windows of the kinds that these rules have."""
    lengths = {CONFIG.kind_of(rule)[0] for rule in RULES if rule.name in chosen}
    flags = {
        window: bool(chosen & {*verdict.reasons, *verdict.shadow_reasons})
        for window, verdict in judgement.verdicts.items()
        if naive.length_of(window) in lengths
    }
    return score_of(flags, ip_of=lambda window: window[2])


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A config with these rules and labels; its file is written by each example."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "rules.yaml").write_text(yaml.safe_dump({"rules": [as_written(r) for r in RULES]}))
    with (folder / "labels.csv").open("w") as file:
        rows = [(ip, "bot" if is_bot else "human") for ip, is_bot in LABELS.items()]
        csv.writer(file, lineterminator="\n").writerows([("key", "label"), *rows])
    argv = ["task=evaluate", "source=file", f"source.path={folder}/log.ndjson"]
    argv += [f"labels={folder}/labels.csv", f"rules.path={folder}/rules.yaml"]
    return compose(argv, environ={})


def as_written(rule: ModelRule) -> dict[str, Any]:
    """Return a rule as it stands in a file."""
    return {**asdict(rule), "description": rule.name}


@settings(max_examples=25, deadline=None)
@given(st.one_of(logs.logs(max_partitions=1), logs.logs_in_time(10, max_partitions=1)))
def test_every_figure_is_that_of_a_count_by_hand(conf: Any, rows: list[naive.Row]) -> None:
    path = Path(conf.source.path)
    lines = [row.value for row in rows if row.value and b"\n" not in row.value]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    rows = naive.read_file_rows(path, NOW_MS)
    report = evaluation(conf, Span(conf, rule_set(conf), Allowlist(conf.allow)))
    wanted = expected(rows)
    for found, name in [(report, "all"), *((one, one["name"]) for one in report["rules"])]:
        assert found["by_address"] == wanted[name]["by_address"], name
        assert found["by_window"] == wanted[name]["by_window"], name
        decision_s = found["time_to_detect_s"]["decision"]
        times_s = wanted[name]["decision_s"]
        assert decision_s["max"] == (max(times_s) if times_s else None), name


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some minutes of a few of every kind of actor, and their labels."""
    folder = tmp_path_factory.mktemp("mixed")
    people = [{"profile": "person", "n": 200}, {"profile": "nat", "n": 2}]
    bots = [{"profile": name, "n": 3} for name in ("metronome", "low_and_slow", "mimic", "crawler")]
    (folder / "mix.yaml").write_text(yaml.safe_dump({"groups": people + bots}))
    made = ("--profile", "mix.yaml", "-d", 240, "--seed", 7, "--start", 1_700_000_000)
    code, _, err = run_tool(
        folder, "botgen", *made, "--format", "ndjson", "-f", "log.ndjson", "--labels", "labels.csv"
    )
    assert code == 0, err
    return folder


@pytest.mark.parametrize("preset", ["default", "fast", "seed"])
def test_a_preset_flags_whom_the_model_flags(preset: str, mixed: Path) -> None:
    said = ["task=evaluate", "source=file", f"source.path={mixed}/log.ndjson", f"rules={preset}"]
    conf = compose([*said, f"labels={mixed}/labels.csv"], environ={})
    report = evaluation(conf, Span(conf, rule_set(conf), Allowlist(conf.allow)))
    rules = tuple(
        ModelRule(r.name, r.when, window_s=r.window_s, slide_s=r.slide_s) for r in conf.rules.rules
    )
    judged = naive.judge(
        naive.read_file_rows(mixed / "log.ndjson", NOW_MS), ModelConfig(rules=rules)
    )
    with (mixed / "labels.csv").open() as file:
        label = {row["key"]: row["label"] for row in csv.DictReader(file)}
    bots = {ip for ip, kind in label.items() if kind == "bot"}
    flagged = {window[2] for window in judged.flagged}
    acted = {window[2] for window in judged.verdicts}
    assert {one["address"] for one in report["missed"]} == (bots & acted) - flagged
    assert report["by_address"]["caught"] == len(flagged & bots) > 0
    wrong = {one["address"] for one in report["wrongly_flagged"]}
    assert wrong == {ip for ip in flagged if label.get(ip) == "human"}


def evaluated(*words: object) -> Done:
    """Run the task over a file."""
    return engine("task=evaluate", "source=file", *words)


def test_the_report_is_printed_and_written(mixed: Path) -> None:
    words = [f"source.path={mixed}/log.ndjson", f"labels={mixed}/labels.csv", "rules=fast"]
    done = evaluated(*words, f"report.json={mixed}/report.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((mixed / "report.json").read_text())
    found = report["by_address"]
    line = next(line for line in done.stdout.splitlines() if line.startswith("by address"))
    assert f"{found['caught']} of {found['bots']}" in line
    assert f"{found['precision']:.3f}" in line
    assert all(rule["name"] in done.stdout for rule in report["rules"])
    assert report["read"]["events"] == len((mixed / "log.ndjson").read_text().splitlines())


def test_what_was_rejected_is_told_first_and_why(mixed: Path) -> None:
    line = (mixed / "log.ndjson").read_text().splitlines()[0]
    future = {"unix_time": 32_000_000_000, "category_id": 1, "ip": "192.0.2.1", "type": "view"}
    (mixed / "part.ndjson").write_text("\n".join([line, "{", json.dumps(future), "{", line]))
    done = evaluated(f"source.path={mixed}/part.ndjson", f"labels={mixed}/labels.csv", "rules=fast")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == (
        "2 events, 0 of them late; 3 records rejected (not_json 2, future 1)"
    )


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), "labels: task=evaluate needs a file of labels; give one"),
        (("labels=none.csv",), "labels: 'none.csv' cannot be read"),
        (("labels={labels}", "report.json=no/such/r.json"), "report.json: 'no/such/r.json'"),
        (
            ("labels={labels}", "source.path=none.ndjson"),
            "source.path: 'none.ndjson' names no file",
        ),
    ],
)
def test_what_is_missing_is_said_in_a_line(
    words: tuple[str, ...], wanted: str, mixed: Path
) -> None:
    filled = [word.format(labels=mixed / "labels.csv") for word in words]
    done = evaluated(f"source.path={mixed}/log.ndjson", *filled)
    assert done.returncode in (69, 78)
    assert wanted in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
