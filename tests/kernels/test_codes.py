"""Codes of categories against a dict, and counts that are the same whatever has a code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.codes import N_CODES, code_of, empty_codes
from engine.kernels.table import EMPTY
from tests.kernels.test_accumulate import codes_with, counts_of, events_drawn, pane_of, rows_of

pytestmark = pytest.mark.kernels

values = st.integers(-(2**63), 2**63 - 1) | st.integers(-40, 80)


@given(st.lists(values, max_size=200))
def test_codes_are_given_in_turn_until_there_are_no_more_and_never_change(drawn):
    codes, known = empty_codes(), {}
    for value in drawn + drawn:
        if len(known) < N_CODES:
            known.setdefault(value, len(known))
        assert code_of(codes, np.int64(value)) == known.get(value, EMPTY)
    assert codes.values[: len(known)].tolist() == list(known)


@given(events_drawn, st.integers(1, 8), st.integers(0, N_CODES))
def test_counts_do_not_depend_on_which_categories_have_a_code(events, max_categories, n_used):
    codes = codes_with(n_used)
    pane, _, _ = pane_of(events, codes=codes, max_categories=max_categories)
    assert list(rows_of(pane).items()) == list(counts_of(events, max_categories).items())


def test_categories_with_a_code_need_no_room_in_the_pool():
    events = [(1, category, 0) for category in range(N_CODES + 6)]
    pane, _, _ = pane_of(events, codes=empty_codes(), max_categories=100)
    assert rows_of(pane) == {1: (N_CODES + 6, 0, N_CODES + 6, 0)}
    assert pane.used.tolist() == [1, 6]
