"""Trees of rules: their normal text, and the proof that a rule cannot turn false."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.rule_trees import canonical, is_monotone
from tests.naive_rules import evaluate
from tests.rule_texts import EXPRESSIONS, read

NAMES = ("events", "clicks", "views", "categories")
LARGEST_COUNT = 2**32 - 1


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ("events>10.0", "events > 10"),
        ("  events\n  >\n  10\n", "events > 10"),
        ("((events)) > (2 * 3 + 0x0a)", "events > 16"),
        ("clicks // views > 1_000.5", "clicks // views > 1000.5"),
        ("(events + 1) * 2 > -(3)", "(events + 1) * 2 > -3"),
        ("events + (1 * views) > 7 // 0", "events + 1 * views > 0"),
        ("events - (clicks - views) > 1e300", "events - (clicks - views) > 1e+300"),
        ("(events - clicks) - views > 1e-5", "events - clicks - views > 1e-05"),
        ("(1 < events) and (not (views > 2))", "1 < events and not views > 2"),
        ("not (events > 1 and (views > 2))", "not (events > 1 and views > 2)"),
        ("(events > 1 or views > 1) and clicks>1", "(events > 1 or views > 1) and clicks > 1"),
        ("events > 1 or (views > 1 and clicks>1)", "events > 1 or views > 1 and clicks > 1"),
        ("1<events<=max( views,abs(-clicks) )", "1 < events <= max(views, abs(-clicks))"),
        ("-(events + 1) < max(2, 3)", "-(events + 1) < 3"),
    ],
)
def test_the_normal_text_of_an_expression(when, text):
    assert canonical(read(when)) == text


@given(EXPRESSIONS)
def test_the_normal_text_reads_back_as_the_same_tree(when):
    tree = read(when)
    assert read(canonical(tree)) == tree


@pytest.mark.parametrize(
    "when",
    [
        "events > 10",
        "10 < events",
        "5 <= clicks",
        "0 < events and categories > 3 or views >= 2",
        "not events <= 10",
        "not (events < 3 or -clicks > -5)",
        "3 < clicks > 4",
        "events + 2 * clicks - 10 > 5",
        "-2 * clicks < -10",
        "events * clicks > 100",
        "(events - 5) * 2 > 4",
        "events / 2 > 3",
        "events / -2 < -3",
        "events // 3 > 2",
        "-events // 3 < -2",
        "max(events, clicks, 5) >= 6",
        "min(events, 20) > 10",
        "abs(events) > 3",
        "abs(-3 - events) > 5",
        "1 < 2",
        "1 == 1 and events > 1",
    ],
)
def test_a_rule_that_cannot_turn_false_is_proved_monotone(when):
    assert is_monotone(read(when))


@pytest.mark.parametrize(
    "when",
    [
        "views == 0 or clicks // views > 3",
        "events >= 5 and clicks / max(views, 1) > 3",
        "events < 10",
        "events == 10",
        "events != 10",
        "not events > 10",
        "events > clicks",
        "5 < events < 10",
        "events - clicks > 3",
        "-2 * clicks > -10",
        "(events - 5) * clicks > 4",
        "(events - 5) * (clicks - 5) > 4",
        "10 / events < 1",
        "events / 0 < 1 and events % 3 > 1",
        "abs(events - 5) > 2",
        "clicks / views > 3",
        "events * 1e300 // 1 > 5",
        "events * 1e300 - events * 1e300 >= 0",
        "0 * (events * 1e308) >= 0",
    ],
)
def test_a_rule_that_may_turn_false_is_not_called_monotone(when):
    assert not is_monotone(read(when))


GROWTH = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(0, 3))), min_size=1)
JUMPS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(0, 2**31))), max_size=2)


@given(EXPRESSIONS, GROWTH, JUMPS)
def test_a_monotone_rule_never_turns_from_true_to_false(when, growth, jumps):
    assume(is_monotone(read(when)))
    counts = dict.fromkeys(NAMES, 0)
    fired = evaluate(when, counts)
    for step in growth + jumps:
        counts = {name: min(counts[name] + step[name], LARGEST_COUNT) for name in NAMES}
        fires = evaluate(when, counts)
        assert fires or not fired
        fired = fires
