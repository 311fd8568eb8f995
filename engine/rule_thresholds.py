"""The thresholds of a rule: the numbers that its comparisons decide by, and the rule with others.

A threshold is a number that stands alone on a side of <, <=, > or >=, or is a factor of such a
side: 10 in `events > 10`, 1.5 in `clicks > 1.5 * views`. They are numbered as they are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from engine.rule_trees import Binary, Bool, Compare, Number, Tree, Unary

ORDERED = {"<", "<=", ">", ">="}


def thresholds(tree: Tree) -> list[float]:
    """Return the thresholds of a rule's tree."""
    found: list[float] = []
    _rebuilt(tree, None, found)
    return found


def with_thresholds(tree: Tree, values: Sequence[float]) -> Tree:
    """Return the same tree with these thresholds."""
    return _rebuilt(tree, iter(values), [])


def _rebuilt(tree: Tree, values: Iterator[float] | None, found: list[float]) -> Tree:
    match tree:
        case Bool(_, operands):
            return replace(tree, operands=tuple(_rebuilt(one, values, found) for one in operands))
        case Unary("not", operand):
            return replace(tree, operand=_rebuilt(operand, values, found))
        case Compare(operators, operands) if ORDERED.issuperset(operators):
            return replace(tree, operands=tuple(_side(one, values, found) for one in operands))
    return tree


def _side(tree: Tree, values: Iterator[float] | None, found: list[float]) -> Tree:
    """Rebuild a side of a comparison."""
    match tree:
        case Number(value):
            found.append(value)
            return tree if values is None else Number(float(next(values)))
        case Binary("*", Number() as factor, other):
            return replace(tree, left=_side(factor, values, found), right=other)
        case Binary("*", other, Number() as factor):
            return replace(tree, left=other, right=_side(factor, values, found))
    return tree
