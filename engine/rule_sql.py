"""A rule's tree as Spark SQL: the same tree, printed for another engine, with the same answers.

float64 throughout, x / 0, x // 0 and x % 0 are 0, `//` and `%` have Python's signs, and a NaN is
neither greater nor equal, where Spark takes it for the greatest number and as equal to itself. What
is written for that is left out where the sizes of the counts prove that it cannot matter.
Invariant: the text grows with the tree, not with its depth: an operand is written once, or twice
in a chain of comparisons.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

from engine.rule_trees import (
    LARGEST_COUNT,
    Binary,
    Bool,
    Call,
    Compare,
    Name,
    Number,
    Tree,
    Unary,
)

EXACT = 2.0**53

# Each names its operands p.l and p.r, so that neither is written or computed twice.
ONCE = "transform(array(named_struct('l', {left}, 'r', {right})), p -> {body})[0]"
TRUTH = "exists(array(named_struct('l', {left}, 'r', {right})), p -> {body})"

# What is added to a comparison that may meet a NaN.
WITH_NAN = {
    "<": "p.l < p.r AND NOT isnan(p.r)",
    "<=": "p.l <= p.r AND NOT isnan(p.r)",
    ">": "p.l > p.r AND NOT isnan(p.l)",
    ">=": "p.l >= p.r AND NOT isnan(p.l)",
    "==": "p.l = p.r AND NOT isnan(p.l)",
    "!=": "(p.l <> p.r OR isnan(p.l))",
}
CHOOSING = {
    "max": "if(p.r > p.l AND NOT isnan(p.r), p.r, p.l)",
    "min": "if(p.r < p.l AND NOT isnan(p.l), p.r, p.l)",
}
COMPARISONS = {"==": "=", "!=": "<>"}
GREATEST = {"max": "greatest", "min": "least"}

# As CPython: the remainder has the sign of the divisor, and the quotient is what is left, rounded.
REST = "named_struct('l', p.l, 'r', p.r, 'm', try_mod(p.l, p.r))"
OTHER_SIGN = "q.m <> 0D AND (q.m < 0D) <> (q.r < 0D)"
MODULO = f"if(q.m IS NULL, 0D, if({OTHER_SIGN}, q.m + q.r, q.m))"
QUOTIENT = f"coalesce(try_divide(q.l - q.m, q.r) - if({OTHER_SIGN}, 1D, 0D), 0D)"
FLOOR = f"if(abs(d) >= {EXACT!r}D, d, double(floor(d)))"
ROUNDED = f"transform(array({FLOOR}), f -> if(d - f > 0.5D, f + 1D, f))[0]"


class Size(NamedTuple):
    """What is known of a number: how far from 0 it may be (finite: never NaN), whether whole."""

    most: float
    is_whole: bool

    @property
    def is_finite(self) -> bool:
        """Whether it can be neither infinite nor NaN."""
        return self.most < math.inf

    @property
    def is_exact(self) -> bool:
        """Whether it is a whole number that float64 has exactly."""
        return self.is_whole and self.most < EXACT


def spark_sql(tree: Tree) -> str:
    """Return the expression as Spark SQL over the whole-number columns that `Name` names."""
    match tree:
        case Number(value):
            text = f"{value!r}D" if math.copysign(1.0, value) > 0 else f"({value!r}D)"
        case Name(name):
            text = f"double({name})"
        case Unary(operator, operand):
            text = f"({operator.upper()} {spark_sql(operand)})"
        case Binary(symbol, left, right):
            text = _binary(symbol, left, right)
        case Call("abs", (argument,)):
            text = f"abs({spark_sql(argument)})"
        case Call(name, arguments):
            text = _chosen(name, arguments)
        case Compare(symbols, operands):
            links = zip(symbols, pairwise(operands), strict=True)
            text = _joined("AND", [_comparison(symbol, *pair) for symbol, pair in links])
        case Bool(word, operands):
            text = _joined(word.upper(), [spark_sql(operand) for operand in operands])
    return text


def _joined(word: str, texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"({f' {word} '.join(texts)})"


def _binary(symbol: str, left: Tree, right: Tree) -> str:
    texts = {"left": spark_sql(left), "right": spark_sql(right)}
    match symbol:
        case "/":
            return "coalesce(try_divide({left}, {right}), 0D)".format(**texts)
        case "//" if _size(left).is_exact and _size(right).is_exact:
            return "coalesce(double(floor(try_divide({left}, {right}))), 0D)".format(**texts)
        case "//":
            quotient = f"transform(array({QUOTIENT}), d -> {ROUNDED})[0]"
            return ONCE.format(**texts, body=f"transform(array({REST}), q -> {quotient})[0]")
        case "%":
            return ONCE.format(**texts, body=f"transform(array({REST}), q -> {MODULO})[0]")
    return f"({texts['left']} {symbol} {texts['right']})"


def _chosen(name: str, arguments: tuple[Tree, ...]) -> str:
    """Return the greatest or the least argument; of Python's, the first one stands if NaN."""
    texts = [spark_sql(argument) for argument in arguments]
    if all(_size(argument).is_finite for argument in arguments):
        return f"{GREATEST[name]}({', '.join(texts)})"
    chosen, *others = texts
    for other in others:
        chosen = ONCE.format(left=chosen, right=other, body=CHOOSING[name])
    return chosen


def _comparison(symbol: str, left: Tree, right: Tree) -> str:
    texts = {"left": spark_sql(left), "right": spark_sql(right)}
    if _size(left).is_finite and _size(right).is_finite:
        return f"({texts['left']} {COMPARISONS.get(symbol, symbol)} {texts['right']})"
    return TRUTH.format(**texts, body=WITH_NAN[symbol])


def _size(tree: Tree) -> Size:
    """Return what is known of a number without any counts."""
    match tree:
        case Number(value):
            return Size(abs(value), value.is_integer())
        case Name():
            return Size(LARGEST_COUNT, True)
        case Unary(_, operand):
            return _size(operand)
        case Call(_, arguments):
            sizes = [_size(argument) for argument in arguments]
            return Size(max(size.most for size in sizes), all(size.is_whole for size in sizes))
        case Binary(symbol, left, right):
            return _size_of(symbol, _size(left), _size(right), right)
    raise AssertionError(tree)


def _size_of(symbol: str, left: Size, right: Size, divisor: Tree) -> Size:
    whole = left.is_exact and right.is_exact
    match symbol:
        case "+" | "-":
            return Size(left.most + right.most, whole)
        case "*":
            return Size(_product(left.most, right.most), whole)
        case "%":
            return Size(right.most if left.is_finite else math.inf, whole)
    least = abs(divisor.value) if isinstance(divisor, Number) else 1.0 if right.is_whole else 0.0
    if isinstance(divisor, Number) and least == 0.0:
        return Size(0.0, True)
    most = left.most / least if least and right.is_finite else math.inf
    return Size(most + 1.0 if symbol == "//" else most, symbol == "//" and whole)


def _product(left: float, right: float) -> float:
    return left * right if left and right else 0.0
