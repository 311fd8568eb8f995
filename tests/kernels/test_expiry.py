"""The expiry table against a dictionary: no decision is ever shortened."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernels import table as table_module
from engine.kernels.expiry import (
    AGAIN,
    FIRST,
    SKIP,
    UNSURE,
    ExpiryArrays,
    admit,
    agree,
    empty_expiries,
    make_room,
)
from engine.kernels.table import FIRST_CAPACITY, LARGE
from tests.kernels import sized

pytestmark = pytest.mark.kernels

SEED = np.uint64(11)
rows = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30)), max_size=12)
batches = st.lists(st.tuples(rows, st.lists(st.integers(0, 12)), st.integers(0, 30)), max_size=8)


def words(addresses: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the two words of addresses that are told apart by either of them."""
    low = np.array(addresses, np.uint64)
    return low % np.uint64(2), low


def admitted(table: ExpiryArrays, batch: list[tuple[int, int]]) -> list[int]:
    """Return the actions for (address, expiry) rows."""
    action = np.empty(len(batch), np.uint8)
    expiry_s = np.array([expiry for _, expiry in batch], np.int64)
    admit(table, SEED, *words([address for address, _ in batch]), expiry_s, action)
    return action.tolist()


def held(table: ExpiryArrays) -> dict[int, int]:
    """Return what the table knows."""
    n = int(table.used[0])
    return dict(zip(table.low[:n].tolist(), table.expiry_s[:n].tolist(), strict=True))


@given(batches)
def test_decision_is_written_unless_a_later_expiry_is_known(batches):
    table, known, agreed = empty_expiries(), {}, set()
    for batch, agreeing, _ in batches:
        expected = []
        for address, expiry_s in batch:
            before_s = known.get(address)
            if before_s is None:
                expected.append(FIRST)
            elif expiry_s < before_s:
                expected.append(SKIP)
            else:
                expected.append(AGAIN if address in agreed else UNSURE)
            known[address] = max(expiry_s, known.get(address, expiry_s))
        assert admitted(table, batch) == expected
        assert held(table) == known
        now_agreed = [address for address in agreeing if address in known]
        agree(table, SEED, *words(now_agreed))
        agreed.update(now_agreed)


@settings(max_examples=sized(50, 10))
@given(st.lists(st.integers(0, 500), max_size=200), st.integers(0, 500), st.integers(1, 300))
def test_table_makes_room_by_dropping_what_has_expired(expiries_s, now_s, n_more):
    table, n = empty_expiries(256), len(expiries_s)
    admitted(table, list(enumerate(expiries_s)))
    even = [address for address in range(n) if address % 2 == 0]
    agree(table, SEED, *words(even))
    make_room(table, n_more, now_s=now_s, seed=SEED)
    assert len(table.high) - table.used[0] >= n_more
    is_full = n + n_more > 256
    left = {address: s for address, s in enumerate(expiries_s) if s > now_s or not is_full}
    assert held(table) == left
    actions = admitted(table, list(left.items()))
    assert actions == [AGAIN if address % 2 == 0 else UNSURE for address in left]
    later = [(address, 1_000) for address in range(1_000, 1_000 + n_more)]
    assert admitted(table, later) == [FIRST] * n_more
    assert admitted(table, later) == [UNSURE] * n_more


@pytest.mark.parametrize("large", [LARGE, FIRST_CAPACITY])
def test_table_is_never_much_larger_than_the_addresses_that_it_holds(large, monkeypatch):
    monkeypatch.setattr(table_module, "LARGE", large)
    table, n = empty_expiries(), sized(100_000, 1_000)
    for first in range(0, n, n // 10):
        batch = [(address, 9) for address in range(first, first + n // 10)]
        make_room(table, len(batch), now_s=0, seed=SEED)
        assert admitted(table, batch) == [FIRST] * len(batch)
    assert table.used[0] == n
    assert n <= len(table.high) <= 2 * n
    assert 2 * len(table.high) <= len(table.slots) <= 8 * n
    assert set(admitted(table, [(address, 9) for address in range(n)])) == {UNSURE}
    make_room(table, len(table.high), now_s=9, seed=SEED)
    assert held(table) == {}
    make_room(table, 1, now_s=9, seed=SEED)
    assert admitted(table, [(n, 19)]) == [FIRST]
