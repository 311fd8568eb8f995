"""The counters of one pane: events, clicks and distinct categories of each address.

Plain arrays; what finds no room is left to the caller, who makes some (`grow_pane`). All of one
address is one row of 48 bytes, since where many addresses are open, cache misses are all that
counts. Distinct categories are bits of their codes, those without a code linked lists in one pool;
both together are exact up to a maximum.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Int
from engine.kernels.codes import Codes, code_of
from engine.kernels.compiled import kernel
from engine.kernels.table import EMPTY, capacity_for, empty_slots, grow_table, larger, resize

# Counts are uint32: 2^32 events of one address need 1.2 million a second for an hour.
KEY = np.dtype(
    [
        ("high", np.uint64),
        ("low", np.uint64),
        ("fired", np.uint64),
        ("coded", np.uint64),
        ("events", np.uint32),
        ("clicks", np.uint32),
        ("head", np.int32),
        ("categories", np.uint16),
        ("saturated", np.uint8),
    ],
    align=True,
)
ENTRY = np.dtype([("value", np.int64), ("next", np.int32)], align=True)


class Counts(NamedTuple):
    """What a window has counted, one entry an address; `fired` are rules that decided early."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    events: NDArray[np.uint32]
    clicks: NDArray[np.uint32]
    categories: NDArray[np.uint32]
    saturated: NDArray[np.uint8]
    fired: NDArray[np.uint64]


class PaneArrays(NamedTuple):
    """slots int32[2 n] -> keys KEY[n], whose `head` -> pool ENTRY[m]; used int64[2].

    `used` is how many keys and how many entries of the pool are in use.
    """

    slots: NDArray[np.int32]
    keys: NDArray[np.void]
    pool: NDArray[np.void]
    used: NDArray[np.int64]

    @property
    def n_keys(self) -> int:
        """Keys held."""
        return int(self.used[0])

    def counts(self, max_rows: int) -> Iterator[Counts]:
        """Yield what is counted, as arrays of their own of up to so many addresses."""
        for first in range(0, self.n_keys, max_rows):
            keys = self.keys[first : min(first + max_rows, self.n_keys)]
            columns: dict[str, Any] = {name: keys[name].copy() for name in Counts._fields}
            yield Counts(**columns)._replace(categories=keys["categories"].astype(np.uint32))


def empty_pane(n_keys: int = 0) -> PaneArrays:
    """Return a pane without keys, with room for about as many."""
    n = capacity_for(n_keys)
    return PaneArrays(
        slots=empty_slots(n),
        keys=np.empty(n, KEY),
        pool=np.empty(n, ENTRY),
        used=np.zeros(2, np.int64),
    )


def grow_pane(pane: PaneArrays, seed: np.uint64) -> None:
    """Give the pane more room in whichever part is full."""
    n_keys, n_entries = pane.used
    if n_entries == len(pane.pool):
        resize(pane.pool, larger(len(pane.pool)))
    if n_keys == len(pane.keys):
        grow_table(pane.slots, pane.keys, seed)


@kernel
def add_key(pane: PaneArrays, high: np.uint64, low: np.uint64, at: np.uint64) -> Int:
    """Append a key whose place in slots is `at`; return its index."""
    index: Int = pane.used[0]
    pane.used[0] += 1
    pane.slots[at] = index
    row = pane.keys[index]
    row["high"], row["low"] = high, low
    row["events"] = row["clicks"] = row["categories"] = 0
    row["saturated"] = row["fired"] = row["coded"] = 0
    row["head"] = EMPTY
    return index


@kernel
def is_listed(pane: PaneArrays, at: Int, value: Int) -> bool:
    """Whether the list that begins at an entry of the pool has this category."""
    while at != EMPTY:
        if pane.pool[at]["value"] == value:
            return True
        at = pane.pool[at]["next"]
    return False


@kernel
def add_category(pane: PaneArrays, codes: Codes, key: Int, value: Int, max_categories: int) -> bool:
    """Count `value` once for the key; return False where the pool has no room for it."""
    row, code = pane.keys[key], code_of(codes, value)
    bit = np.uint64(0) if code == EMPTY else np.uint64(1) << np.uint64(code)
    if row["coded"] & bit or (code == EMPTY and is_listed(pane, row["head"], value)):
        return True
    if row["categories"] >= max_categories:
        row["saturated"] = 1
        return True
    if code != EMPTY:
        row["coded"] |= bit
        row["categories"] += 1
        return True
    at = pane.used[1]
    if at == len(pane.pool):
        return False
    pane.used[1] += 1
    entry = pane.pool[at]
    entry["value"] = value
    entry["next"] = row["head"]
    row["head"] = at
    row["categories"] += 1
    return True
