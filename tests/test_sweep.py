"""task=sweep: each set flags what the model flags under those rules, and its best rules run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.allowlist import Allowlist
from engine.errors import ConfigError
from engine.history.aggregates import ROWS, Aggregates
from engine.history.evaluation import evidence_of
from engine.history.span import Span
from engine.history.sweep import Surface, combinations_of, surface
from engine.history.sweep_report import front, report_of
from engine.history.tally import Tally
from engine.labels import Labels
from engine.rule_expressions import parse
from engine.rule_thresholds import thresholds, with_thresholds
from engine.rule_trees import canonical
from engine.rule_windows import rule_set
from engine.rules import RuleSet
from engine.settings.compose import compose
from tests import logs, naive
from tests.naive_config import ModelConfig, ModelRule
from tests.tool_process import run as run_tool

NOW_MS = 1_700_000_000_000
WHEN = ("events > 3 and clicks > 1 * views", "categories > 2 or views >= 4")
WINDOWS: tuple[dict[str, int], ...] = ({}, {"window_s": 40, "slide_s": 20})
VALUES = {"a": [[1, 3, 5], [0.5, 1]], "b": [[1, 2], [2, 4, 6]]}
SWEEP_MAX = {"n_sets": 1000, "max_categories": 64}


def rule_of(name: str, when: str, window: dict[str, int]) -> dict[str, Any]:
    """Return a rule as it stands in a file."""
    return {"name": name, "description": name, "when": when, **window}


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A config with two rules over two kinds of window; its log is written by each example."""
    folder = tmp_path_factory.mktemp("sweep")
    rules = [rule_of(*one) for one in zip("ab", WHEN, WINDOWS, strict=True)]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"rules": rules}))
    argv = ["task=sweep", "source=file", f"source.path={folder}/log.ndjson"]
    return compose([*argv, f"rules.path={folder}/rules.yaml"], environ={})


@settings(max_examples=25, deadline=None)
@given(st.one_of(logs.logs(max_partitions=1), logs.logs_in_time(10, max_partitions=1)))
def test_each_set_flags_whom_the_model_flags(conf: Any, rows: list[naive.Row]) -> None:
    path = Path(conf.source.path)
    lines = [row.value for row in rows if row.value and b"\n" not in row.value]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    span = Span(conf, rule_set(conf), Allowlist(conf.allow))
    combinations = combinations_of(span.rules, VALUES, **SWEEP_MAX)
    aggregates = Aggregates(Tally(span.rules, delay_s=10))
    for outcome in span.outcomes():
        aggregates.add(outcome)
    people = evidence_of(aggregates.tally, Labels([])).people
    is_bot = people["address"].is_in(["192.0.2.1", "::"])
    found = surface(aggregates, combinations, is_bot)
    bots = set(people.filter(is_bot)["address"])
    log = naive.read_file_rows(path, NOW_MS)
    assert len(found.sets) == 3 * 2 * 2 * 3
    for index in range(0, len(found.sets), 5):
        flagged = flagged_by_model(log, found.values(index))
        assert found.counts[index].tolist() == [
            len(flagged & bots),
            len(flagged - bots),
            len(flagged),
        ]


def flagged_by_model(log: list[naive.Row], values: list[tuple[float, ...]]) -> set[str]:
    """Return whom the model flags with these thresholds, put into the text by hand."""
    (many, share), (categories, views) = values
    when = (f"events > {many} and clicks > {share} * views",)
    when += (f"categories > {categories} or views >= {views}",)
    rules = tuple(ModelRule(n, w, **o) for n, w, o in zip("ab", when, WINDOWS, strict=True))
    return {window[2] for window in naive.judge(log, ModelConfig(rules=rules)).flagged}


@pytest.mark.parametrize(
    ("when", "found", "other"),
    [
        ("events > 10", [10], "events > 11"),
        ("10 < events", [10], "11 < events"),
        ("not clicks >= 2.5 * views", [2.5], "not clicks >= 3.5 * views"),
        ("events > 5 and (clicks > views or views * 2 < 7)", [5, 2, 7],
         "events > 6 and (clicks > views or views * 3 < 8)"),
        ("views == 0 or clicks // views > 3", [3], "views == 0 or clicks // views > 4"),
        ("events % 2 == 1", [], "events % 2 == 1"),
        ("1 < events < 9", [1, 9], "2 < events < 10"),
        ("categories + 2 * clicks > 13", [13], "categories + 2 * clicks > 14"),
    ],
)  # fmt: skip
def test_thresholds_are_found_and_replaced(when: str, found: list[float], other: str) -> None:
    tree = parse(when, "when", max_categories=64)
    assert thresholds(tree) == found
    assert canonical(with_thresholds(tree, [value + 1 for value in found])) == other


@cache
def fast_rules() -> RuleSet:
    """Return rules=fast."""
    return rule_set(compose(["rules=fast"], environ={}))


def surface_of(counts: list[tuple[int, int]]) -> Surface:
    """Return a surface of one rule whose sets flag so many bots and people, of 10 and 100."""
    rule = fast_rules().rules[0]
    sets = np.arange(len(counts)).reshape(-1, 1)
    table = np.array([(bots, people, bots + people) for bots, people in counts])
    values = [(10.0 + k,) for k in range(len(counts))]
    return Surface((rule,), [values], sets, 0, table, np.array([10, 100, 110]))


def test_the_best_set_keeps_to_its_budget_and_changes_least() -> None:
    found = surface_of([(2, 0), (9, 3), (8, 1), (8, 1), (8, 2), (10, 4)])
    best = report_of(found, max_people_share=0.02, max_flagged=None)["best"]
    assert (best["caught"], best["wrongly_flagged"]) == (8, 1)
    assert best["thresholds"] == {"event_rate": [12.0]}
    assert report_of(found, max_people_share=0.04, max_flagged=None)["best"]["caught"] == 10
    plain = found._replace(totals=np.array([0, 0, 110]))
    assert report_of(plain, max_people_share=1, max_flagged=10)["best"]["flagged"] == 10
    assert report_of(plain, max_people_share=1, max_flagged=1)["best"] is None


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 100)), min_size=1, max_size=12))
def test_the_front_is_what_nothing_beats(counts: list[tuple[int, int]]) -> None:
    chosen = {counts[index] for index in front(surface_of(counts))}

    def beaten(one: tuple[int, int]) -> bool:
        return any(o != one and o[0] >= one[0] and o[1] <= one[1] for o in counts)

    assert chosen == {one for one in counts if not beaten(one)}


@pytest.mark.parametrize(
    ("said", "key", "problem"),
    [
        ({"c": [[1]]}, "sweep.values.c", "no enforced rule has this name; there are a, b"),
        ({"a": [[1]]}, "sweep.values.a", "is refused; allowed: 2 lists of numbers"),
        ({"a": [[1], ["x"]]}, "sweep.values.a", "is refused; allowed: 2 lists of numbers"),
        ({"a": [list(range(40)), list(range(40))]}, "sweep.values", "more than sweep.sets=1000"),
    ],
)
def test_values_that_cannot_be_tried_are_refused(
    said: dict[str, object], key: str, problem: str, conf: Any
) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        combinations_of(rule_set(conf), said, **SWEEP_MAX)
    assert raised.value.key == key


def test_what_is_written_is_always_tried_and_no_refused_rule_is(conf: Any) -> None:
    rules = rule_set(replace(conf))
    for one, rule in zip(
        combinations_of(rules, {}, n_sets=1000, max_categories=64), rules.rules, strict=True
    ):
        assert tuple(thresholds(rule.tree)) in one
    narrow = combinations_of(rules, {"b": [[3, 63, 64, 99], [4]]}, **SWEEP_MAX)
    assert {values[0] for values in narrow[1]} == {2, 3, 63}


def test_the_best_rules_run_and_do_what_was_said(tmp_path: Path) -> None:
    made = ("--profile", "metronome", "-d", 300, "--seed", 5, "--start", 1_700_000_000)
    files = ("-f", "log.ndjson", "--labels", "labels.csv", "--format", "ndjson")
    assert run_tool(tmp_path, "botgen", *made, *files)[0] == 0
    said = ["source=file", f"source.path={tmp_path}/log.ndjson", f"labels={tmp_path}/labels.csv"]
    best, report = tmp_path / "best.yaml", tmp_path / "report.json"
    words = ["task=sweep", *said, "rules=fast", f"sweep.rules={best}", f"report.json={report}"]
    done = engine(*words, "sweep.sets=2000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(best.read_text())
    wanted = json.loads(report.read_text())["best"]
    assert wanted["wrongly_flagged_share"] <= 0.005
    again = engine("task=evaluate", *said, f"rules.path={best}", f"report.json={report}")
    assert again.returncode == 0, again.stderr
    found = json.loads(report.read_text())
    assert found["by_address"] == {key: wanted[key] for key in found["by_address"]}
    assert len(found["flagged"]) == wanted["flagged"] > 0


def engine(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the engine as a user does."""
    argv = [sys.executable, "-m", "engine", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def test_counts_of_an_address_that_repeat_are_kept_once() -> None:
    aggregates = Aggregates(Tally(fast_rules(), delay_s=10))
    assert len(aggregates.counted(10).places) == 0
    frame = pl.DataFrame({"place": [0, 1, 0], "key": [5 << 40 | 2 << 16 | 3] * 3, "windows": 1})
    aggregates._rows[10] = [frame.cast(ROWS)]
    found = aggregates.counted(10)
    assert dict(zip(found.places.tolist(), found.windows.tolist(), strict=True)) == {0: 2, 1: 1}
    counts = (found.events, found.clicks, found.categories)
    assert [one.tolist() for one in counts] == [[5], [2], [3]]
