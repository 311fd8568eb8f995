"""What a rule says of counts: the truth of the model, and how much would have to change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rule_margins import Finding, finding, parts_of
from tests import naive_rules
from tests.rule_texts import EXPRESSIONS, read

COUNTS = st.integers(0, 12) | st.integers(0, 2**32 - 1)
NAMES = ("events", "clicks", "views", "categories")


def found(when: str, **counts: int) -> Finding:
    """Return what a rule says of counts, 0 where they are not given."""
    return finding(parts_of(read(when)), dict.fromkeys(NAMES, 0) | counts)


def said(when: str, **counts: int) -> list[tuple[Any, ...]]:
    """Return the comparisons in short: text, value, limit, what is missing."""
    return [
        (f"{one.left} {one.symbol} {one.right}", one.value, one.limit, one.missing)
        for one in found(when, **counts).comparisons
    ]


@settings(max_examples=500)
@given(EXPRESSIONS, st.tuples(COUNTS, COUNTS, COUNTS, COUNTS))
def test_a_rule_holds_where_the_model_says_so(when: str, counts: tuple[int, ...]) -> None:
    named = dict(zip(NAMES, counts, strict=True))
    result = finding(parts_of(read(when)), named)
    assert result.holds is naive_rules.evaluate(when, named)
    assert result.comparisons
    assert all(one.holds is result.holds for one in result.comparisons)
    assert result.relative == 0 or not result.holds


@given(st.sampled_from([">", ">=", "<", "<=", "=="]), st.integers(0, 50), st.integers(0, 50))
def test_what_is_missing_is_the_least_change_that_helps(symbol: str, n: int, limit: int) -> None:
    [one] = found(f"events {symbol} {limit}", events=n).comparisons
    changed = [n + step * sign for step in range(60) for sign in (1, -1)]
    wanted = [m for m in changed if naive_rules.evaluate(f"m {symbol} {limit}", {"m": m})]
    assert one.missing == min(abs(m - n) for m in wanted)
    assert one.holds is (one.missing == 0)


def test_the_sides_are_values_at_the_counts() -> None:
    assert said("clicks > 1.5 * views", clicks=20, views=3) == [
        ("clicks > 1.5 * views", 20.0, 4.5, 0.0)
    ]
    assert said("clicks / max(views, 1) > 3", clicks=3) == [
        ("clicks / max(views, 1) > 3", 3.0, 3.0, 0.0)
    ]
    [one] = found("clicks / max(views, 1) > 3", clicks=3).comparisons
    assert not one.holds
    assert one.is_open


def test_of_a_conjunction_that_fails_the_failing_parts_are_told() -> None:
    when = "events > 10 and clicks >= 8 and views < 5"
    assert said(when, events=7, clicks=8, views=9) == [
        ("events > 10", 7.0, 10.0, 4.0),
        ("views < 5", 9.0, 5.0, 5.0),
    ]
    assert found(when, events=7, clicks=8, views=9).relative == 1.0


def test_of_an_alternative_the_nearest_is_told() -> None:
    when = "events > 99 or clicks > 9 and categories > 4"
    assert said(when, events=20, clicks=8, categories=4) == [
        ("clicks > 9", 8.0, 9.0, 2.0),
        ("categories > 4", 4.0, 4.0, 1.0),
    ]


def test_of_an_alternative_that_holds_what_holds_is_told() -> None:
    assert said("events > 9 or clicks > 9", events=10, clicks=2) == [("events > 9", 10, 9, 0)]


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        ("not events > 3", ["events <= 3"]),
        ("not (events > 3 or clicks > 2)", ["events <= 3", "clicks <= 2"]),
        ("not not events > 30", ["events > 30"]),
        ("2 < events < 4", ["events < 4"]),
        ("30 < events", ["events > 30"]),
    ],
)
def test_not_and_chains_become_comparisons(when: str, wanted: list[str]) -> None:
    result = found(when, events=7, clicks=5)
    assert not result.holds
    assert [f"{one.left} {one.symbol} {one.right}" for one in result.comparisons] == wanted


def test_a_limit_of_nothing_is_measured_in_ones() -> None:
    assert found("views == 0", views=3).relative == 3.0
