"""A window that runs along with its panes against sets and sums over the panes that it holds."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.running import RunningWindow
from engine.kernels.codes import N_CODES, Codes
from engine.kernels.fields import CLICK, VIEW
from engine.kernels.pane import PaneArrays
from tests.kernels import sized
from tests.kernels.test_accumulate import NO_CODES_LEFT, Event, codes_with, model_of, pane_of

pytestmark = pytest.mark.kernels

SEED = np.uint64(11)
MAX_CATEGORIES, PART_ROWS = 4, 3

Rows = dict[int, tuple[int, int, int, int]]
"""Address -> events, clicks, categories, saturated."""

kinds = st.sampled_from([VIEW, CLICK])
pane_events = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 6), kinds), max_size=25)


def rows_of(running: RunningWindow) -> Rows:
    """Return what a window has counted; no address twice."""
    parts = list(running.counts(PART_ROWS, MAX_CATEGORIES))
    assert all(len(part.high) == PART_ROWS for part in parts[:-1])
    assert sum(len(part.high) for part in parts) == running.n_keys
    high, low, *columns, _ = ([n for part in parts for n in part[i].tolist()] for i in range(7))
    assert high == [address % 3 for address in low]
    assert len(set(low)) == len(low)
    return {address: tuple(row) for address, *row in zip(low, *columns, strict=True)}


def expected(panes: dict[int, list[Event]], first: int, last: int) -> Rows:
    """Count the panes from first to last in plain Python."""
    events = [event for number in range(first, last + 1) for event in panes.get(number, [])]
    return {ip: counted.row(MAX_CATEGORIES) for ip, counted in model_of(events).items()}


def arrays_of(panes: dict[int, list[Event]], codes: Codes = NO_CODES_LEFT) -> dict[int, PaneArrays]:
    """Count each pane as the engine does."""
    return {
        number: pane_of(events, codes=codes, max_categories=MAX_CATEGORIES, seed=SEED)[0]
        for number, events in panes.items()
    }


def window_of(arrays: dict[int, PaneArrays], first: int, last: int) -> dict[int, PaneArrays]:
    """Return the panes of one window."""
    return {number: pane for number, pane in arrays.items() if first <= number <= last}


@settings(max_examples=sized(200, 40))
@given(
    st.dictionaries(st.integers(-3, 12), pane_events, max_size=10),
    st.integers(1, 5),
    st.lists(st.integers(1, 6), min_size=1, max_size=8),
    st.sampled_from([0, N_CODES - 2, N_CODES]),
)
def test_each_window_counts_what_its_panes_hold(panes, n_panes, steps, n_used):
    codes, first = codes_with(n_used), -8
    running, arrays = RunningWindow(SEED), arrays_of(panes, codes)
    for step in steps:
        first += step
        last = first + n_panes - 1
        running.move_to(window_of(arrays, first, last), first)
        assert rows_of(running) == expected(panes, first, last)


@settings(max_examples=sized(50, 20))
@given(st.lists(pane_events, min_size=4, max_size=8), st.integers(0, 3), st.sampled_from([0, 64]))
def test_making_the_table_anew_changes_nothing(panes, after, n_used):
    running, numbered = RunningWindow(SEED), dict(enumerate(panes))
    arrays = arrays_of(numbered, codes_with(n_used))
    for first in range(len(panes) - 2):
        running.move_to(window_of(arrays, first, first + 2), first)
        assert rows_of(running) == expected(numbered, first, first + 2)
        if first == after:
            running.compact()


def test_many_addresses_come_and_go_and_the_table_stays_small():
    n, running = sized(3_000, 150), RunningWindow(SEED)
    panes = defaultdict(
        list,
        {
            pane: [(pane * n + i, (i + k) % 9, CLICK) for i in range(n) for k in range(2)]
            for pane in range(8)
        },
    )
    arrays = arrays_of(panes)
    for first in range(7):
        running.move_to(window_of(arrays, first, first + 1), first)
        assert rows_of(running) == expected(panes, first, first + 1)
    assert running.n_rows <= 4 * n
