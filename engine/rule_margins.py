"""How far counts are from a rule's limits: a rule as its comparisons, each measured at counts.

`not` is carried down to the comparisons, so that a rule is comparisons under `and` and `or` alone;
what holds is exactly what the judge kernel says. A rule that fails is as far off as the worst
comparison that its nearest way of coming true still lacks.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import NamedTuple

from engine.rule_expressions import FUNCTIONS
from engine.rule_trees import (
    ARITHMETIC,
    Binary,
    Bool,
    Call,
    Compare,
    Name,
    Number,
    Tree,
    Unary,
    canonical,
)

Counts = Mapping[str, int]
TRUTHS: dict[str, Callable[[float, float], bool]] = {
    **{">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le},
    **{"==": operator.eq, "!=": operator.ne},
}
OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "==": "==", "!=": "!="}


class Comparison(NamedTuple):
    """One comparison of a rule; where it is negated it must be false."""

    left: Tree
    symbol: str
    right: Tree
    negated: bool


class Together(NamedTuple):
    """Parts of which all must hold, or one."""

    all: bool
    parts: tuple[Part, ...]


Part = Comparison | Together


class Measured(NamedTuple):
    """A comparison at counts: `left symbol right` as it must be, both sides' values.

    missing: by how much left must change before it holds, 0 where it does; is_open: by more than
    that. relative: missing as a share of the limit.
    """

    left: str
    symbol: str
    right: str
    value: float
    limit: float
    holds: bool
    missing: float
    is_open: bool
    relative: float


class Finding(NamedTuple):
    """A rule at counts: the comparisons that make it hold, or those that it lacks to hold."""

    holds: bool
    relative: float
    comparisons: tuple[Measured, ...]


def parts_of(tree: Tree, *, negated: bool = False) -> Part:
    """Return a truth as comparisons under `and` and `or`."""
    match tree:
        case Unary("not", operand):
            return parts_of(operand, negated=not negated)
        case Bool(word, operands):
            found = tuple(parts_of(part, negated=negated) for part in operands)
            return Together((word == "and") != negated, found)
        case Compare(symbols, operands):
            links = zip(symbols, pairwise(operands), strict=True)
            pairs = tuple(_ordered(left, s, right, negated) for s, (left, right) in links)
            return pairs[0] if len(pairs) == 1 else Together(not negated, pairs)
    message = f"a number where a truth must stand: {canonical(tree)}"
    raise AssertionError(message)


def _ordered(left: Tree, symbol: str, right: Tree, negated: bool) -> Comparison:  # noqa: FBT001
    """Return a comparison with the constant, if any, at its right."""
    if isinstance(left, Number) and not isinstance(right, Number):
        left, symbol, right = right, MIRRORED[symbol], left
    return Comparison(left, symbol, right, negated)


def finding(part: Part, counts: Counts) -> Finding:
    """Return whether a rule holds at these counts, and by which comparisons, or what it lacks."""
    if isinstance(part, Comparison):
        measured = measure(part, counts)
        return Finding(measured.holds, measured.relative, (measured,))
    found = [finding(one, counts) for one in part.parts]
    right = [one for one in found if one.holds]
    wrong = [one for one in found if not one.holds]
    holds = not wrong if part.all else bool(right)
    if holds:
        return Finding(True, 0.0, _comparisons(right))
    if part.all:
        return Finding(False, max(one.relative for one in wrong), _comparisons(wrong))
    return min(wrong, key=lambda one: one.relative)


def _comparisons(found: list[Finding]) -> tuple[Measured, ...]:
    return tuple(measured for one in found for measured in one.comparisons)


def measure(comparison: Comparison, counts: Counts) -> Measured:
    """Return a comparison with the values of both sides."""
    left, symbol, right, negated = comparison
    value, limit = value_of(left, counts), value_of(right, counts)
    holds = TRUTHS[symbol](value, limit) != negated
    wanted = OPPOSITE[symbol] if negated else symbol
    is_open = wanted in (">", "<", "!=")
    missing = 0.0 if holds else abs(limit - value)
    if is_open and not holds and is_whole(left) and is_whole(right):
        is_open, missing = False, missing + 1
    is_open = is_open and not holds
    missing = math.inf if math.isnan(missing) else missing
    relative = missing / abs(limit) if limit and math.isfinite(limit) else missing
    words = (canonical(left), wanted, canonical(right))
    return Measured(*words, value, limit, holds, missing, is_open, relative)


def value_of(tree: Tree, counts: Counts) -> float:
    """Return the value of a number at counts, as the judge kernel has it."""
    match tree:
        case Number(value):
            return value
        case Name(name):
            return float(counts[name])
        case Unary("-", operand):
            return -value_of(operand, counts)
        case Binary(symbol, left, right):
            return ARITHMETIC[symbol](value_of(left, counts), value_of(right, counts))
        case Call(name, arguments):
            return FUNCTIONS[name](*(value_of(part, counts) for part in arguments))
    message = f"a truth where a number must stand: {canonical(tree)}"
    raise AssertionError(message)


def is_whole(tree: Tree) -> bool:
    """Whether a number is a whole one whatever the counts are."""
    match tree:
        case Number(value):
            return value.is_integer()
        case Name():
            return True
        case Unary("-", operand):
            return is_whole(operand)
        case Binary(symbol, left, right):
            return symbol != "/" and is_whole(left) and is_whole(right)
        case Call(_, arguments):
            return all(map(is_whole, arguments))
    return False
