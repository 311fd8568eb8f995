"""Count events into a pane, and judge the rules that may decide before their window closes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Int
from engine.kernels.codes import Codes
from engine.kernels.compiled import kernel
from engine.kernels.fields import CLICK
from engine.kernels.judge import STACK_SIZE, judge_counts
from engine.kernels.pane import PaneArrays, add_category, add_key
from engine.kernels.table import AHEAD, EMPTY, find_from, look_ahead
from engine.rule_programs import Program

EventColumns = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint8]]


class Early(NamedTuple):
    """The rules that are judged after each event: those of `mask`.

    None of them holds for an address with fewer events than `first_events`.
    """

    program: Program
    mask: np.uint64
    first_events: np.uint32


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


def first_crossing(program: Program, mask: np.uint64) -> np.uint32:
    """Return a number of events that is not too high for `Early.first_events`.

    The rules of the mask are monotone: where even 2 n events, n of them clicks and n views, in n
    categories are not enough, n events never are.
    """
    few, many = 0, 2**31 - 1
    stack = np.empty(STACK_SIZE, np.float64)
    while few < many:
        n = (few + many) // 2
        if judge_counts(program, 2 * n, n, n, stack) & mask:
            many = n
        else:
            few = n + 1
    return np.uint32(few)


@kernel
def accumulate(
    pane: PaneArrays,
    codes: Codes,
    seed: np.uint64,
    rows: EventColumns,
    first: Int,
    budget: NDArray[np.int64],
    early: Early,
    max_categories: int,
    out: Crossings,
    n_out: Int,
) -> tuple[Int, Int]:
    """Count rows[first:] into the pane and judge the early rules after each event.

    rows = (high uint64[n], low uint64[n], category int64[n], kind uint8[n]); budget = how many new
    keys may still be added (int64[2]: the rest of it, and how many rows overflowed it);
    out: `Crossings` with room for n more. Returns (row where the pane was full or n, n_out).
    """
    high, low, category, kind = rows
    stack = np.empty(STACK_SIZE, np.float64)
    highs, lows = pane.keys["high"], pane.keys["low"]
    begin, touched = np.empty(AHEAD, np.uint64), np.empty(AHEAD, np.int64)
    for i in range(first, len(high)):
        ahead = (i - first) % AHEAD
        if ahead == 0:
            look_ahead(pane.slots, lows, high[i:], low[i:], seed, begin, touched)
        key, at = find_from(pane.slots, highs, lows, high[i], low[i], begin[ahead])
        if key == EMPTY:
            if budget[0] == 0:
                budget[1] += 1
                continue
            if pane.used[0] == len(pane.keys) or pane.used[1] == len(pane.pool):
                return i, n_out
            key = add_key(pane, high[i], low[i], at)
            budget[0] -= 1
        if not add_category(pane, codes, key, category[i], max_categories):
            return i, n_out
        row = pane.keys[key]
        row["events"] += 1
        row["clicks"] += kind[i] == CLICK
        waiting = early.mask & ~row["fired"]
        if waiting == 0 or row["events"] < early.first_events:
            continue
        mask = waiting & judge_counts(
            early.program, row["events"], row["clicks"], row["categories"], stack
        )
        if mask == 0:
            continue
        row["fired"] |= mask
        out.row[n_out], out.key[n_out] = i, key
        out.mask[n_out], out.new_mask[n_out] = row["fired"], mask
        out.events[n_out], out.clicks[n_out] = row["events"], row["clicks"]
        out.categories[n_out], out.saturated[n_out] = row["categories"], row["saturated"]
        n_out += 1
    return len(high), n_out
