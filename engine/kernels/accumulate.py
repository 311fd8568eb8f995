"""The counters of one pane: events, clicks and distinct categories of each address.

`PaneArrays` is plain arrays; a kernel that finds no room returns the row where it stopped and the
caller doubles (`grown`). Distinct categories are linked lists in one pool, exact up to a maximum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from engine.kernels.address import Int
from engine.kernels.fields import CLICK
from engine.kernels.judge import STACK_SIZE, judge_counts
from engine.kernels.table import EMPTY, FIRST_CAPACITY, find, refill
from engine.rule_programs import Program


class PaneArrays(NamedTuple):
    """One entry a key, but `slots` (twice as many), the category pool and `used`.

    Counts are uint32: 2^32 events of one address need 1.2 million a second for an hour.
    `used` is int64[2]: keys in use, pool entries in use.
    """

    slots: NDArray[np.int32]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    events: NDArray[np.uint32]
    clicks: NDArray[np.uint32]
    categories: NDArray[np.uint32]
    saturated: NDArray[np.uint8]
    fired: NDArray[np.uint64]
    head: NDArray[np.int32]
    pool_value: NDArray[np.int64]
    pool_next: NDArray[np.int32]
    used: NDArray[np.int64]


EventColumns = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint8]]


class Crossings(NamedTuple):
    """Rows at which a monotone rule first held: `new_mask`; `mask` is all that fired so far."""

    row: NDArray[np.int64]
    key: NDArray[np.int64]
    mask: NDArray[np.uint64]
    new_mask: NDArray[np.uint64]
    events: NDArray[np.uint32]
    clicks: NDArray[np.uint32]
    categories: NDArray[np.uint32]
    saturated: NDArray[np.uint8]


KEY_COLUMNS = ("high", "low", "events", "clicks", "categories", "saturated", "fired", "head")


def empty_pane() -> PaneArrays:
    """Return a pane without keys."""
    n = FIRST_CAPACITY
    return PaneArrays(
        slots=np.full(2 * n, EMPTY, np.int32),
        high=np.empty(n, np.uint64),
        low=np.empty(n, np.uint64),
        events=np.zeros(n, np.uint32),
        clicks=np.zeros(n, np.uint32),
        categories=np.zeros(n, np.uint32),
        saturated=np.zeros(n, np.uint8),
        fired=np.zeros(n, np.uint64),
        head=np.full(n, EMPTY, np.int32),
        pool_value=np.empty(n, np.int64),
        pool_next=np.empty(n, np.int32),
        used=np.zeros(2, np.int64),
    )


def empty_crossings(n: int) -> Crossings:
    """Return room for n crossings."""
    return Crossings(
        row=np.empty(n, np.int64),
        key=np.empty(n, np.int64),
        mask=np.empty(n, np.uint64),
        new_mask=np.empty(n, np.uint64),
        events=np.empty(n, np.uint32),
        clicks=np.empty(n, np.uint32),
        categories=np.empty(n, np.uint32),
        saturated=np.empty(n, np.uint8),
    )


def grown(pane: PaneArrays, seed: np.uint64) -> PaneArrays:
    """Return the pane with twice the room in whichever part is full."""
    n_keys, n_entries = pane.used
    if n_entries == len(pane.pool_value):
        pane = _with_doubled(pane, ("pool_value", "pool_next"))
    if n_keys == len(pane.high):
        pane = _with_doubled(pane, KEY_COLUMNS)
        pane = pane._replace(slots=np.full(2 * len(pane.slots), EMPTY, np.int32))
        refill(pane.slots, pane.high, pane.low, n_keys, seed)
    return pane


def _with_doubled(pane: PaneArrays, names: Sequence[str]) -> PaneArrays:
    columns: dict[str, Any] = {name: _doubled(getattr(pane, name)) for name in names}
    return pane._replace(**columns)


def _doubled(array: NDArray[np.generic]) -> NDArray[np.generic]:
    larger = np.zeros(2 * len(array), array.dtype)
    larger[: len(array)] = array
    return larger


@njit(cache=True, nogil=True)
def add_key(pane: PaneArrays, high: np.uint64, low: np.uint64, at: np.uint64) -> Int:
    """Append a key whose place in slots is `at`; return its index."""
    index: Int = pane.used[0]
    pane.used[0] += 1
    pane.slots[at] = index
    pane.high[index], pane.low[index] = high, low
    pane.events[index] = pane.clicks[index] = pane.categories[index] = 0
    pane.saturated[index] = 0
    pane.fired[index] = 0
    pane.head[index] = EMPTY
    return index


@njit(cache=True, nogil=True)
def add_category(pane: PaneArrays, key: Int, value: Int, max_categories: int) -> bool:
    """Count `value` once for the key; return False where the pool has no room for it."""
    entry = pane.head[key]
    while entry != EMPTY:
        if pane.pool_value[entry] == value:
            return True
        entry = pane.pool_next[entry]
    if pane.categories[key] >= max_categories:
        pane.saturated[key] = 1
        return True
    entry = pane.used[1]
    if entry == len(pane.pool_value):
        return False
    pane.used[1] += 1
    pane.pool_value[entry] = value
    pane.pool_next[entry] = pane.head[key]
    pane.head[key] = entry
    pane.categories[key] += 1
    return True


@njit(cache=True, nogil=True)
def accumulate(
    pane: PaneArrays,
    seed: np.uint64,
    rows: EventColumns,
    first: int,
    budget: NDArray[np.int64],
    program: Program,
    early_mask: np.uint64,
    max_categories: int,
    out: Crossings,
    n_out: int,
) -> tuple[int, int]:
    """Count rows[first:] into the pane and judge monotone rules after each event.

    rows = (high uint64[n], low uint64[n], category int64[n], kind uint8[n]); budget = how many new
    keys may still be added (int64[2]: the rest of it, and how many rows overflowed it);
    out: `Crossings` with room for n more. Returns (row where the pane was full or n, n_out).
    """
    high, low, category, kind = rows
    stack = np.empty(STACK_SIZE, np.float64)
    for i in range(first, len(high)):
        key, at = find(pane.slots, pane.high, pane.low, high[i], low[i], seed)
        if key == EMPTY:
            if budget[0] == 0:
                budget[1] += 1
                continue
            if pane.used[0] == len(pane.high) or pane.used[1] == len(pane.pool_value):
                return i, n_out
            key = add_key(pane, high[i], low[i], at)
            budget[0] -= 1
        if not add_category(pane, key, category[i], max_categories):
            return i, n_out
        pane.events[key] += 1
        pane.clicks[key] += kind[i] == CLICK
        waiting = early_mask & ~pane.fired[key]
        if waiting == 0:
            continue
        mask = waiting & judge_counts(
            program, pane.events[key], pane.clicks[key], pane.categories[key], stack
        )
        if mask == 0:
            continue
        pane.fired[key] |= mask
        out.row[n_out], out.key[n_out] = i, key
        out.mask[n_out], out.new_mask[n_out] = pane.fired[key], mask
        out.events[n_out], out.clicks[n_out] = pane.events[key], pane.clicks[key]
        out.categories[n_out] = pane.categories[key]
        out.saturated[n_out] = pane.saturated[key]
        n_out += 1
    return len(high), n_out


@njit(cache=True, nogil=True)
def merge(
    into: PaneArrays, pane: PaneArrays, seed: np.uint64, first: Int, max_categories: int
) -> Int:
    """Add the keys of `pane` from index `first` on; return where `into` was full, or n keys."""
    for key in range(first, pane.used[0]):
        target, at = find(into.slots, into.high, into.low, pane.high[key], pane.low[key], seed)
        if target == EMPTY:
            if into.used[0] == len(into.high):
                return key
            target = add_key(into, pane.high[key], pane.low[key], at)
        entry = pane.head[key]
        while entry != EMPTY:
            if not add_category(into, target, pane.pool_value[entry], max_categories):
                return key
            entry = pane.pool_next[entry]
        into.events[target] += pane.events[key]
        into.clicks[target] += pane.clicks[key]
        into.saturated[target] |= pane.saturated[key]
    n_keys: Int = pane.used[0]
    return n_keys
