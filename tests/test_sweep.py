"""task=sweep: each set flags what the model flags under those rules, and its best rules run."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.allowlist import Allowlist
from engine.errors import ConfigError
from engine.history import sweep
from engine.history.aggregates import ROWS, Aggregates, Counted
from engine.history.combinations import around, combinations_of
from engine.history.evaluation import evidence_of
from engine.history.span import Span
from engine.history.sweep import Held, Surface, flagged_by_sets, surface
from engine.history.sweep_report import (
    N_SHOWN,
    Wanted,
    front,
    front_table,
    missed_text,
    report_of,
    rules_text,
    set_of,
)
from engine.history.table import rendered
from engine.history.tally import Tally
from engine.kernels.grid import BITS
from engine.labels import Labels
from engine.rule_expressions import parse
from engine.rule_thresholds import thresholds, with_thresholds
from engine.rule_trees import canonical
from engine.rule_windows import rule_set
from engine.rules import RuleSet
from engine.settings.compose import compose
from tests import logs, naive
from tests.command_line import engine
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


@given(st.integers(1, 300), st.integers(1, 130), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_addresses_may_be_judged_block_by_block(n: int, n_combos: int, chance: Random) -> None:
    rows = sorted((chance.randrange(n), chance.randrange(5)) for _ in range(2 * n))
    places, triples = np.array(rows, np.int64).T.copy()
    bits = np.array([[chance.getrandbits(64) & chance.getrandbits(64)] * 3] * 5, np.uint64)
    none = np.zeros(0, np.uint32)
    held = Held(Counted(places, triples, places, none, none, none), bits)
    groups = np.array([[chance.random() < 0.5 for _ in range(n)], [True] * n])
    sets = np.arange(n_combos).reshape(-1, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "BLOCK", BITS)
        found = flagged_by_sets(sets, [n_combos], [held], groups)
    for k in range(n_combos):
        hit = {place for place, t in rows if int(bits[t, k // BITS]) >> k % BITS & 1}
        assert found[k].tolist() == [sum(groups[0][place] for place in hit), len(hit)]


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
    best = report_of(found, Wanted(0.02, None))["best"]
    assert (best["caught"], best["wrongly_flagged"]) == (8, 1)
    assert best["thresholds"] == {"event_rate": [12.0]}
    assert report_of(found, Wanted(0.04, None))["best"]["caught"] == 10
    plain = found._replace(totals=np.array([0, 0, 110]))
    assert report_of(plain, Wanted(1, 10))["best"]["flagged"] == 10


def test_where_no_set_keeps_to_its_budget_the_nearest_is_told() -> None:
    found = surface_of([(2, 3), (9, 4)])
    assert report_of(found, Wanted(0.03, None))["best"]["wrongly_flagged"] == 3
    assert report_of(found, Wanted(0.029, None))["best"] is None
    text = missed_text(found, Wanted(0.029, None))
    assert "sweep.max_people_share=0.029: each of 2 sets flags at least 3 of 100 people" in text
    plain = found._replace(totals=np.array([0, 0, 110]))
    assert report_of(plain, Wanted(1, 5))["best"]["flagged"] == 5
    assert report_of(plain, Wanted(1, 4))["best"] is None
    assert "sweep.max_flagged=4: each of 2 sets flags at least 5 of 110" in missed_text(
        plain, Wanted(1, 4)
    )


def test_the_usual_budget_is_half_a_per_cent_of_all_addresses() -> None:
    few = surface_of([(0, 1), (0, 2), (0, 3)])._replace(totals=np.array([0, 0, 599]))
    assert report_of(few, Wanted(1, None))["best"]["flagged"] == 2


def test_long_tables_show_some_values_with_the_ends_and_the_written_one() -> None:
    counts = [(0, n) for n in range(100, 0, -1)]
    plain = surface_of(counts)._replace(totals=np.array([0, 0, 110]), written=37)
    text = rendered(front_table(report_of(plain, Wanted(1, 50))), color=False, width=80)
    rows = [line.rsplit(maxsplit=2)[1:] for line in text.splitlines()[1:]]
    assert rows == sorted(rows, key=lambda row: int(row[0]))
    assert (rows[0], rows[-1]) == (["10", "100"], ["109", "1"])
    assert "event_rate 1 (as written)     47       63" in text
    assert len(rows) <= N_SHOWN + 1


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


@pytest.mark.parametrize(
    ("when", "mode"), [("events > 3", "shadow"), ("events % 2 == 1", "enforce")]
)
def test_rules_with_nothing_to_vary_are_refused(when: str, mode: str, conf: Any) -> None:
    only = replace(conf.rules.rules[0], when=when, mode=mode)
    rules = rule_set(replace(conf, rules=replace(conf.rules, rules=[only])))
    with pytest.raises(ConfigError, match="has a threshold that task=sweep could vary") as raised:
        combinations_of(rules, {}, **SWEEP_MAX)
    assert raised.value.key == "rules.rules"


def test_a_range_without_a_whole_window_teaches_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.ndjson").write_text("")
    for task in ("sweep", "lint"):
        done = engine(f"task={task}", "source=file", f"source.path={tmp_path}/log.ndjson")
        assert done.returncode == 69
        assert done.stdout == ""
        assert "source: 0 events make no whole window" in done.stderr


@pytest.mark.parametrize("value", [0.0, 1.0, 10.0, 1.5, 0.001, 4000.0])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_values_are_around_what_is_written(value: float, n: int) -> None:
    tried = around(value, n)
    assert value in tried
    assert 1 <= len(tried) <= max(n, 1)
    assert (value == 0 and tried[-1] <= 64) or value / 4 - 1 <= tried[0] <= tried[-1] <= 4 * value
    assert not value.is_integer() or all(one.is_integer() for one in tried)


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


def test_only_the_thresholds_of_enforced_rules_change(tmp_path: Path) -> None:
    own = {"name": "a", "description": "What: it finds 'it'", "when": "events>3 and 2<clicks"}
    own |= {"ttl_s": 77, "mode": "enforce", "window_s": 60, "slide_s": 20}
    plain = {"name": "d", "description": "d", "when": "events % 2 == 1", "mode": "enforce"}
    rules = [own, rule_of("b", "events > 5", {}) | {"mode": "shadow"}]
    rules += [rule_of("c", "events > 6", {}) | {"mode": "off"}, plain]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"rules": rules}))
    conf = compose([f"rules.path={tmp_path}/rules.yaml"], environ={})
    found = rule_set(conf)
    enforced = tuple(rule for rule in found.rules if rule.mode == "enforce")
    combinations = combinations_of(found, {"a": [[9], [4]]}, **SWEEP_MAX)
    assert combinations == [[(3, 2), (3, 4), (9, 2), (9, 4)], [()]]
    sets = np.array([(k, 0) for k in range(4)])
    tried = Surface(enforced, combinations, sets, 0, np.zeros((4, 3), int), np.zeros(3, int))
    text = rules_text(tried, set_of(tried, 3), conf.rules.rules)
    assert yaml.safe_load(text)["rules"] == [
        own | {"when": "events > 9 and 4 < clicks"},
        *rules[1:],
    ]
    (tmp_path / "best.yaml").write_text(text)
    again = rule_set(compose([f"rules.path={tmp_path}/best.yaml"], environ={}))
    assert thresholds(again.rules[0].tree) == [9, 4]


def test_without_labels_the_best_rules_flag_as_many_as_was_said(tmp_path: Path) -> None:
    made = ("--profile", "boundary", "-d", 300, "--seed", 3, "--start", 1_700_000_000)
    files = ("-f", "log.ndjson", "--labels", "labels.csv", "--format", "ndjson")
    assert run_tool(tmp_path, "botgen", *made, *files)[0] == 0
    said = ["source=file", f"source.path={tmp_path}/log.ndjson"]
    best, report = tmp_path / "best.yaml", tmp_path / "report.json"
    budget = ["sweep.max_flagged=60", "sweep.values={event_rate: [[1, 2, 3, 4, 5, 6, 8]]}"]
    words = ["task=sweep", *said, "rules=fast", f"sweep.rules={best}", f"report.json={report}"]
    done = engine(*words, *budget)
    assert done.returncode == 0, done.stderr
    swept = json.loads(report.read_text())
    assert swept["read"]["events"] > 0
    assert 0 < swept["best"]["flagged"] <= 60
    by_value = dict(swept["by_threshold"][0]["flagged"])
    assert max(by_value.values()) > 60 >= min(by_value.values())
    most = max(n for n in by_value.values() if n <= 60)
    assert swept["best"]["flagged"] == most
    said.append(f"labels={tmp_path}/labels.csv")  # which task=evaluate needs
    again = engine("task=evaluate", *said, f"rules.path={best}", f"report.json={report}")
    assert again.returncode == 0, again.stderr
    assert len(json.loads(report.read_text())["flagged"]) == most


def test_counts_of_an_address_that_repeat_are_kept_once() -> None:
    aggregates = Aggregates(Tally(fast_rules(), delay_s=10))
    assert len(aggregates.counted(10).places) == 0
    frame = pl.DataFrame({"place": [0, 1, 0], "key": [5 << 40 | 2 << 16 | 3] * 3, "windows": 1})
    aggregates._rows[10] = [frame.cast(ROWS)]
    found = aggregates.counted(10)
    assert dict(zip(found.places.tolist(), found.windows.tolist(), strict=True)) == {0: 2, 1: 1}
    counts = (found.events, found.clicks, found.categories)
    assert [one.tolist() for one in counts] == [[5], [2], [3]]
