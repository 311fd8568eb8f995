"""How each address acts over a whole range: first and last event, how many, how even the gaps.

One row an address, in the order of their first appearance; O(1) state however long the range is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Int
from engine.kernels.compiled import kernel
from engine.kernels.frozen import frozen
from engine.kernels.table import (
    AHEAD,
    EMPTY,
    FIRST_CAPACITY,
    empty_slots,
    find_from,
    grow_table,
    look_ahead,
)

WATCHED = np.dtype(
    [
        ("high", np.uint64),
        ("low", np.uint64),
        ("first_s", np.int64),
        ("last_s", np.int64),
        ("events", np.int64),
        ("squared_gaps_s2", np.float64),
    ]
)
UNSEEN_S = np.iinfo(np.int64).max


class WatchedArrays(NamedTuple):
    """Rows of WATCHED; `slots` is at least twice as long, `used` is int64[1]."""

    slots: NDArray[np.int32]
    rows: NDArray[np.void]
    used: NDArray[np.int64]


def nobody_watched() -> WatchedArrays:
    """Return a table without addresses."""
    rows = np.zeros(FIRST_CAPACITY, WATCHED)
    return WatchedArrays(empty_slots(FIRST_CAPACITY), rows, np.zeros(1, np.int64))


def watch(
    table: WatchedArrays,
    seed: np.uint64,
    high: NDArray[np.uint64],
    low: NDArray[np.uint64],
    time_s: NDArray[np.int64],
) -> None:
    """Note events in the order in which they came: high, low uint64[n], time_s int64[n]."""
    no_places = np.empty(0, np.int64)
    _in_turns(table, seed, (frozen(high), frozen(low)), frozen(time_s), no_places)


def places_of(
    table: WatchedArrays, seed: np.uint64, high: NDArray[np.uint64], low: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return the row of each address, int64[n]; one that is new is added, without an event."""
    places = np.empty(len(high), np.int64)
    _in_turns(table, seed, (frozen(high), frozen(low)), np.empty(0, np.int64), places)
    return places


def _in_turns(
    table: WatchedArrays,
    seed: np.uint64,
    words: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    time_s: NDArray[np.int64],
    places: NDArray[np.int64],
) -> None:
    done: Int = 0
    while (done := note(table, seed, words, time_s, places, done)) < len(words[0]):
        grow_table(table.slots, table.rows, seed)


@kernel
def note(
    table: WatchedArrays,
    seed: np.uint64,
    words: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    time_s: NDArray[np.int64],
    places: NDArray[np.int64],
    first: Int,
) -> Int:
    """Find or add words[first:]; note their events where there are times, their rows where asked.

    Returns the position at which the table was full, or n.
    """
    high, low = words
    highs, lows = table.rows["high"], table.rows["low"]
    begin, touched = np.empty(AHEAD, np.uint64), np.empty(AHEAD, np.int64)
    for i in range(first, len(high)):
        ahead = (i - first) % AHEAD
        if ahead == 0:
            look_ahead(table.slots, lows, high[i:], low[i:], seed, begin, touched)
        place, at = find_from(table.slots, highs, lows, high[i], low[i], begin[ahead])
        if place == EMPTY:
            if table.used[0] == len(table.rows):
                return i
            place = table.used[0]
            table.used[0] += 1
            table.slots[at] = place
            added = table.rows[place]
            added["high"], added["low"] = high[i], low[i]
            added["first_s"], added["last_s"] = UNSEEN_S, 0
            added["events"], added["squared_gaps_s2"] = 0, 0.0
        if len(places):
            places[i] = place
        if len(time_s):
            row, t = table.rows[place], time_s[i]
            if row["events"]:
                gap_s = float(abs(t - row["last_s"]))
                row["squared_gaps_s2"] += gap_s * gap_s
            row["events"] += 1
            row["first_s"] = min(row["first_s"], t)
            row["last_s"] = t
    return len(high)
