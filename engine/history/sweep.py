"""task=sweep: thousands of sets of thresholds tried on what one pass has counted.

Each rule is judged for every combination of its own thresholds on the distinct counts alone; a set
takes one combination of each rule, so what it flags is an OR of rows of bits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.history.aggregates import Aggregates, Counted
from engine.kernels.grid import BITS, any_of, by_combination, flagged_by_set
from engine.kernels.judge import judge_rows
from engine.rule_expressions import parse
from engine.rule_programs import compiled
from engine.rule_thresholds import thresholds, with_thresholds
from engine.rule_trees import canonical
from engine.rules import Rule, RuleSet

WIDEST = 4.0  # a threshold is tried from a quarter of what is written to four times as much
Combinations = list[tuple[float, ...]]


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


def combinations_of(
    rules: RuleSet, said: dict[str, object], *, n_sets: int, max_categories: int
) -> list[Combinations]:
    """Return for each rule the combinations to try, the written one always among them.

    said: the values that the user has named, by rule; the thresholds of other rules then stay.
    """
    enforced = [rule for rule in rules.rules if rule.mode == "enforce"]
    known = {rule.name for rule in enforced}
    for name in said:
        if name not in known:
            problem = f"no enforced rule has this name; there are {', '.join(sorted(known))}"
            raise ConfigError(key=f"sweep.values.{name}", problem=problem)
    n_values = _values_each(enforced, n_sets)
    found = []
    for rule in enforced:
        written = thresholds(rule.tree)
        lists = _said_values(rule.name, said.get(rule.name), written)
        if not said:
            lists = list(map(around, written, n_values[rule.name]))
        found.append(
            [one for one in itertools.product(*lists) if is_allowed(rule, one, max_categories)]
        )
    n = math.prod(len(one) for one in found)
    if n > n_sets:
        problem = f"{n} sets are more than sweep.sets={n_sets}; name fewer values, or raise it"
        raise ConfigError(key="sweep.values", problem=problem)
    return found


def is_allowed(rule: Rule, combination: tuple[float, ...], max_categories: int) -> bool:
    """Whether a config may have the rule with these thresholds."""
    text = canonical(with_thresholds(rule.tree, combination))
    try:
        parse(text, rule.name, max_categories=max_categories)
    except ConfigError:
        return False
    return True


def _said_values(name: str, said: object, written: list[float]) -> list[list[float]]:
    """Return the values to try for each threshold of a rule, that which is written included."""
    if said is None:
        return [[value] for value in written]
    key = f"sweep.values.{name}"
    shape = f"{len(written)} lists of numbers, for the thresholds {written} of the rule"
    if not isinstance(said, list) or len(said) != len(written):
        raise ConfigError(key, f"{said!r} is refused; allowed: {shape}")
    for values in said:
        if not isinstance(values, list) or not all(_is_number(value) for value in values):
            raise ConfigError(key, f"{values!r} is refused; allowed: {shape}")
    return [
        sorted({float(v) for v in [*values, w]}) for values, w in zip(said, written, strict=True)
    ]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _values_each(rules: Sequence[Rule], n_sets: int) -> dict[str, list[int]]:
    """Return how many values each threshold gets: as many as the number of sets allows, evenly."""
    names = [(rule.name, i) for rule in rules for i in range(len(thresholds(rule.tree)))]
    given = dict.fromkeys(names, 1)
    grown = True
    while grown:
        grown = False
        for name in names:
            product = math.prod(n + (one == name) for one, n in given.items())
            if product <= n_sets:
                given[name] += 1
                grown = True
    return {rule.name: [n for (name, _), n in given.items() if name == rule.name] for rule in rules}


def around(value: float, n: int) -> list[float]:
    """Return up to n values from a quarter of a value to four times as much, with it among them."""
    spread = np.geomspace(1 / WIDEST, WIDEST, n) if n > 1 else np.ones(1)
    tried = value * spread if value else np.arange(float(n))
    tried[np.argmin(np.abs(tried - value))] = value
    places = 0 if value.is_integer() else 3
    return sorted({value, *(round(v, places) for v in tried.tolist() if v != value)})


def surface(aggregates: Aggregates, combinations: list[Combinations], is_bot: pl.Series) -> Surface:
    """Return what every set flags; is_bot has the label of each place, or null."""
    rules = aggregates.tally.rules
    enforced = tuple(rule for rule in rules.rules if rule.mode == "enforce")
    counted = {w.length_s: aggregates.counted(w.length_s) for w in rules.windows}
    parts = [
        held_by(rule, combos, counted[rule.window.length_s], len(is_bot))
        for rule, combos in zip(enforced, combinations, strict=True)
    ]
    starts = np.cumsum([0, *(len(part) for part in parts)])[:-1]
    sizes = [range(len(part)) for part in parts]
    sets = np.array(list(itertools.product(*sizes)), np.int64).reshape(-1, len(parts))
    groups = np.stack([packed(group) for group in groups_of(is_bot)])
    counts = flagged_by_set(sets + starts, np.concatenate(parts), groups)
    written = [
        combos.index(tuple(thresholds(rule.tree)))
        for rule, combos in zip(enforced, combinations, strict=True)
    ]
    at = int(np.flatnonzero((sets == written).all(axis=1))[0])
    totals = np.array([group.sum() for group in groups_of(is_bot)])
    return Surface(enforced, combinations, sets, at, counts, totals)


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


def held_by(
    rule: Rule, combos: Combinations, counted: Counted, n_addresses: int
) -> NDArray[np.uint64]:
    """Return the addresses that each combination of a rule flags, uint64[combinations, words]."""
    bits = np.empty((len(counted.events), (len(combos) + BITS - 1) // BITS), np.uint64)
    for word, first in enumerate(range(0, len(combos), BITS)):
        trees = [with_thresholds(rule.tree, one) for one in combos[first : first + BITS]]
        mask = np.empty(len(bits), np.uint64)
        judge_rows(compiled(trees), counted.events, counted.clicks, counted.categories, mask)
        bits[:, word] = mask
    held = any_of(counted.places, counted.triples, bits, n_addresses)
    return by_combination(held, len(combos))
