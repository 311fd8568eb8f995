"""What a rule expression means: the truth of `when` over the counts of one window and address.

Walks Python's own syntax tree, which settles precedence and chains; any other node is refused.
Numbers and truths have a function each, so that the one never passes for the other.
Knows nothing of windows, modes or expiry. Part of the model: standard library only.
Invariant: all arithmetic is in floats, and dividing by zero gives zero.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

ARITHMETIC: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
DIVIDING = (ast.Div, ast.FloorDiv, ast.Mod)
COMPARISON: dict[type, Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def evaluate(expression: str, counts: Mapping[str, float]) -> bool:
    """Return the truth of a rule expression; raise ValueError or SyntaxError for anything else."""
    return truth(ast.parse(expression.strip(), mode="eval").body, counts)


def truth(node: ast.expr, counts: Mapping[str, float]) -> bool:
    """Return the value of a comparison or of and / or / not over such."""
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            return all([truth(part, counts) for part in parts])
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any([truth(part, counts) for part in parts])
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not truth(part, counts)
        case ast.Compare(left=first, ops=ops, comparators=rest):
            numbers = [number(part, counts) for part in (first, *rest)]
            links = zip(ops, numbers, numbers[1:], strict=False)
            return all([compare(op, left, right) for op, left, right in links])
    raise refusal(node, "a comparison, and, or, not")


def number(node: ast.expr, counts: Mapping[str, float]) -> float:
    """Return the value of a number, a count, arithmetic over such, or max, min, abs."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.Name(id=name) if name in counts:
            return float(counts[name])
        case ast.UnaryOp(op=ast.USub(), operand=part):
            return -number(part, counts)
        case ast.BinOp(left=left, op=op, right=right):
            return calculate(op, number(left, counts), number(right, counts))
        case ast.Call(func=ast.Name(id="abs"), args=[part], keywords=[]):
            return abs(number(part, counts))
        case ast.Call(func=ast.Name(id="max" | "min" as name), args=[_, *_] as parts, keywords=[]):
            numbers = [number(part, counts) for part in parts]
            return max(numbers) if name == "max" else min(numbers)
    raise refusal(node, "a number, a count, arithmetic, max, min, abs")


def calculate(op: ast.operator, left: float, right: float) -> float:
    """Return left op right; x / 0, x // 0 and x % 0 are 0."""
    if type(op) not in ARITHMETIC:
        raise refusal(op, "+ - * / // %")
    if isinstance(op, DIVIDING) and right == 0:
        return 0.0
    return ARITHMETIC[type(op)](left, right)


def compare(op: ast.cmpop, left: float, right: float) -> bool:
    """Return whether left op right holds."""
    if type(op) not in COMPARISON:
        raise refusal(op, "< <= > >= == !=")
    return COMPARISON[type(op)](left, right)


def refusal(node: ast.AST, wanted: str) -> ValueError:
    """Return the error for a node that stands where something else is wanted."""
    return ValueError(f"a rule has {type(node).__name__} where one of these must stand: {wanted}")
