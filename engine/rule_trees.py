"""The tree of a rule expression, and what it tells without any counts: its text, and a proof.

The tree is plain frozen data, so it can be printed in another language as well. Counts are numbers,
comparisons are truths, and neither ever stands for the other. Reading text belongs to
`engine.rule_expressions`, running a tree to `engine.rules` and the judge kernel.
Invariant: arithmetic on numbers alone is already done, so a constant is a finite Number everywhere.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

COUNTS = ("events", "clicks", "views", "categories")
LARGEST_COUNT = 2.0**32 - 1
LARGEST_QUOTIENT = 2.0**50
LARGEST_WHOLE = 1e15


@dataclass(frozen=True)
class Number:
    """A finite constant."""

    value: float


@dataclass(frozen=True)
class Name:
    """One of COUNTS."""

    name: str


@dataclass(frozen=True)
class Unary:
    """`-` of a number or `not` of a truth."""

    operator: str
    operand: Tree


@dataclass(frozen=True)
class Binary:
    """One of ARITHMETIC between two numbers."""

    operator: str
    left: Tree
    right: Tree


@dataclass(frozen=True)
class Call:
    """`max` or `min` of two or more numbers, `abs` of one."""

    function: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True)
class Compare:
    """A chain such as a < b <= c: one operator between each two neighbours."""

    operators: tuple[str, ...]
    operands: tuple[Tree, ...]


@dataclass(frozen=True)
class Bool:
    """`and` or `or` of two or more truths."""

    operator: str
    operands: tuple[Tree, ...]


Tree = Number | Name | Unary | Binary | Call | Compare | Bool


def _or_zero(function: Callable[[float, float], float]) -> Callable[[float, float], float]:
    return lambda left, right: function(left, right) if right else 0.0


ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _or_zero(operator.truediv),
    "//": _or_zero(operator.floordiv),
    "%": _or_zero(operator.mod),
}

OR, AND, NOT, COMPARISON, SUM, PRODUCT, ATOM = range(7)
BINDING = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT}


def canonical(tree: Tree) -> str:
    """Return the expression's normal text: single spaces, no needless parentheses, 10 for 10.0."""
    return _printed(tree)[0]


def _printed(tree: Tree) -> tuple[str, int]:
    """Return the text, and how tightly its outermost operator binds."""
    binding = ATOM
    match tree:
        case Number(value):
            text = str(int(value) if abs(value) < LARGEST_WHOLE and value.is_integer() else value)
        case Name(name):
            text = name
        case Call(name, arguments):
            text = f"{name}({', '.join(map(canonical, arguments))})"
        case Unary("-", operand):
            text = f"-{_inside(operand, ATOM)}"
        case Unary(_, operand):
            text, binding = f"not {_inside(operand, NOT)}", NOT
        case Binary(symbol, left, right):
            binding = BINDING[symbol]
            text = f"{_inside(left, binding)} {symbol} {_inside(right, binding + 1)}"
        case Bool(word, operands):
            binding = AND if word == "and" else OR
            text = f" {word} ".join(_inside(part, binding + 1) for part in operands)
        case Compare(symbols, operands):
            binding = COMPARISON
            links = zip(symbols, map(canonical, operands[1:]), strict=True)
            text = canonical(operands[0]) + "".join(f" {symbol} {part}" for symbol, part in links)
    return text, binding


def _inside(tree: Tree, binding: int) -> str:
    """Return the text of an operand, in parentheses unless it binds as tightly as asked."""
    text, own = _printed(tree)
    return text if own >= binding else f"({text})"


class Trend(NamedTuple):
    """How a value moves while all counts only grow; a truth moves between 0 and 1.

    A constant has both flags. Every value lies between `low` and `high`, which are finite unless
    nothing is known: float operations are monotone only while none of them gives inf or NaN.
    """

    never_falls: bool
    never_rises: bool
    low: float
    high: float


UNKNOWN = Trend(False, False, -math.inf, math.inf)


def is_monotone(tree: Tree) -> bool:
    """Whether it is proved that a rule which is true stays true while all counts only grow."""
    return _trend(tree).never_falls


def _trend(tree: Tree) -> Trend:
    match tree:
        case Number(value):
            trend = Trend(True, True, value, value)
        case Name():
            trend = Trend(True, False, 0.0, LARGEST_COUNT)
        case Unary(_, operand):
            trend = _opposite(_trend(operand))
        case Binary(symbol, left, right):
            trend = _binary(symbol, _trend(left), _trend(right))
        case Call("abs", arguments):
            trend = _absolute(_trend(arguments[0]))
        case Call(name, arguments):
            trends = [_trend(part) for part in arguments]
            choose = max if name == "max" else min
            trend = _together(trends, choose(t.low for t in trends), choose(t.high for t in trends))
        case Bool(_, operands):
            trend = _together([_trend(part) for part in operands], 0.0, 1.0)
        case Compare(symbols, operands):
            pairs = zip(symbols, pairwise(map(_trend, operands)), strict=True)
            trend = _together([_comparison(symbol, *pair) for symbol, pair in pairs], 0.0, 1.0)
    return trend if math.isfinite(trend.low) and math.isfinite(trend.high) else UNKNOWN


def _together(trends: list[Trend], low: float, high: float) -> Trend:
    """Return the trend of what moves with every one of these."""
    falls, rises = zip(*((t.never_falls, t.never_rises) for t in trends), strict=True)
    return Trend(all(falls), all(rises), low, high)


def _opposite(trend: Trend) -> Trend:
    return Trend(trend.never_rises, trend.never_falls, -trend.high, -trend.low)


def _binary(symbol: str, left: Trend, right: Trend) -> Trend:
    match symbol:
        case "+":
            return _together([left, right], left.low + right.low, left.high + right.high)
        case "-":
            return _binary("+", left, _opposite(right))
        case "*":
            return _product(left, right)
        case "/" | "//" if _is_constant(right) and right.low:
            return _quotient(symbol, left, right)
    return UNKNOWN


def _is_constant(trend: Trend) -> bool:
    return trend.never_falls and trend.never_rises


def _product(left: Trend, right: Trend) -> Trend:
    for factor, other in ((left, right), (right, left)):
        if _is_constant(factor) and factor.low < 0:
            return _opposite(_product(_opposite(factor), other))
    scaled = any(_is_constant(factor) and factor.low >= 0 for factor in (left, right))
    if scaled or (left.low >= 0 and right.low >= 0):
        return _together([left, right], left.low * right.low, left.high * right.high)
    return UNKNOWN


def _quotient(symbol: str, left: Trend, divisor: Trend) -> Trend:
    """Divide by a constant that is not 0; floors are exact up to LARGEST_QUOTIENT only."""
    if divisor.low < 0:
        return _quotient(symbol, _opposite(left), _opposite(divisor))
    low, high = left.low / divisor.low, left.high / divisor.low
    if symbol == "/":
        return _together([left, divisor], low, high)
    if max(abs(low), abs(high)) > LARGEST_QUOTIENT:
        return UNKNOWN
    return _together([left, divisor], math.floor(low), math.floor(high))


def _absolute(trend: Trend) -> Trend:
    if trend.low >= 0:
        return trend
    return _opposite(trend) if trend.high <= 0 else UNKNOWN


def _comparison(symbol: str, left: Trend, right: Trend) -> Trend:
    if symbol in ("==", "!="):
        constant = _is_constant(left) and _is_constant(right)
        return Trend(constant, constant, 0.0, 1.0)
    if symbol in ("<", "<="):
        left, right = right, left
    stays_true = left.never_falls and right.never_rises
    stays_false = left.never_rises and right.never_falls
    return Trend(stays_true, stays_false, 0.0, 1.0)
