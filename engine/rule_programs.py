"""Rule programs: trees of rules to flat arrays that one kernel, compiled once, interprets.

The machine has an accumulator, a stack and the four counts. An instruction is an opcode and a
number; an opcode is an operation plus the source of its operand. LOAD pushes the accumulator and
replaces it by the operand; `and` and `or` are skips that leave a decided truth where it is.
Invariant: a tree of n levels needs at most n places on the stack; a skip never leaves its rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.rule_trees import Binary, Bool, Call, Compare, Name, Number, Tree, Unary

LOAD, NEGATE, ABSOLUTE, INVERT, SKIP_IF_FALSE, SKIP_IF_TRUE = range(6)
ADD, SUBTRACT, MULTIPLY, DIVIDE, FLOOR_DIVIDE, MODULO, MAXIMUM, MINIMUM = range(6, 14)
GREATER, GREATER_EQUAL, LESS, LESS_EQUAL, EQUAL, NOT_EQUAL = range(14, 20)
N_OPERATIONS = 32

FROM_NUMBER, FROM_EVENTS, FROM_CLICKS, FROM_VIEWS, FROM_CATEGORIES, FROM_STACK = range(0, 192, 32)

OPERATIONS = {
    **{"+": ADD, "-": SUBTRACT, "*": MULTIPLY, "/": DIVIDE, "//": FLOOR_DIVIDE, "%": MODULO},
    **{
        ">": GREATER,
        ">=": GREATER_EQUAL,
        "<": LESS,
        "<=": LESS_EQUAL,
        "==": EQUAL,
        "!=": NOT_EQUAL,
    },
    **{"max": MAXIMUM, "min": MINIMUM},
}
SOURCES = {
    "events": FROM_EVENTS,
    "clicks": FROM_CLICKS,
    "views": FROM_VIEWS,
    "categories": FROM_CATEGORIES,
}

Code = list[tuple[int, float]]


class Program(NamedTuple):
    """Read-only arrays: rule i is opcodes and numbers [starts[i], starts[i + 1])."""

    opcodes: NDArray[np.int32]
    numbers: NDArray[np.float64]
    starts: NDArray[np.int32]


def compiled(trees: Sequence[Tree | None]) -> Program:
    """Return one program for these rules, in their order; one that is None never holds."""
    codes = [_code(tree) if tree is not None else [] for tree in trees]
    instructions = [instruction for code in codes for instruction in code]
    program = Program(
        np.array([opcode for opcode, _ in instructions], np.int32),
        np.array([number for _, number in instructions], np.float64),
        np.array([0, *accumulate(map(len, codes))], np.int32),
    )
    for array in program:
        array.flags.writeable = False
    return program


def _code(tree: Tree) -> Code:
    """Return the instructions that push the tree's value."""
    match tree:
        case Unary(operator, operand):
            code = [*_code(operand), (NEGATE if operator == "-" else INVERT, 0.0)]
        case Binary(operator, left, right):
            code = _code(left) + _applied(OPERATIONS[operator], right)
        case Call("abs", (argument,)):
            code = [*_code(argument), (ABSOLUTE, 0.0)]
        case Call(name, (first, *others)):
            code = sum((_applied(OPERATIONS[name], other) for other in others), _code(first))
        case Compare(operators, operands):
            links = zip(operators, pairwise(operands), strict=True)
            pairs = [_code(left) + _applied(OPERATIONS[op], right) for op, (left, right) in links]
            code = _joined(SKIP_IF_FALSE, pairs)
        case Bool(word, operands):
            skip = SKIP_IF_FALSE if word == "and" else SKIP_IF_TRUE
            code = _joined(skip, [_code(operand) for operand in operands])
        case _:
            code = _applied(LOAD, tree)
    return code


def _applied(operation: int, operand: Tree) -> Code:
    """Return the instructions that apply the operation to the accumulator and this operand."""
    match operand:
        case Number(value):
            return [(operation + FROM_NUMBER, value)]
        case Name(name):
            return [(operation + SOURCES[name], 0.0)]
    return [*_code(operand), (operation + FROM_STACK, 0.0)]


def _joined(skip: int, codes: list[Code]) -> Code:
    """Return the codes one after the other, each left out once the truth is decided."""
    *others, joined = codes
    for code in reversed(others):
        joined = [*code, (skip, float(len(joined))), *joined]
    return joined
