"""Room in a pane: how much there is at first, and that growing in the middle changes no count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernels import table
from engine.kernels.fields import CLICK, VIEW
from engine.kernels.pane import PaneArrays, empty_pane, grow_pane
from engine.kernels.table import AHEAD, EMPTY, FIRST_CAPACITY, LARGE, find, look_ahead, mix
from tests.kernels import sized
from tests.kernels.test_accumulate import (
    RULES,
    SEED,
    Event,
    counts_of,
    crossings_of,
    pane_of,
    rows_of,
)

pytestmark = pytest.mark.kernels

MAX_CATEGORIES = 3
ROOMY = 2_000


def size_of(pane: PaneArrays) -> tuple[int, int, int]:
    """Return how many slots, keys and entries there is room for."""
    return len(pane.slots), len(pane.keys), len(pane.pool)


@pytest.mark.parametrize(
    ("n_keys", "room"),
    [(0, 1), (1, 1), (64, 1), (65, 2), (128, 2), (129, 4), (1_000, 16), (1_024, 16), (1_025, 32)],
)
def test_empty_pane_has_room_for_as_many_keys_in_a_power_of_two(n_keys, room):
    n = room * FIRST_CAPACITY
    pane = empty_pane(n_keys)
    assert size_of(pane) == (2 * n, n, n)
    assert (pane.slots == EMPTY).all()
    assert pane.used.tolist() == [0, 0]
    assert rows_of(pane) == {}


def test_pane_that_was_made_for_its_keys_does_not_grow():
    n_keys = sized(1_000, 200)
    events = [(address, 0, VIEW) for address in range(n_keys)]
    pane, _, _ = pane_of(events, pane=empty_pane(n_keys))
    assert size_of(pane) == size_of(empty_pane(n_keys))
    assert rows_of(pane) == counts_of(events, MAX_CATEGORIES)


def test_only_what_is_full_grows():
    for n_keys, n_entries, expected in (
        (FIRST_CAPACITY - 1, FIRST_CAPACITY - 1, (128, 64, 64)),
        (FIRST_CAPACITY - 1, FIRST_CAPACITY, (128, 64, 128)),
        (FIRST_CAPACITY, FIRST_CAPACITY - 1, (256, 128, 64)),
        (FIRST_CAPACITY, FIRST_CAPACITY, (256, 128, 128)),
    ):
        pane = empty_pane()
        pane.keys["high"], pane.keys["low"] = 0, np.arange(FIRST_CAPACITY)
        pane.used[:] = n_keys, n_entries
        grow_pane(pane, SEED)
        assert size_of(pane) == expected


# -- a block of events that are looked up ahead, and a pane that grows within it -------------------


def outcome_of(events: list[Event], pane: PaneArrays) -> tuple[list[tuple[int, ...]], object]:
    """Count into the pane; return crossings, and what the pane holds, in its order."""
    limits = {"max_categories": MAX_CATEGORIES, "rules": RULES}
    pane, crossings, n = pane_of(events, pane=pane, **limits)
    return crossings_of(crossings, n, 0), list(rows_of(pane).items())


def assert_growing_changes_nothing(events: list[Event]) -> None:
    """Compare a pane that grows as events come, by little or by much, with one that is large."""
    expected = outcome_of(events, empty_pane(ROOMY))
    assert expected[1] == list(counts_of(events, MAX_CATEGORIES).items())
    for large in (LARGE, FIRST_CAPACITY):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table, "LARGE", large)
            assert outcome_of(events, empty_pane()) == expected


def test_large_pane_grows_by_quarters_and_its_slots_by_doubling(monkeypatch):
    monkeypatch.setattr(table, "LARGE", 1)
    pane, _, _ = pane_of([(address, 0, VIEW) for address in range(129)])
    assert size_of(pane) == (512, 160, 156)


many_events = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 4), st.sampled_from([VIEW, CLICK])),
    min_size=AHEAD,
    max_size=5 * AHEAD,
)


@settings(max_examples=sized(100, 15))
@given(many_events)
def test_pane_that_grows_within_a_block_counts_as_a_large_one(events):
    assert_growing_changes_nothing(events)


@pytest.mark.parametrize("before", [0, 1, AHEAD // 2, AHEAD - 1, AHEAD, AHEAD + 1])
def test_pane_may_be_full_at_any_event_of_a_block(before):
    """Old addresses come again in front, so that the new one that is too many comes later."""
    known = [(address, 1, CLICK) for address in range(FIRST_CAPACITY - 1)]
    new = [(address, 2, VIEW) for address in range(1_000, 1_000 + 3 * AHEAD)]
    assert_growing_changes_nothing([*known, *[(7, 1, VIEW)] * before, *new, *known, *new])


def test_addresses_that_begin_at_one_slot_are_told_apart_in_a_block_and_after_growing():
    events = [(low, low % 4, CLICK) for low in colliding(AHEAD + 10) for _ in range(2)]
    assert_growing_changes_nothing([*events, *reversed(events)])


def colliding(n: int) -> list[int]:
    """Return addresses for which the search in an empty pane begins at the same slot."""
    mask, found, low = np.uint64(2 * FIRST_CAPACITY - 1), [], 0
    while len(found) < n:
        low += 1
        if mix(np.uint64(low % 3), np.uint64(low), SEED) & mask == 5:
            found.append(low)
    return found


def test_looking_ahead_says_where_each_search_begins_and_changes_nothing():
    pane, _, _ = pane_of([(address, 0, VIEW) for address in range(50)])
    low = np.arange(AHEAD, dtype=np.uint64)
    high, at, touched = low % np.uint64(3), np.zeros(AHEAD, np.uint64), np.zeros(AHEAD, np.int64)
    slots, highs, lows = pane.slots, pane.keys["high"], pane.keys["low"]
    before = slots.tolist()
    look_ahead(slots, lows, high, low, SEED, at, touched)
    assert slots.tolist() == before
    mask = np.uint64(len(slots) - 1)
    assert at.tolist() == [int(mix(*key, SEED) & mask) for key in zip(high, low, strict=True)]
    found = [find(slots, highs, lows, *key, SEED)[0] for key in zip(high, low, strict=True)]
    assert found == [*range(50), *[EMPTY] * (AHEAD - 50)]
