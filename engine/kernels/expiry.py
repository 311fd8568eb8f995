"""{address: expiry} of the decisions that were written, so that none is ever shortened.

`admit` answers for each row of a batch whether it may be written, and how: until Redis has agreed
to one, an address goes through a script that compares with what Redis holds; then it need not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compiled import kernel
from engine.kernels.frozen import frozen
from engine.kernels.table import (
    EMPTY,
    FIRST_CAPACITY,
    capacity_for,
    empty_slots,
    find,
    larger,
    refill,
    resize,
)

SKIP, FIRST, AGAIN, UNSURE = range(4)


class ExpiryArrays(NamedTuple):
    """Keys, their expiry in unix seconds, and whether Redis has agreed to it.

    `slots` is at least twice as long, `used` is int64[1].
    """

    slots: NDArray[np.int32]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    expiry_s: NDArray[np.int64]
    agreed: NDArray[np.bool_]
    used: NDArray[np.int64]


def empty_expiries(capacity: int = FIRST_CAPACITY) -> ExpiryArrays:
    """Return room for `capacity` (a power of two) addresses."""
    words = (np.empty(capacity, np.uint64), np.empty(capacity, np.uint64))
    expiry_s, agreed = np.empty(capacity, np.int64), np.empty(capacity, np.bool_)
    return ExpiryArrays(empty_slots(capacity), *words, expiry_s, agreed, np.zeros(1, np.int64))


def make_room(table: ExpiryArrays, n: int, *, now_s: int, seed: np.uint64) -> None:
    """Let the table take n more addresses; where it is full, expired ones are dropped first."""
    used = int(table.used[0])
    if used + n <= len(table.high):
        return
    alive = table.expiry_s[:used] > now_s
    n_alive = int(np.count_nonzero(alive))
    capacity = max(larger(n_alive), n_alive + n, FIRST_CAPACITY)
    for column in (table.high, table.low, table.expiry_s, table.agreed):
        column[:n_alive] = column[:used][alive]
        resize(column, capacity)
    table.used[0] = n_alive
    resize(table.slots, 2 * capacity_for(capacity))
    table.slots.fill(EMPTY)
    refill(table.slots, table.high, table.low, n_alive, seed)


def admit(
    table: ExpiryArrays,
    seed: np.uint64,
    high: NDArray[np.uint64],
    low: NDArray[np.uint64],
    expiry_s: NDArray[np.int64],
    action: NDArray[np.uint8],
) -> None:
    """Set action[i] (uint8) to SKIP where a later expiry is known, else note this one.

    FIRST: the address is new here; UNSURE: Redis has not agreed to it yet; AGAIN: it has.
    high, low uint64[n], expiry_s int64[n]; the table must have room for n more addresses.
    """
    note_expiries(table, seed, frozen(high), frozen(low), frozen(expiry_s), action)


@kernel
def note_expiries(
    table: ExpiryArrays,
    seed: np.uint64,
    high: NDArray[np.uint64],
    low: NDArray[np.uint64],
    expiry_s: NDArray[np.int64],
    action: NDArray[np.uint8],
) -> None:
    """Do what `admit` says; its input is read-only."""
    for i in range(len(high)):
        index, at = find(table.slots, table.high, table.low, high[i], low[i], seed)
        if index == EMPTY:
            index = table.used[0]
            table.used[0] += 1
            table.slots[at] = index
            table.high[index], table.low[index] = high[i], low[i]
            table.expiry_s[index], table.agreed[index] = expiry_s[i], False
            action[i] = FIRST
        elif expiry_s[i] < table.expiry_s[index]:
            action[i] = SKIP
        else:
            table.expiry_s[index] = expiry_s[i]
            action[i] = AGAIN if table.agreed[index] else UNSURE


def agree(
    table: ExpiryArrays, seed: np.uint64, high: NDArray[np.uint64], low: NDArray[np.uint64]
) -> None:
    """Note that Redis holds the decisions of these addresses, uint64[n]; all are known here."""
    note_agreed(table, seed, frozen(high), frozen(low))


@kernel
def note_agreed(
    table: ExpiryArrays, seed: np.uint64, high: NDArray[np.uint64], low: NDArray[np.uint64]
) -> None:
    """Do what `agree` says; its input is read-only."""
    for i in range(len(high)):
        index, _ = find(table.slots, table.high, table.low, high[i], low[i], seed)
        table.agreed[index] = True
