"""task=lint: what it finds is so, and what is sound is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings

from engine.history.lint import alternatives, holds, points_around
from engine.rule_expressions import parse
from engine.rule_trees import canonical
from tests import naive
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
    argv = [sys.executable, "-m", "engine", *said, f"report.json={folder}/found.json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
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
    assert alternatives(parse("events > 1", "when", max_categories=64))[0]
