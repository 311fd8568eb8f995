"""No address with fewer events than `first_crossing` says can make a monotone rule true."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernels.accumulate import first_crossing
from engine.kernels.fields import CLICK
from engine.kernels.judge import STACK_SIZE, judge_counts
from engine.rule_programs import Program, compiled
from engine.rule_trees import is_monotone
from tests import logs, naive
from tests.doubles import rule_set
from tests.kernels import sized
from tests.kernels.test_accumulate import crossings_of, pane_of
from tests.naive import ModelConfig, ModelRule
from tests.rule_texts import read

pytestmark = pytest.mark.kernels

MOST_EVENTS = 12
NEVER = 2**31 - 1

RULE_SETS = {
    "events": ["events > 3"],
    "clicks": ["clicks >= 5"],
    "views": ["views > 6"],
    "categories": ["categories > 4"],
    "first_event": ["events >= 1", "clicks > 50"],
    "always": ["events >= 0"],
    "the_lowest_of_some": ["clicks > 9", "categories >= 3 and events > 4", "views > 7"],
    "sum": ["clicks + views > 5", "clicks + categories >= 11"],
    "product": ["clicks * views > 11", "clicks * categories * events >= 50"],
    "quotient": ["events / 3 > 2", "events // 4 >= 2", "events * 0.5 > 3"],
    "choice": ["max(clicks, views) > 4", "min(clicks, views) >= 3", "min(events, categories) > 5"],
    "negated": ["not events < 6", "-events < -7", "9 < events", "2 - clicks < -4"],
    "beside_others": ["events > 5", "clicks > views", "events < 2", "categories == 1"],
    "far_away": ["events > 100000", "clicks >= 4000 or views * 2 > 7001"],
    "of_the_logs": [rule.when for rule in logs.MONOTONE],
}


def counts_up_to(n_events: int) -> Iterator[tuple[int, int, int]]:
    """Yield the events, clicks and categories that an address may have."""
    for events in range(n_events + 1):
        for clicks in range(events + 1):
            for categories in range(events + 1):
                yield events, clicks, categories


def fires(program: Program, mask: int, counts: tuple[int, int, int]) -> bool:
    """Whether a rule of the mask holds."""
    stack = np.empty(STACK_SIZE, np.float64)
    return bool(int(judge_counts(program, *counts, stack)) & mask)


def fewest_events(program: Program, mask: int) -> int:
    """Return the fewest events with which a rule of the mask holds, NEVER where more are needed."""
    found = (n[0] for n in counts_up_to(MOST_EVENTS) if fires(program, mask, n))
    return next(found, NEVER)


def enough_by_the_model(texts: list[str]) -> int:
    """Return the lowest n where one of these rules holds for 2 n events, as much as n can be."""
    n = 0
    while not any(
        naive.evaluate(text, {"events": 2 * n, "clicks": n, "views": n, "categories": n})
        for text in texts
    ):
        n += 1
    return n


@pytest.mark.parametrize("name", RULE_SETS)
def test_no_rule_holds_with_fewer_events(name):
    texts = RULE_SETS[name]
    rules = rule_set(
        ModelConfig(rules=tuple(ModelRule(f"r{i}", text) for i, text in enumerate(texts)))
    )
    mask, program = rules.monotone_mask, rules.program_of(rules.base)
    first = int(first_crossing(program, np.uint64(mask)))
    assert first <= fewest_events(program, mask)
    monotone = [text for i, text in enumerate(texts) if mask >> i & 1]
    assert len(monotone) == (1 if name == "beside_others" else len(texts))
    assert first == enough_by_the_model(monotone)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_rule_is_judged_at_the_very_first_event_that_could_make_it_true(n):
    rules = rule_set(ModelConfig(rules=(ModelRule("clicks", f"clicks >= {n}"),)))
    assert first_crossing(rules.program_of(rules.base), np.uint64(1)) == n
    _, crossings, n_crossings = pane_of([(7, 0, CLICK)] * 9, rules=rules)
    assert crossings_of(crossings, n_crossings, 0) == [(n - 1, 1, 1, n, n, 1, 0)]


@pytest.mark.parametrize("text", ["events > 4294967295", "categories > 1e12", "clicks > 1e300"])
def test_rule_that_no_count_reaches_is_never_looked_at(text):
    program = compiled([read(text)])
    assert first_crossing(program, np.uint64(1)) == NEVER


def test_no_rules_are_never_looked_at():
    assert first_crossing(compiled([]), np.uint64(0)) == NEVER
    assert first_crossing(compiled([read("events > 0")]), np.uint64(0)) == NEVER


names = st.sampled_from(["events", "clicks", "views", "categories"])
forms = ["{} + {}", "{} * {}", "({} + {}) / 3", "max({}, {})", "min({}, {})", "({} + {}) // 2"]
numbers = names | st.builds(str.format, st.sampled_from(forms), names, names)
limits = st.integers(0, 30).map(str)
comparisons = st.builds(str.format, st.sampled_from(["{} > {}", "{} >= {}"]), numbers, limits)
joined = st.lists(comparisons, min_size=1, max_size=3)
rule_texts = st.builds(str.join, st.sampled_from([" and ", " or "]), joined)


@settings(max_examples=sized(200, 15))
@given(st.lists(rule_texts, min_size=1, max_size=3))
def test_no_drawn_rule_holds_with_fewer_events(texts):
    trees = [read(text) for text in texts]
    assert all(is_monotone(tree) for tree in trees)
    program, mask = compiled(trees), (1 << len(trees)) - 1
    assert int(first_crossing(program, np.uint64(mask))) <= fewest_events(program, mask)
