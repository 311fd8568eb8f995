"""Counting against dictionaries and sets: events, clicks, categories, crossings, limits, merges."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernels.accumulate import (
    Crossings,
    Early,
    accumulate,
    empty_crossings,
    first_crossing,
)
from engine.kernels.codes import N_CODES, Codes, code_of, empty_codes
from engine.kernels.fields import CLICK, VIEW
from engine.kernels.pane import PaneArrays, empty_pane, grow_pane
from engine.kernels.table import FIRST_CAPACITY
from engine.rules import RuleSet
from engine.windows import Window
from tests import logs, naive
from tests.doubles import rule_set
from tests.kernels import sized

pytestmark = pytest.mark.kernels

SEED = np.uint64(3)
PART_ROWS = 7
UNLIMITED = 10**9
RULES = rule_set(naive.ModelConfig(rules=logs.MONOTONE))
NO_RULES = RuleSet((), Window(10, 10))


def codes_with(n_used: int) -> Codes:
    """Return codes of which so many are taken by categories that no event has."""
    codes = empty_codes()
    for n in range(n_used):
        code_of(codes, 1_000_000 + n)
    return codes


NO_CODES_LEFT = codes_with(N_CODES)
"""All categories are in lists, as those beyond the first 64 are."""

Event = tuple[int, int, int]
"""Address, category, kind."""


def pane_of(
    events: list[Event],
    *,
    pane: PaneArrays | None = None,
    codes: Codes = NO_CODES_LEFT,
    max_categories: int = 64,
    budget: np.ndarray | None = None,
    rules: RuleSet = NO_RULES,
    seed: np.uint64 = SEED,
) -> tuple[PaneArrays, Crossings, int]:
    """Count events as the engine does, with more room where it is full; also return crossings."""
    pane = empty_pane() if pane is None else pane
    budget = np.array([UNLIMITED, 0], np.int64) if budget is None else budget
    low = np.array([address for address, _, _ in events], np.uint64)
    category = np.array([category for _, category, _ in events], np.int64)
    kind = np.array([kind for _, _, kind in events], np.uint8)
    columns = (low % np.uint64(3), low, category, kind)
    crossings = empty_crossings(len(events))
    mask = np.uint64(rules.monotone_mask)
    program = rules.program_of(rules.base)
    early = Early(program, mask, first_crossing(program, mask))
    limits = (budget, early, max_categories, crossings)
    row = n = 0
    while True:
        row, n = accumulate(pane, codes, seed, columns, row, *limits, n)
        if row == len(events):
            return pane, crossings, n
        grow_pane(pane, seed)


@dataclass
class Counted:
    """What is known of one address."""

    events: int = 0
    clicks: int = 0
    categories: set[int] = field(default_factory=set)

    def row(self, max_categories: int) -> tuple[int, int, int, int]:
        """Return events, clicks, categories and whether these are saturated."""
        n = len(self.categories)
        return self.events, self.clicks, min(n, max_categories), int(n > max_categories)


def model_of(events: list[Event]) -> dict[int, Counted]:
    """Count in plain Python, addresses in the order in which they come."""
    found: dict[int, Counted] = {}
    for address, category, kind in events:
        counted = found.setdefault(address, Counted())
        counted.events += 1
        counted.clicks += kind == CLICK
        counted.categories.add(category)
    return found


def rows_of(pane: PaneArrays) -> dict[int, tuple[int, int, int, int]]:
    """Return what a pane holds, addresses in the order of its keys."""
    parts = list(pane.counts(PART_ROWS))
    assert all(len(part.high) == PART_ROWS for part in parts[:-1])
    high, *columns, _ = ([n for part in parts for n in part[i].tolist()] for i in range(7))
    assert high == [low % 3 for low in columns[0]]
    rows = zip(*columns, strict=True)
    return {address: tuple(counts) for address, *counts in rows}


def counts_of(events: list[Event], max_categories: int) -> dict[int, tuple[int, int, int, int]]:
    """Return what a pane should hold."""
    return {ip: counted.row(max_categories) for ip, counted in model_of(events).items()}


kinds = st.sampled_from([VIEW, CLICK, 2])
categories = st.sampled_from([-(2**63), 2**63 - 1]) | st.integers(-3, 6)
events_drawn = st.lists(st.tuples(st.integers(0, 9), categories, kinds), max_size=60)


@given(events_drawn, st.integers(1, 8), st.integers(0, 60))
def test_counts_are_those_of_plain_python_in_one_go_or_two(events, max_categories, cut):
    pane, _, _ = pane_of(events[:cut], max_categories=max_categories)
    pane, _, _ = pane_of(events[cut:], pane=pane, max_categories=max_categories)
    assert list(rows_of(pane).items()) == list(counts_of(events, max_categories).items())


@given(events_drawn, st.integers(0, 2**64 - 1))
def test_seed_changes_no_count_and_no_order(events, seed):
    other, _, _ = pane_of(events, seed=np.uint64(seed))
    assert list(rows_of(other).items()) == list(counts_of(events, 64).items())


def test_pane_grows_by_doubling_to_many_addresses():
    n = sized(12_000, 300)
    events = [(address, address % 7 - 3, CLICK) for address in range(n) for _ in range(2)]
    pane, _, _ = pane_of(events)
    assert rows_of(pane) == dict.fromkeys(range(n), (2, 2, 1, 0))
    assert n <= len(pane.keys) < 2 * n
    assert len(pane.slots) == 2 * len(pane.keys)
    pane, _, _ = pane_of([(n, 1, VIEW)], pane=pane)
    assert rows_of(pane)[n] == (1, 0, 1, 0)


def test_categories_of_many_addresses_grow_in_one_pool():
    n, n_each = sized(500, 20), 40
    events = [(address, category, VIEW) for category in range(n_each) for address in range(n)]
    pane, _, _ = pane_of(events + events)
    assert rows_of(pane) == dict.fromkeys(range(n), (2 * n_each, 0, n_each, 0))
    assert pane.used[1] == n * n_each
    assert len(pane.pool) >= n * n_each > FIRST_CAPACITY


def test_categories_are_exact_to_their_maximum_and_cost_nothing_beyond():
    for n, expected in ((63, (63, 0)), (64, (64, 0)), (65, (64, 1)), (1_000, (64, 1))):
        pane, _, _ = pane_of([(1, category, VIEW) for category in range(n)] * 2)
        assert rows_of(pane) == {1: (2 * n, 0, *expected)}
        assert pane.used[1] <= 64


@given(events_drawn, st.integers(0, 10))
def test_addresses_beyond_the_budget_overflow_and_known_ones_stay_exact(events, n_keys):
    budget = np.array([n_keys, 0], np.int64)
    pane, _, _ = pane_of(events, budget=budget)
    known = list(model_of(events))[:n_keys]
    counted = [event for event in events if event[0] in known]
    assert rows_of(pane) == counts_of(counted, 64)
    assert budget.tolist() == [n_keys - len(known), len(events) - len(counted)]


@settings(max_examples=sized(100, 30))
@given(events_drawn, st.integers(1, 3), st.integers(0, 60))
def test_rule_crosses_at_the_event_at_which_it_first_holds(events, max_categories, cut):
    pane, before, n_before = pane_of(events[:cut], max_categories=max_categories, rules=RULES)
    got = crossings_of(before, n_before, 0)
    limits = {"max_categories": max_categories, "rules": RULES}
    _, after, n_after = pane_of(events[cut:], pane=pane, **limits)
    got += crossings_of(after, n_after, len(events[:cut]))
    expected, fired = [], {}
    for row in range(len(events)):
        address = events[row][0]
        counts = model_of(events[: row + 1])[address].row(max_categories)
        verdict = naive.Verdict(counts[0], counts[1], counts[0] - counts[1], counts[2])
        mask = sum(
            1 << bit
            for bit, rule in enumerate(RULES.rules)
            if naive.evaluate(rule.when, verdict.counts)
        )
        new_mask = mask & ~fired.get(address, 0)
        fired[address] = mask
        if new_mask:
            expected.append((row, mask, new_mask, *counts))
    assert got == expected


def crossings_of(crossings: Crossings, n: int, first_row: int) -> list[tuple[int, ...]]:
    """Return row, masks and counts of the first n crossings."""
    names = ("mask", "new_mask", "events", "clicks", "categories", "saturated")
    columns = [getattr(crossings, name)[:n].tolist() for name in names]
    rows = [first_row + row for row in crossings.row[:n].tolist()]
    return list(zip(rows, *columns, strict=True))
