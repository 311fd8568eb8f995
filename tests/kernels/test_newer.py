"""Rows behind the highest offset of their partition, against a dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.frozen import frozen
from engine.kernels.newer import mark_newer

pytestmark = pytest.mark.kernels

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**63 - 1) | st.integers(0, 9)))


@given(rows, st.lists(st.integers(-1, 9), min_size=4, max_size=4))
def test_newer_rows_are_those_of_a_dictionary(rows, highest):
    known, expected = dict(enumerate(highest)), []
    for partition, offset in rows:
        expected.append(offset > known[partition])
        known[partition] = max(known[partition], offset)
    partition, offset = np.array([*zip(*rows, strict=True)] or [[], []], np.int64)
    raised, newer = np.array(highest, np.int64), np.empty(len(rows), np.bool_)
    n_newer = mark_newer(frozen(partition.astype(np.int32)), frozen(offset), raised, newer)
    assert (newer.tolist(), n_newer) == (expected, sum(expected))
    assert raised.tolist() == list(known.values())
