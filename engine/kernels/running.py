"""The counters of a long window, kept up to date: a pane that closes is added, an old one leaves.

Of each category the last pane that saw it is known, so that distinct categories stay exact when
panes leave, and a slide costs as much as its panes hold, however long the window is. A category
with a code has its own place for it in a row; the others are lists in one pool. An address whose
events have all left keeps its row, empty, until the caller copies the others (`copy_rows`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Int
from engine.kernels.codes import N_CODES
from engine.kernels.compiled import kernel
from engine.kernels.pane import Counts, PaneArrays
from engine.kernels.table import (
    AHEAD,
    EMPTY,
    capacity_for,
    empty_slots,
    find,
    find_from,
    grow_table,
    larger,
    look_ahead,
    resize,
)

ROW = np.dtype(
    [
        ("high", np.uint64),
        ("low", np.uint64),
        ("coded", np.uint64),
        ("events", np.uint32),
        ("clicks", np.uint32),
        ("categories", np.uint32),
        ("head", np.int32),
        ("n_saturated", np.uint32),
    ],
    align=True,
)
SEEN = np.dtype([("value", np.int64), ("last_pane", np.int64), ("next", np.int32)], align=True)
N_ROWS, N_SEEN, FREE, N_EMPTY = range(4)
LOW_BITS = 0xFFFF


class RunningArrays(NamedTuple):
    """slots int32[2 n] -> rows ROW[n], whose `head` -> pool SEEN[m]; used int64[4].

    `used`: rows in use, pool entries ever used, the first free one of these or EMPTY, empty rows.
    `n_saturated` is in how many panes the address had more categories than are counted.
    last_pane uint16[n, N_CODES]: of the categories in `coded`, the pane's number modulo 2^16, which
    tells the panes of a window apart.
    """

    slots: NDArray[np.int32]
    rows: NDArray[np.void]
    last_pane: NDArray[np.uint16]
    pool: NDArray[np.void]
    used: NDArray[np.int64]


def empty_running(n_rows: int = 0) -> RunningArrays:
    """Return a table without rows, with room for about so many."""
    n = capacity_for(n_rows)
    return RunningArrays(
        slots=empty_slots(n),
        rows=np.empty(n, ROW),
        last_pane=np.empty((n, N_CODES), np.uint16),
        pool=np.empty(n, SEEN),
        used=np.array([0, 0, EMPTY, 0], np.int64),
    )


def grow_running(running: RunningArrays, seed: np.uint64) -> None:
    """Give the table more room in whichever part is full."""
    n_rows, n_seen, free, _ = running.used
    if free == EMPTY and n_seen == len(running.pool):
        resize(running.pool, larger(len(running.pool)))
    if n_rows == len(running.rows):
        grow_table(running.slots, running.rows, seed)
        running.last_pane.resize((len(running.rows), N_CODES), refcheck=False)


@kernel
def counts_of(
    running: RunningArrays, max_categories: int, first: Int, n: int
) -> tuple[Counts, Int]:
    """Return what n addresses with events have counted, and the row after the last of them.

    They are those from row `first` on, of which there must be so many.
    """
    counts = Counts(
        np.empty(n, np.uint64),
        np.empty(n, np.uint64),
        np.empty(n, np.uint32),
        np.empty(n, np.uint32),
        np.empty(n, np.uint32),
        np.empty(n, np.uint8),
        np.zeros(n, np.uint64),
    )
    i, index = 0, first
    while i < n:
        row = running.rows[index]
        index += 1
        if row["events"] == 0:
            continue
        counts.high[i], counts.low[i] = row["high"], row["low"]
        counts.events[i], counts.clicks[i] = row["events"], row["clicks"]
        counts.categories[i] = min(row["categories"], max_categories)
        counts.saturated[i] = row["n_saturated"] > 0 or row["categories"] > max_categories
        i += 1
    return counts, index


@kernel
def add_row(running: RunningArrays, high: np.uint64, low: np.uint64, at: np.uint64) -> Int:
    """Append an empty row whose place in slots is `at`; return its index."""
    index: Int = running.used[N_ROWS]
    running.used[N_ROWS] += 1
    running.used[N_EMPTY] += 1
    running.slots[at] = index
    row = running.rows[index]
    row["high"], row["low"] = high, low
    row["events"] = row["clicks"] = row["categories"] = row["n_saturated"] = 0
    row["coded"], row["head"] = 0, EMPTY
    return index


@kernel
def see(running: RunningArrays, index: Int, value: Int, pane: Int) -> bool:
    """Note that the pane has this category; return False where the pool has no room for it."""
    row = running.rows[index]
    at = row["head"]
    while at != EMPTY:
        if running.pool[at]["value"] == value:
            running.pool[at]["last_pane"] = pane
            return True
        at = running.pool[at]["next"]
    at = running.used[FREE]
    if at != EMPTY:
        running.used[FREE] = running.pool[at]["next"]
    elif running.used[N_SEEN] < len(running.pool):
        at = running.used[N_SEEN]
        running.used[N_SEEN] += 1
    else:
        return False
    entry = running.pool[at]
    entry["value"], entry["last_pane"], entry["next"] = value, pane, row["head"]
    row["head"] = at
    row["categories"] += 1
    return True


@kernel
def unsee(running: RunningArrays, index: Int, value: Int, pane: Int) -> None:
    """Drop this category if no later pane has seen it."""
    row = running.rows[index]
    before, at = np.int64(EMPTY), np.int64(row["head"])
    while running.pool[at]["value"] != value:
        before, at = at, np.int64(running.pool[at]["next"])
    entry = running.pool[at]
    if entry["last_pane"] != pane:
        return
    if before == EMPTY:
        row["head"] = entry["next"]
    else:
        running.pool[before]["next"] = entry["next"]
    entry["next"] = running.used[FREE]
    running.used[FREE] = at
    row["categories"] -= 1


@kernel
def lowest_bit(word: np.uint64) -> Int:
    """Return the place of the lowest bit of a word that is not 0, by halves."""
    place: Int = 0
    for half in (32, 16, 8, 4, 2, 1):
        if word & ((np.uint64(1) << np.uint64(half)) - np.uint64(1)) == 0:
            word >>= np.uint64(half)
            place += half
    return place


@kernel
def see_coded(running: RunningArrays, index: Int, coded: np.uint64, pane: Int) -> None:
    """Note that the pane has the categories with these codes."""
    row, last_pane = running.rows[index], running.last_pane[index]
    new = coded & ~row["coded"]
    row["coded"] |= coded
    while new:
        row["categories"] += 1
        new &= new - np.uint64(1)
    while coded:
        last_pane[lowest_bit(coded)] = pane & LOW_BITS
        coded &= coded - np.uint64(1)


@kernel
def unsee_coded(running: RunningArrays, index: Int, coded: np.uint64, pane: Int) -> None:
    """Drop those of these categories that no later pane has seen."""
    row, last_pane = running.rows[index], running.last_pane[index]
    while coded:
        code = lowest_bit(coded)
        if last_pane[code] == pane & LOW_BITS:
            row["coded"] &= ~(np.uint64(1) << np.uint64(code))
            row["categories"] -= 1
        coded &= coded - np.uint64(1)


@kernel
def add_pane(
    running: RunningArrays,
    pane: PaneArrays,
    number: Int,
    seed: np.uint64,
    first: Int,
) -> Int:
    """Add the keys of pane `number` from index `first` on; return where it was full, or n keys."""
    highs, lows = running.rows["high"], running.rows["low"]
    high, low = pane.keys["high"][: pane.used[0]], pane.keys["low"][: pane.used[0]]
    begin, touched = np.empty(AHEAD, np.uint64), np.empty(AHEAD, np.int64)
    for key in range(first, pane.used[0]):
        ahead = (key - first) % AHEAD
        if ahead == 0:
            look_ahead(running.slots, lows, high[key:], low[key:], seed, begin, touched)
        old = pane.keys[key]
        index, at = find_from(running.slots, highs, lows, old["high"], old["low"], begin[ahead])
        if index == EMPTY:
            if running.used[N_ROWS] == len(running.rows):
                return key
            index = add_row(running, old["high"], old["low"], at)
        see_coded(running, index, old["coded"], number)
        entry = old["head"]
        while entry != EMPTY:
            if not see(running, index, pane.pool[entry]["value"], number):
                return key
            entry = pane.pool[entry]["next"]
        row = running.rows[index]
        running.used[N_EMPTY] -= row["events"] == 0
        row["events"] += old["events"]
        row["clicks"] += old["clicks"]
        row["n_saturated"] += old["saturated"]
    n_keys: Int = pane.used[0]
    return n_keys


@kernel
def take_out_pane(running: RunningArrays, pane: PaneArrays, number: Int, seed: np.uint64) -> None:
    """Take the keys of pane `number` out again; those panes that were added before it are out."""
    highs, lows = running.rows["high"], running.rows["low"]
    high, low = pane.keys["high"][: pane.used[0]], pane.keys["low"][: pane.used[0]]
    begin, touched = np.empty(AHEAD, np.uint64), np.empty(AHEAD, np.int64)
    for key in range(pane.used[0]):
        ahead = key % AHEAD
        if ahead == 0:
            look_ahead(running.slots, lows, high[key:], low[key:], seed, begin, touched)
        old = pane.keys[key]
        index, _ = find_from(running.slots, highs, lows, old["high"], old["low"], begin[ahead])
        unsee_coded(running, index, old["coded"], number)
        entry = old["head"]
        while entry != EMPTY:
            unsee(running, index, pane.pool[entry]["value"], number)
            entry = pane.pool[entry]["next"]
        row = running.rows[index]
        row["events"] -= old["events"]
        row["clicks"] -= old["clicks"]
        row["n_saturated"] -= old["saturated"]
        running.used[N_EMPTY] += row["events"] == 0


@kernel
def copy_rows(running: RunningArrays, into: RunningArrays, seed: np.uint64, first: Int) -> Int:
    """Copy rows with events from index `first` on; return where `into` was full, or n rows."""
    highs, lows = into.rows["high"], into.rows["low"]
    for index in range(first, running.used[N_ROWS]):
        old = running.rows[index]
        if old["events"] == 0:
            continue
        target, at = find(into.slots, highs, lows, old["high"], old["low"], seed)
        if target == EMPTY:
            if into.used[N_ROWS] == len(into.rows):
                return index
            target = add_row(into, old["high"], old["low"], at)
        row = into.rows[target]
        row["coded"] = old["coded"]
        into.last_pane[target] = running.last_pane[index]
        entry = old["head"]
        while entry != EMPTY:
            seen = running.pool[entry]
            if not see(into, target, seen["value"], seen["last_pane"]):
                return index
            entry = seen["next"]
        row["events"], row["clicks"] = old["events"], old["clicks"]
        row["categories"] = old["categories"]
        row["n_saturated"] = old["n_saturated"]
        into.used[N_EMPTY] -= 1
    n_rows: Int = running.used[N_ROWS]
    return n_rows
