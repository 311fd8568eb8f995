"""Open-addressing tables over addresses: slots point into dense arrays, which only ever grow.

A key is two words (see `address`). The seed only places it, so no collision merges two addresses
and nothing that is read out in key order depends on the process. Load is at most one half.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Int
from engine.kernels.compiled import kernel

EMPTY = -1
FIRST_CAPACITY = 64
LARGE = 1 << 20
AHEAD = 64


def capacity_for(n_keys: int) -> int:
    """Return the room, a power of two, of a table for about so many keys."""
    return max(FIRST_CAPACITY, 1 << max(n_keys - 1, 0).bit_length())


def empty_slots(capacity: int) -> NDArray[np.int32]:
    """Return the slots of a table with that room."""
    return np.full(2 * capacity, EMPTY, np.int32)


def resize(column: NDArray[Any], capacity: int) -> None:
    """Give an array another length where it is: a large one is moved by its pages, not copied.

    So there are never two of them, which would be the most memory that a table ever takes. No view
    of the array may be in use.
    """
    column.resize(capacity, refcheck=False)


def larger(capacity: int) -> int:
    """Return the next room: twice as much, or a quarter more where that is a lot."""
    return 2 * capacity if capacity < LARGE else capacity + capacity // 4


def grow_table(slots: NDArray[np.int32], rows: NDArray[np.void], seed: np.uint64) -> None:
    """Give full rows more room, and the slots where these are no more than twice as many."""
    n = len(rows)
    if len(slots) == 2 * n:
        resize(slots, 2 * len(slots))
        slots.fill(EMPTY)
        refill(slots, rows["high"], rows["low"], n, seed)
    resize(rows, min(larger(n), len(slots) // 2))


@kernel
def mix(high: np.uint64, low: np.uint64, seed: np.uint64) -> np.uint64:
    """Return a 64-bit hash of the key (multiply and fold, constants of MurmurHash3's finaliser)."""
    h = (low ^ seed) * np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h = (h ^ high) * np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@kernel
def find(
    slots: NDArray[np.int32],
    highs: NDArray[np.uint64],
    lows: NDArray[np.uint64],
    high: np.uint64,
    low: np.uint64,
    seed: np.uint64,
) -> tuple[Int, np.uint64]:
    """Return (index of the key or EMPTY, position in slots where it is or would go)."""
    at = mix(high, low, seed) & np.uint64(len(slots) - 1)
    return find_from(slots, highs, lows, high, low, at)


@kernel
def find_from(
    slots: NDArray[np.int32],
    highs: NDArray[np.uint64],
    lows: NDArray[np.uint64],
    high: np.uint64,
    low: np.uint64,
    at: np.uint64,
) -> tuple[Int, np.uint64]:
    """Return the same as `find`, from the position at which the search begins."""
    mask = np.uint64(len(slots) - 1)
    while True:
        index = slots[at]
        if index == EMPTY or (lows[index] == low and highs[index] == high):
            return index, at
        at = (at + np.uint64(1)) & mask


@kernel
def refill(
    slots: NDArray[np.int32],
    highs: NDArray[np.uint64],
    lows: NDArray[np.uint64],
    n_keys: Int,
    seed: np.uint64,
) -> None:
    """Place the first n_keys keys into `slots`, which must be all EMPTY and large enough."""
    mask = np.uint64(len(slots) - 1)
    for index in range(n_keys):
        at = mix(highs[index], lows[index], seed) & mask
        while slots[at] != EMPTY:
            at = (at + np.uint64(1)) & mask
        slots[at] = index


@kernel
def look_ahead(
    slots: NDArray[np.int32],
    lows: NDArray[np.uint64],
    high: NDArray[np.uint64],
    low: NDArray[np.uint64],
    seed: np.uint64,
    at: NDArray[np.uint64],
    touched: NDArray[np.int64],
) -> None:
    """Write to at[i] where the search for each of the next keys begins, and touch what is there.

    These loads do not wait for one another, as those of the later work do, so that their cache
    misses overlap: half of the time at 2 M addresses. `touched` only keeps them from being left
    out. at uint64[AHEAD], touched int64[AHEAD]; high and low are all the keys that are left.
    """
    mask = np.uint64(len(slots) - 1)
    n = min(len(high), AHEAD)
    for i in range(n):
        at[i] = mix(high[i], low[i], seed) & mask
        touched[i] = slots[at[i]]
    for i in range(n):
        if touched[i] != EMPTY:
            touched[i] = np.int64(lows[touched[i]])
