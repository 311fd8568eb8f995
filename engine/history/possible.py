"""Counts that a window can hold, around the numbers of rules: where a search for a witness looks.

Every count of few events is among them, and of more events those near the rules' own numbers. What
holds at none of them may still hold elsewhere, so this finds witnesses and proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.history.aggregates import Counted
from engine.kernels.judge import judge_rows
from engine.rule_programs import compiled
from engine.rule_trees import Binary, Bool, Call, Compare, Number, Tree, Unary

ALL_UP_TO = 24  # events: up to here every count is tried
USUAL_EVENTS = (32, 50, 100, 1_000, 100_000, 10_000_000, 1_000_000_000)
CLICK_SHARES = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
MOST_EVENTS = 2.0**31


class Points(NamedTuple):
    """Counts of windows, uint32[n] each."""

    events: NDArray[np.uint32]
    clicks: NDArray[np.uint32]
    categories: NDArray[np.uint32]

    def and_recorded(self, counted: Counted) -> Points:
        """Return these points and the counts that windows of a range have had."""
        recorded = (counted.events, counted.clicks, counted.categories)
        return Points(*(np.concatenate(pair) for pair in zip(self, recorded, strict=True)))


def holds(tree: Tree, at: Points | Counted) -> NDArray[np.bool_]:
    """Return where a rule holds, by the kernel that judges in a run."""
    mask = np.empty(len(at.events), np.uint64)
    judge_rows(compiled([tree]), at.events, at.clicks, at.categories, mask)
    return mask.astype(np.bool_)


def points_around(trees: Sequence[Tree], *, max_categories: int) -> Points:
    """Return counts around every number of these rules, each of them possible and there once."""
    numbers = {n for tree in trees for n in numbers_in(tree) if 0 <= n < MOST_EVENTS}
    near = np.unique([int(n) + step for n in numbers for step in (-1, 0, 1, 2)]).astype(np.int64)
    many = {n for n in (*near.tolist(), *USUAL_EVENTS) if n > ALL_UP_TO}
    blocks = [all_of(n, max_categories) for n in range(1, ALL_UP_TO + 1)]
    blocks += [some_of(n, near, max_categories) for n in sorted(many)]
    return Points(*np.concatenate(blocks, axis=1).astype(np.uint32))


def all_of(n_events: int, max_categories: int) -> NDArray[np.int64]:
    """Return int64[3, n]: all counts that a window of so many events can have."""
    categories = np.arange(1, min(n_events, max_categories) + 1)
    return crossed(n_events, np.arange(n_events + 1), categories)


def some_of(n_events: int, near: NDArray[np.int64], max_categories: int) -> NDArray[np.int64]:
    """Return those with clicks, views or categories near the numbers, or with usual shares."""
    shares = np.rint(n_events * np.array(CLICK_SHARES)).astype(np.int64)
    clicks = np.unique(np.concatenate([shares, near, n_events - near]))
    most = min(n_events, max_categories)
    categories = np.unique([*near.tolist(), 1, 2, most // 2, most])
    return crossed(
        n_events,
        clicks[(clicks >= 0) & (clicks <= n_events)],
        categories[(categories >= 1) & (categories <= most)],
    )


def crossed(
    n_events: int, clicks: NDArray[np.int64], categories: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return int64[3, n]: each of the clicks with each of the categories."""
    pairs = np.meshgrid([n_events], clicks, categories, indexing="ij")
    return np.stack([column.ravel() for column in pairs])


def numbers_in(tree: Tree) -> Iterator[float]:
    """Yield every number of an expression."""
    match tree:
        case Number(value):
            yield value
        case Unary(_, operand):
            yield from numbers_in(operand)
        case Binary(_, left, right):
            yield from (*numbers_in(left), *numbers_in(right))
        case Call(_, parts) | Compare(_, parts) | Bool(_, parts):
            for part in parts:
                yield from numbers_in(part)
