"""The open-addressing table finds what was put in, and nothing else, wherever the seed puts it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.table import EMPTY, find, mix, refill
from tests.kernels import sized

pytestmark = pytest.mark.kernels

word = st.sampled_from([0, 1, 2, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
keys_drawn = st.lists(st.tuples(word, word), unique=True, max_size=32)


def table_of(keys: list[tuple[int, int]], seed: int, n_slots: int) -> tuple[np.ndarray, ...]:
    """Return slots, high and low words of a table with these keys."""
    slots = np.full(n_slots, EMPTY, np.int32)
    highs = np.array([high for high, _ in keys], np.uint64)
    lows = np.array([low for _, low in keys], np.uint64)
    refill(slots, highs, lows, len(keys), np.uint64(seed))
    return slots, highs, lows


def index_of(table: tuple[np.ndarray, ...], key: tuple[int, int], seed: int) -> tuple[int, int]:
    """Return what `find` says."""
    return find(*table, np.uint64(key[0]), np.uint64(key[1]), np.uint64(seed))


@given(keys_drawn, keys_drawn, st.integers(0, 2**64 - 1))
def test_keys_are_found_where_they_are_and_others_are_not(keys, others, seed):
    table = table_of(keys, seed, 64)
    for index, key in enumerate(keys):
        assert index_of(table, key, seed)[0] == index
    for key in set(others) - set(keys):
        index, at = index_of(table, key, seed)
        assert index == EMPTY
        assert table[0][at] == EMPTY


def test_keys_that_collide_are_still_told_apart():
    """Whatever the hash, in a table with one free slot nearly every key is out of its place."""
    keys = [(n * 2**40, n) for n in range(7)]
    table = table_of(keys, 5, 8)
    assert [index_of(table, key, 5)[0] for key in keys] == list(range(7))
    assert index_of(table, (1, 1), 5)[0] == EMPTY


def test_hashes_of_neighbours_fill_a_table_evenly():
    """Addresses of one network differ in a few low bits, and seeds place them anew."""
    n = sized(1 << 12, 1 << 9)
    base = 0xFFFF << 32 | 10 << 24
    for seed in (0, 1, 2**64 - 1):
        hashes = [int(mix(np.uint64(0), np.uint64(base + i), np.uint64(seed))) for i in range(n)]
        assert len(set(hashes)) == n
        n_taken = len({value % n for value in hashes})
        assert n_taken > n / 2
