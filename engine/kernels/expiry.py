"""{address: expiry} of the decisions that were written, so that none is ever shortened.

`admit` answers for each row of a batch whether it may be written, and how: the first write of an
address goes through a script that compares with what Redis holds, later ones need not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from engine.kernels.table import EMPTY, FIRST_CAPACITY, find

SKIP, FIRST, AGAIN = 0, 1, 2


class ExpiryArrays(NamedTuple):
    """Keys and their expiry in unix seconds; `slots` is twice as long, `used` is int64[1]."""

    slots: NDArray[np.int32]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    expiry_s: NDArray[np.int64]
    used: NDArray[np.int64]


def empty_expiries(capacity: int = FIRST_CAPACITY) -> ExpiryArrays:
    """Return room for `capacity` (a power of two) addresses."""
    words = (np.empty(capacity, np.uint64), np.empty(capacity, np.uint64))
    slots = np.full(2 * capacity, EMPTY, np.int32)
    return ExpiryArrays(slots, *words, np.empty(capacity, np.int64), np.zeros(1, np.int64))


def with_room(table: ExpiryArrays, n: int, *, now_s: int, seed: np.uint64) -> ExpiryArrays:
    """Return a table that takes n more addresses; expired ones are dropped when it is rebuilt."""
    used = int(table.used[0])
    if used + n <= len(table.high):
        return table
    alive = np.flatnonzero(table.expiry_s[:used] > now_s)
    capacity = FIRST_CAPACITY
    while capacity < 2 * (len(alive) + n):
        capacity *= 2
    larger = empty_expiries(capacity)
    action = np.empty(len(alive), np.uint8)
    admit(larger, seed, table.high[alive], table.low[alive], table.expiry_s[alive], action)
    return larger


@njit(cache=True, nogil=True)
def admit(
    table: ExpiryArrays,
    seed: np.uint64,
    high: NDArray[np.uint64],
    low: NDArray[np.uint64],
    expiry_s: NDArray[np.int64],
    action: NDArray[np.uint8],
) -> None:
    """Set action[i] (uint8) to SKIP where a later expiry is known, else note this one.

    high, low uint64[n], expiry_s int64[n]; the table must have room for n more addresses.
    """
    for i in range(len(high)):
        index, at = find(table.slots, table.high, table.low, high[i], low[i], seed)
        if index == EMPTY:
            index = table.used[0]
            table.used[0] += 1
            table.slots[at] = index
            table.high[index], table.low[index] = high[i], low[i]
            table.expiry_s[index] = expiry_s[i]
            action[i] = FIRST
        elif expiry_s[i] < table.expiry_s[index]:
            action[i] = SKIP
        else:
            table.expiry_s[index] = expiry_s[i]
            action[i] = AGAIN
