"""Sets of thresholds as bits, against Python's own sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.grid import BITS, any_of, by_combination, count_bits, flagged_by_set

pytestmark = pytest.mark.kernels

N_TRIPLES = 4


def bits_of(numbers: set[int], n_words: int) -> list[int]:
    """Return the numbers as bits of words."""
    return [sum(1 << n % BITS for n in numbers if n // BITS == word) for word in range(n_words)]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, N_TRIPLES - 1)), max_size=12),
    st.lists(st.sets(st.integers(0, 99)), min_size=N_TRIPLES, max_size=N_TRIPLES),
    st.integers(90, 100),
)
def test_an_address_has_the_combinations_of_all_its_windows(rows, held, n_combinations):
    places, triples = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
    bits = np.array([bits_of(one, 2) for one in held], np.uint64)
    found = any_of(places, triples, bits, 6)
    flags = by_combination(found, n_combinations)
    for k in range(n_combinations):
        wanted = {place for place, triple in rows if k in held[triple]}
        assert flags[k].tolist() == bits_of(wanted, 1)


@given(
    st.lists(st.sets(st.integers(0, 129)), min_size=4, max_size=4),
    st.lists(st.tuples(st.integers(0, 1), st.integers(2, 3)), min_size=1, max_size=5),
    st.lists(st.sets(st.integers(0, 129)), min_size=1, max_size=3),
)
def test_a_set_flags_whom_one_of_its_combinations_flags(addresses, sets, groups):
    packed = np.array([bits_of(one, 3) for one in addresses], np.uint64)
    members = np.array([bits_of(one, 3) for one in groups], np.uint64)
    found = flagged_by_set(np.array(sets, np.int64), packed, members)
    for row, chosen in zip(found.tolist(), sets, strict=True):
        flagged = addresses[chosen[0]] | addresses[chosen[1]]
        assert row == [len(flagged & group) for group in groups]


@given(st.integers(0, 2**64 - 1))
def test_bits_are_counted(word):
    assert count_bits(np.uint64(word)) == word.bit_count()
