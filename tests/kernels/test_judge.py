"""The judge kernel against the model's reading of the same rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engine.config import RuleConf
from engine.kernels.judge import STACK_SIZE, floor_divide, judge_counts, judge_rows
from engine.rule_programs import Program, compiled
from engine.rules import RuleSet, load_rules
from engine.windows import Window
from tests.naive_rules import evaluate
from tests.rule_texts import EXPRESSIONS, read

pytestmark = pytest.mark.kernels

PRESETS = Path(__file__).parents[2] / "conf" / "rules"
LARGEST_COUNT = 2**32 - 1
FLOATS = st.floats(allow_nan=False, allow_infinity=False)

Counts = tuple[int, int, int]
"""Events, clicks, categories."""


def program_of(*texts: str) -> Program:
    return compiled([read(when) for when in texts])


def masks(program: Program, rows: list[Counts]) -> list[int]:
    """Judge all rows at once and each alone; both must say the same."""
    events, clicks, categories = np.array(rows, np.uint32).reshape(-1, 3).T.copy()
    out = np.empty(len(rows), np.uint64)
    stack = np.full(STACK_SIZE + 1, -7.0)
    with np.errstate(all="ignore"):  # uncompiled, NumPy warns of what float64 does by definition
        judge_rows(program, events, clicks, categories, out)
        alone = [int(judge_counts(program, *row, stack)) for row in rows]
    assert stack[STACK_SIZE] == -7.0
    assert alone == out.tolist()
    return alone


def expected(texts: list[str], row: Counts) -> int:
    events, clicks, categories = row
    views = events - clicks
    counts = {"events": events, "clicks": clicks, "views": views, "categories": categories}
    return sum(evaluate(when, counts) << i for i, when in enumerate(texts))


def loaded(preset: str, **limits: float) -> RuleSet:
    """Load a preset as it is configured, with other limits where given."""
    text = (PRESETS / f"{preset}.yaml").read_text(encoding="utf-8")
    conf: dict[str, Any] = yaml.safe_load(text)
    for name, limit in (conf["limits"] | limits).items():
        text = text.replace(f"${{rules.limits.{name}}}", str(limit))
    rules = [RuleConf(**rule) for rule in yaml.safe_load(text)["rules"]]
    return load_rules(rules, base=Window(10, 10), default_ttl_s=600, max_categories=64)


def reasons(
    rules: RuleSet, *, events: int, clicks: int = 0, categories: int = 1
) -> tuple[str, ...]:
    return rules.reasons(masks(rules.program_of(rules.base), [(events, clicks, categories)])[0])


@st.composite
def count_rows(draw: st.DrawFn) -> list[Counts]:
    """Draw rows that a pane can hold: clicks are events, and categories are not more than these."""
    top = draw(st.sampled_from([3, 40, LARGEST_COUNT]))
    rows = draw(st.lists(st.tuples(*[st.integers(0, top)] * 3), min_size=1, max_size=8))
    return [(a, min(a, b), min(a, c)) for a, b, c in rows]


@given(st.lists(EXPRESSIONS, min_size=1, max_size=4), count_rows())
def test_the_kernel_says_what_the_model_says(texts, rows):
    assert masks(program_of(*texts), rows) == [expected(texts, row) for row in rows]


@pytest.mark.parametrize(
    "when",
    [
        "events + clicks > 15",
        "events - clicks < 7",
        "clicks * views == 21",
        "clicks / views != 2",
        "clicks // views >= 2",
        "events % 7 <= 2",
        "-events < -9",
        "abs(clicks - events) == 3",
        "max(views, clicks, 5) > 6",
        "min(views, clicks, 2) < 3",
        "not views > 2",
        "events > 5 and clicks > 5 and views > 5",
        "events < 5 or clicks < 5 or categories < 5",
        "1 < views < clicks <= events",
        "(events - (clicks - (views - (categories - 1)))) * 2 > 0.5 * (events + 0.25)",
        "1 < 2",
        "0.3 // 0.1 == 2 and events % 0.1 < 0.1 and -clicks // 0.7 > -11",
        "events // 1e300 == 0 and -events // 1e300 == -1",
        "events * 1e300 * 1e300 * 1e300 // 1 > 5 or events > 4",
    ],
)
@pytest.mark.parametrize("row", [(0, 0, 0), (1, 1, 1), (10, 7, 4), (LARGEST_COUNT, 9, 64)])
def test_every_operation_is_that_of_the_model(when, row):
    assert masks(program_of(when), [row]) == [expected([when], row)]


@pytest.mark.parametrize("divided", ["events / views", "events // views", "events % views"])
@pytest.mark.parametrize("zero", ["== 0", "<= 0", "> -1"])
def test_dividing_by_zero_gives_zero(divided, zero):
    assert masks(program_of(f"{divided} {zero}"), [(5, 5, 1)]) == [1]


@given(FLOATS, FLOATS)
def test_floor_division_is_that_of_python_for_all_floats(left, right):
    with np.errstate(all="ignore"):
        assert floor_divide(left, right) == (left // right if right else 0.0)


@given(st.integers(-100, 100), st.integers(-100, 100), st.sampled_from([1.0, 0.1, 2.0**46]))
def test_floor_division_is_that_of_python_on_the_edge_of_a_whole_result(left, right, scale):
    left, right = left * scale, right * scale
    assert floor_divide(left, right) == (left // right if right else 0.0)


def test_sixty_four_rules_fill_the_mask():
    program = program_of(*[f"events >= {i}" for i in range(64)])
    assert masks(program, [(0, 0, 0), (62, 0, 0), (63, 0, 0)]) == [1, 2**63 - 1, 2**64 - 1]


def test_a_set_without_rules_answers_with_no_bits():
    assert masks(compiled([]), [(1, 1, 1)]) == [0]


def test_the_deepest_expression_fits_the_stack():
    nested = "events - (" * 30 + "clicks" + ")" * 30
    assert masks(program_of(f"{nested} == 3"), [(10, 3, 1)]) == [1]


@pytest.mark.parametrize("kind", [np.uint16, np.uint32])
@pytest.mark.parametrize("writeable", [False, True])
def test_arrays_may_be_read_only_and_categories_narrow(kind, writeable):
    program = Program(*(array.copy() for array in program_of("events > 10", "categories > 2")))
    counts = [np.array([11, 5], np.uint32), np.zeros(2, np.uint32), np.array([2, 3], kind)]
    for array in (*program, *counts):
        array.flags.writeable = writeable
    out = np.zeros(2, np.uint64)
    judge_rows(program, *counts, out)
    assert out.tolist() == [0b01, 0b10]


@pytest.mark.parametrize("preset", ["seed", "fast"])
@pytest.mark.parametrize("limit", [10, 10.0])
def test_a_preset_flags_more_than_ten_events_and_more_than_ten_categories(preset, limit):
    rules = loaded(preset, events=limit, categories=limit)
    assert reasons(rules, events=10, categories=10) == ()
    assert reasons(rules, events=11, categories=10) == ("event_rate",)
    assert reasons(rules, events=11, categories=11) == ("event_rate", "categories_rate")


@pytest.mark.parametrize(
    ("clicks", "views", "preset", "flagged"),
    [
        (1, 0, "seed", True),
        (6, 2, "seed", False),
        (7, 2, "seed", False),
        (8, 2, "seed", True),
        (1, 0, "fast", False),
        (4, 0, "fast", False),
        (5, 0, "fast", True),
        (3, 1, "fast", False),
        (6, 2, "fast", False),
        (7, 2, "fast", True),
    ],
)
def test_a_preset_flags_by_its_own_ratio_of_clicks_and_views(clicks, views, preset, flagged):
    expected_reasons = ("click_view_rate",) if flagged else ()
    assert reasons(loaded(preset), events=clicks + views, clicks=clicks) == expected_reasons


@pytest.mark.parametrize("preset", ["seed", "fast"])
def test_the_limits_of_a_preset_move_its_rules(preset):
    rules = loaded(preset, events=2.5, click_view_ratio=1.5, categories=0)
    assert reasons(rules, events=2, clicks=1, categories=0) == ()
    every_rule = ("event_rate", "click_view_rate", "categories_rate")
    assert reasons(rules, events=6, clicks=4) == every_rule
