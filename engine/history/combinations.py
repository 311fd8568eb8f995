"""Which thresholds a sweep tries: for each rule its combinations, the written one among them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from engine.errors import ConfigError
from engine.rule_expressions import parse
from engine.rule_thresholds import thresholds, with_thresholds
from engine.rule_trees import canonical
from engine.rules import Rule, RuleSet

WIDEST = 4.0  # a threshold is tried from a quarter of what is written to four times as much
WIDEST_FROM_0 = 64  # one that is written as 0, up to this
Combinations = list[tuple[float, ...]]


def combinations_of(
    rules: RuleSet, said: dict[str, object], *, n_sets: int, max_categories: int
) -> list[Combinations]:
    """Return for each enforced rule the combinations to try, the written one always among them.

    said: the values that the user has named, by rule; the thresholds of other rules then stay.
    """
    enforced = enforced_rules(rules)
    _check_names(said, [rule.name for rule in enforced])
    n_values = _values_each(enforced, n_sets)
    found = []
    for rule in enforced:
        written = thresholds(rule.tree)
        lists = _said_values(rule.name, said.get(rule.name), written)
        if not said:
            lists = list(map(around, written, n_values[rule.name]))
        _check_product(lists, n_sets)
        found.append(
            [one for one in itertools.product(*lists) if is_allowed(rule, one, max_categories)]
        )
    _check_product(found, n_sets)
    return found


def enforced_rules(rules: RuleSet) -> list[Rule]:
    """Return the rules that flag; ConfigError where none of them has a threshold."""
    enforced = [rule for rule in rules.rules if rule.mode == "enforce"]
    if not any(thresholds(rule.tree) for rule in enforced):
        names = ", ".join(rule.name for rule in enforced) or "there is none"
        problem = f"no enforced rule ({names}) has a threshold that task=sweep could vary"
        advice = "write one, such as events > 10, or set its mode to enforce"
        raise ConfigError(key="rules.rules", problem=f"{problem}; {advice}")
    return enforced


def _check_names(said: dict[str, object], known: Sequence[str]) -> None:
    for name in said:
        if name not in known:
            problem = f"no enforced rule has this name; there are {', '.join(sorted(known))}"
            raise ConfigError(key=f"sweep.values.{name}", problem=problem)


def _check_product(lists: Sequence[Sequence[object]], n_sets: int) -> None:
    """Refuse more sets than allowed, before anything is made of them."""
    n = math.prod(map(len, lists))
    if n > n_sets:
        problem = f"{n} sets are more than sweep.sets={n_sets}; name fewer values, or raise it"
        raise ConfigError(key="sweep.values", problem=problem)


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
    tried = value * spread if value else np.geomspace(1, WIDEST_FROM_0, n)
    tried[np.argmin(np.abs(tried - value))] = value
    places = 0 if value.is_integer() else 3
    return sorted({value, *(round(v, places) for v in tried.tolist() if v != value)})
