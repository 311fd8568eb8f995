"""task=lint: what it finds is so, and what is sound is left alone."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings

from engine.allowlist import Allowlist
from engine.history.aggregates import Aggregates, Counted
from engine.history.evaluation import evidence_of
from engine.history.lint import alternatives, findings_of, percentile
from engine.history.possible import ALL_UP_TO, Points, holds, points_around
from engine.history.span import Span
from engine.history.tally import Tally
from engine.labels import Labels
from engine.rule_expressions import parse
from engine.rule_trees import canonical
from engine.rule_windows import rule_set
from engine.settings.compose import compose
from tests import naive
from tests.command_line import engine
from tests.rule_texts import EXPRESSIONS, read
from tests.tool_process import run as run_tool

ORIGINAL = ("-b", 10, "-u", 1000, "-d", 120, "-n", 100, "--seed", 1, "--start", 1_700_000_000)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two minutes of the original traffic and its labels."""
    folder = tmp_path_factory.mktemp("lint")
    files = ("-f", "log.ndjson", "--labels", "labels.csv", "--format", "ndjson")
    assert run_tool(folder, "botgen", *ORIGINAL, *files)[0] == 0
    return folder


def lint(folder: Path, *words: str) -> list[tuple[str, str]]:
    """Return (rule, kind) of all findings; each is said in a line with its key."""
    said = ["task=lint", "source=file", f"source.path={folder}/log.ndjson", *words]
    done = engine(*said, f"report.json={folder}/found.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "found.json").read_text())["findings"]
    lines = [f"{one['key']}: {one['rule']}: {one['text']}" for one in found]
    assert done.stdout.splitlines() == (lines or ["nothing found in 1 rules"])
    return [(one["rule"], one["kind"]) for one in found]


def own(folder: Path, *whens: str) -> str:
    """Write a rule set of these expressions, named a, b, c; return the override."""
    rules = [{"name": n, "description": n, "when": w} for n, w in zip("abc", whens, strict=False)]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"rules": rules}))
    return f"rules.path={folder}/rules.yaml"


def test_the_two_dead_rules_of_the_original_job_are_named(original: Path) -> None:
    found = lint(original, "rules=seed")
    assert ("event_rate", "never_hit") in found
    assert ("categories_rate", "never_hit") in found
    assert ("categories_rate", "implied") in found  # an address has no more categories than events
    assert ("click_view_rate", "ordinary") in found


def test_a_contradiction_an_implied_rule_and_a_double_are_found(original: Path) -> None:
    assert lint(original, own(original, "events > 10 and events < 5")) == [("a", "never_fires")]
    found = lint(original, own(original, "clicks > 3", "clicks > 4 and events > 1", "clicks > 3"))
    assert ("b", "implied") in found
    assert ("c", "implied") in found
    assert ("a", "implied") not in found


def test_a_rule_that_few_counts_make_true_is_not_called_dead(original: Path) -> None:
    rare = "events * 7 == clicks * 9 + 17 and categories * 3 == 9 + clicks"  # 14, 9, 6
    assert lint(original, own(original, rare)) == [("a", "never_hit")]


def test_a_rule_that_hit_in_the_range_is_not_called_dead(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Points(*(np.array([n], np.uint32) for n in (9, 0, 1)))
    monkeypatch.setattr("engine.history.lint.points_around", lambda *_, **__: nowhere)
    conf = compose(
        ["source=file", f"source.path={original}/log.ndjson", own(original, "events == 5")],
        environ={},
    )
    span = Span(conf, rule_set(conf), Allowlist(conf.allow))
    aggregates = Aggregates(Tally(span.rules, delay_s=10))
    for outcome in span.outcomes():
        aggregates.add(outcome)
    found = findings_of(aggregates, evidence_of(aggregates.tally, Labels([])), max_categories=64)
    assert "never_fires" not in [one.kind for one in found]


def test_what_is_said_has_the_expression_the_counts_and_the_percentile(original: Path) -> None:
    lint(original, own(original, "clicks < 1 or events >= 2", "events > 10 and events < 5"))
    found = json.loads((original / "found.json").read_text())["findings"]
    lines = [f"{one['key']}: {one['text']}" for one in found]
    assert re.fullmatch(
        r"rules\.rules\[0\]\.when: `clicks < 1` alone makes it fire, and holds in [0-9.]+ % of the "
        r"[0-9,]+ windows of all addresses: their 1st percentile of `clicks` is 0; change .*",
        lines[0],
    )
    assert "their 99th percentile of `events` is 5" in lines[1]
    assert re.fullmatch(
        r"rules\.rules\[1\]\.when: `events > 10 and events < 5` seems never to fire: none of "
        r"[0-9,]+ counts that were tried makes it true \(a search, no proof\); correct it.*",
        lines[2],
    )


def test_a_percentile_weighs_the_windows_and_is_told_for_a_number_alone() -> None:
    none = np.zeros(0, np.int64)
    events = np.array([3, 1, 9], np.uint32)
    counted = Counted(none, none, none, events, np.zeros(3, np.uint32), np.ones(3, np.uint32))

    def told(when: str, *windows: float) -> str:
        tree = parse(when, "when", max_categories=64)
        return percentile(tree, counted, np.array(windows))

    assert told("events > 2", 9, 90, 1) == ": their 99th percentile of `events` is 3"
    assert told("events > 2", 8, 90, 2) == ": their 99th percentile of `events` is 9"
    assert told("2 <= views", 8, 90, 2) == ": their 99th percentile of `views` is 9"
    assert told("events < 5", 98, 2, 0) == ": their 1st percentile of `events` is 1"
    for other in ("events == 3", "events > clicks", "1 < events < 4", "events > 1 and views > 1"):
        assert told(other, 9, 90, 1) == ""


def test_a_shadow_rule_is_compared_with_enforced_ones_only(original: Path) -> None:
    words = own(original, "clicks > 3", "clicks > 3")
    path = original / "rules.yaml"
    rules = yaml.safe_load(path.read_text())["rules"]
    path.write_text(yaml.safe_dump({"rules": [rules[0] | {"mode": "shadow"}, rules[1]]}))
    implied = [rule for rule, kind in lint(original, words) if kind == "implied"]
    assert implied == ["a"]


def test_rules_of_other_windows_do_not_imply(original: Path) -> None:
    words = own(original, "clicks > 3", "clicks > 4")
    path = original / "rules.yaml"
    rules = yaml.safe_load(path.read_text())["rules"]
    path.write_text(yaml.safe_dump({"rules": [rules[0], rules[1] | {"window_s": 60}]}))
    assert "implied" not in [kind for _, kind in lint(original, words)]


def test_a_sound_rule_is_left_alone(original: Path) -> None:
    labels = f"labels={original}/labels.csv"
    assert lint(original, own(original, "events >= 5 and clicks > 3 * views"), labels) == []


def test_with_labels_only_people_are_ordinary(original: Path) -> None:
    rule = own(original, "events > 4")  # bots make five events in each window
    assert ("a", "ordinary") not in lint(original, rule, f"labels={original}/labels.csv")
    assert ("a", "ordinary") in lint(original, own(original, "events > 1"))


@settings(max_examples=60, deadline=None)
@given(EXPRESSIONS)
def test_points_are_possible_and_judged_as_the_model_does(when: str) -> None:
    tree = read(when)
    points = points_around([tree], max_categories=64)
    truth = holds(tree, points)
    rows = zip(points.events, points.clicks, points.categories, truth, strict=True)
    for events, clicks, categories, is_true in list(rows)[::97]:
        assert 0 <= clicks <= events
        assert 1 <= categories <= min(events, 64)
        counts = {"events": events, "clicks": clicks, "views": events - clicks}
        whole = {name: int(n) for name, n in counts.items()} | {"categories": int(categories)}
        assert bool(is_true) == bool(naive.evaluate(when, whole))


@pytest.mark.parametrize("max_categories", [2, 64])
def test_every_count_of_few_events_is_tried_and_none_twice(max_categories: int) -> None:
    tree = parse("events > 10 and clicks > 2", "when", max_categories=64)
    points = points_around([tree], max_categories=max_categories)
    known = list(zip(*(column.tolist() for column in points), strict=True))
    assert len(set(known)) == len(known)
    few = {one for one in known if one[0] <= ALL_UP_TO}
    assert few == {
        (n, clicks, k)
        for n in range(1, ALL_UP_TO + 1)
        for clicks in range(n + 1)
        for k in range(1, min(n, max_categories) + 1)
    }


@pytest.mark.parametrize("limit", [1, 7, 63])
def test_the_borders_of_a_threshold_are_among_the_points(limit: int) -> None:
    when = f"events > {limit} and clicks >= {limit} and categories > {limit // 2}"
    points = points_around([parse(when, "when", max_categories=64)], max_categories=64)
    known = set(zip(*(column.tolist() for column in points), strict=True))
    wanted = product((limit, limit + 1), (limit - 1, limit), (limit // 2, limit // 2 + 1))
    assert {(e, c, k) for e, c, k in wanted if 1 <= k <= e and c <= e} <= known


def test_alternatives_are_what_an_or_joins() -> None:
    tree = parse("views == 0 or clicks > 3 and events > 1", "when", max_categories=64)
    assert [canonical(part) for part in alternatives(tree)] == [
        "views == 0",
        "clicks > 3 and events > 1",
    ]
    nested = parse("views == 0 or (clicks > 3 or events > 1)", "when", max_categories=64)
    assert [canonical(part) for part in alternatives(nested)] == [
        "views == 0",
        "clicks > 3",
        "events > 1",
    ]
    alone = parse("events > 1", "when", max_categories=64)
    assert alternatives(alone) == (alone,)
