"""task=sweep: thousands of sets of thresholds tried on what one pass has counted.

Each rule is judged for every combination of its own thresholds on the distinct counts alone; a set
takes one combination of each rule, so what it flags is an OR of rows of bits.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.history.aggregates import Aggregates, Counted
from engine.history.combinations import Combinations
from engine.kernels.grid import BITS, any_of, by_combination, flagged_by_set
from engine.kernels.judge import judge_rows
from engine.rule_programs import compiled
from engine.rule_thresholds import thresholds, with_thresholds
from engine.rules import Rule

BLOCK = 1 << 16  # addresses at a time: for 10,000 combinations of a rule twice 80 MB


class Surface(NamedTuple):
    """What every set flags.

    combinations: of each rule, the thresholds that are tried; sets int64[n, rules]: which of them a
    set has, `written` is the set as written; counts int64[n, 3]: bots, people and all addresses
    that it flags; totals int64[3]: how many there are.
    """

    rules: tuple[Rule, ...]
    combinations: list[Combinations]
    sets: NDArray[np.int64]
    written: int
    counts: NDArray[np.int64]
    totals: NDArray[np.int64]

    def values(self, index: int) -> list[tuple[float, ...]]:
        """Return the thresholds of a set, rule by rule."""
        return [self.combinations[r][k] for r, k in enumerate(self.sets[index])]


def surface(aggregates: Aggregates, combinations: list[Combinations], is_bot: pl.Series) -> Surface:
    """Return what every set flags; is_bot has the label of each place, or null."""
    rules = aggregates.tally.rules
    enforced = tuple(rule for rule in rules.rules if rule.mode == "enforce")
    kinds = {rule.window.length_s for rule in enforced}
    counted = {length_s: aggregates.counted(length_s) for length_s in kinds}
    held = [
        Held(counted[rule.window.length_s], judged(rule, combos, counted[rule.window.length_s]))
        for rule, combos in zip(enforced, combinations, strict=True)
    ]
    sizes = [len(combos) for combos in combinations]
    sets = np.array(list(itertools.product(*map(range, sizes))), np.int64)
    groups = np.stack(list(groups_of(is_bot)))
    counts = flagged_by_sets(sets, sizes, held, groups)
    written = [
        combos.index(tuple(thresholds(rule.tree)))
        for rule, combos in zip(enforced, combinations, strict=True)
    ]
    at = int(np.flatnonzero((sets == written).all(axis=1))[0])
    return Surface(enforced, combinations, sets, at, counts, groups.sum(axis=1))


class Held(NamedTuple):
    """The windows that a rule is judged over, by place, and which combinations hold for them.

    bits uint64[distinct counts, words]: as `any_of` takes them.
    """

    counted: Counted
    bits: NDArray[np.uint64]


def judged(rule: Rule, combos: Combinations, counted: Counted) -> NDArray[np.uint64]:
    """Return as bits which combinations of a rule hold for each of the distinct counts."""
    bits = np.empty((len(counted.events), (len(combos) + BITS - 1) // BITS), np.uint64)
    mask = np.empty(len(bits), np.uint64)
    for word, first in enumerate(range(0, len(combos), BITS)):
        trees = [with_thresholds(rule.tree, one) for one in combos[first : first + BITS]]
        judge_rows(compiled(trees), counted.events, counted.clicks, counted.categories, mask)
        bits[:, word] = mask
    return bits


def flagged_by_sets(
    sets: NDArray[np.int64],
    sizes: Sequence[int],
    held: Sequence[Held],
    groups: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return int64[n_sets, g]: how many addresses of each group a set flags, block by block.

    sizes: how many combinations each rule has; groups bool[g, addresses].
    """
    rows = sets + np.cumsum([0, *sizes[:-1]])
    counts = np.zeros((len(sets), len(groups)), np.int64)
    for first in range(0, groups.shape[1], BLOCK):
        block = groups[:, first : first + BLOCK]
        flags = [
            by_combination(held_in(one, first, block.shape[1]), size)
            for one, size in zip(held, sizes, strict=True)
        ]
        bits = np.stack([packed(group) for group in block])
        counts += flagged_by_set(rows, np.concatenate(flags), bits)
    return counts


def held_in(held: Held, first: int, n: int) -> NDArray[np.uint64]:
    """Return the combinations that hold in a window of each of n addresses."""
    start, end = np.searchsorted(held.counted.places, (first, first + n))
    places = held.counted.places[start:end] - first
    return any_of(places, held.counted.triples[start:end], held.bits, n)


def groups_of(is_bot: pl.Series) -> Iterator[NDArray[np.bool_]]:
    """Yield who is a bot, who is a person, and everybody."""
    yield is_bot.fill_null(value=False).to_numpy()
    yield (~is_bot).fill_null(value=False).to_numpy()
    yield np.ones(len(is_bot), np.bool_)


def packed(group: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the group as bits, 64 addresses a word."""
    padded = np.zeros((len(group) + BITS - 1) // BITS * BITS, np.bool_)
    padded[: len(group)] = group
    return np.packbits(padded, bitorder="little").view(np.uint64)
