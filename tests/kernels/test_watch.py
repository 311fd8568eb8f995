"""How addresses act over a range, against a plain dictionary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.watch import UNSEEN_S, nobody_watched, places_of, watch
from tests.kernels import sized

pytestmark = pytest.mark.kernels

SEED = np.uint64(5)


def words(ips: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the two words of each address."""
    return np.array([ip % 3 for ip in ips], np.uint64), np.array(ips, np.uint64)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(-50, 50)), max_size=12), max_size=4)
)
def test_each_address_is_watched_as_by_a_dictionary(batches):
    table, expected = nobody_watched(), {}
    for batch in batches:
        ips, times_s = [ip for ip, _ in batch], [time_s for _, time_s in batch]
        watch(table, SEED, *words(ips), np.array(times_s, np.int64))
        for ip, time_s in batch:
            expected.setdefault(ip, []).append(time_s)
    n = int(table.used[0])
    assert [int(row["low"]) for row in table.rows[:n]] == list(expected)
    for row, times_s in zip(table.rows[:n], expected.values(), strict=True):
        assert (row["first_s"], row["last_s"]) == (min(times_s), times_s[-1])
        assert row["events"] == len(times_s)
        gaps_s = [b - a for a, b in zip(times_s, times_s[1:], strict=False)]
        assert row["squared_gaps_s2"] == sum(gap * gap for gap in gaps_s)


def test_places_number_addresses_as_they_appear_however_many_there_are():
    n, table = sized(5_000, 200), nobody_watched()
    ips = [7 * i % n for i in range(n)]
    assert places_of(table, SEED, *words(ips)).tolist() == list(range(n))
    assert places_of(table, SEED, *words(ips[::-1])).tolist() == list(range(n))[::-1]
    assert (table.rows["first_s"][:n] == UNSEEN_S).all()
    watch(table, SEED, *words(ips[:1]), np.array([9], np.int64))
    assert (table.rows[0]["first_s"], table.rows[0]["events"]) == (9, 1)
    assert len(places_of(table, SEED, *words([]))) == 0
