"""Judge counts by a rule program: the interpreter of `engine.rule_programs`.

One compiled kernel runs every rule set: a changed rule is changed arrays, never a compilation. It
answers with a mask, bit i = rule i; what a rule is called or leads to is not known here.
Invariant: float64 throughout, truths are 1.0 and 0.0, and x / 0, x // 0 and x % 0 are 0.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from engine.kernels.compiled import KEPT
from engine.rule_expressions import MAX_DEPTH
from engine.rule_programs import (
    ABSOLUTE,
    ADD,
    DIVIDE,
    EQUAL,
    FLOOR_DIVIDE,
    FROM_CATEGORIES,
    FROM_CLICKS,
    FROM_EVENTS,
    FROM_STACK,
    FROM_VIEWS,
    GREATER,
    GREATER_EQUAL,
    INVERT,
    LESS,
    LESS_EQUAL,
    LOAD,
    MAXIMUM,
    MINIMUM,
    MODULO,
    MULTIPLY,
    N_OPERATIONS,
    NEGATE,
    SKIP_IF_FALSE,
    SKIP_IF_TRUE,
    SUBTRACT,
    Program,
)

STACK_SIZE = MAX_DEPTH
OPERATION_BITS = N_OPERATIONS - 1
SOURCE_BITS = ~OPERATION_BITS
EXACT = 2.0**53
# Unsigned, so that no index is checked for being negative: a fifth of the time.
ONE = np.uintp(1)


@njit(cache=KEPT, nogil=True, error_model="numpy")
def floor_divide(left: float, right: float) -> float:
    """`left // right` as Python's floats do it, 0 for right = 0."""
    if right == 0.0:
        return 0.0
    # Whole numbers are exact this way; Python's way for all floats takes five times as long.
    small = abs(left) < EXACT and abs(right) < EXACT
    if small and left == np.floor(left) and right == np.floor(right):
        return float(np.floor(left / right))
    return left // right


@njit(cache=KEPT, nogil=True, error_model="numpy", inline="always")
def calculate(operation: int, left: float, right: float) -> float:
    """Result of a binary operation; a truth is 1.0 or 0.0."""
    if operation == ADD:
        return left + right
    if operation == SUBTRACT:
        return left - right
    if operation == MULTIPLY:
        return left * right
    if operation == DIVIDE:
        return left / right if right != 0.0 else 0.0
    if operation == FLOOR_DIVIDE:
        return floor_divide(left, right)
    if operation == MODULO:
        return left % right if right != 0.0 else 0.0
    if operation == MAXIMUM:
        return right if right > left else left
    if operation == MINIMUM:
        return right if right < left else left
    if operation == GREATER:
        return 1.0 if left > right else 0.0
    if operation == GREATER_EQUAL:
        return 1.0 if left >= right else 0.0
    if operation == LESS:
        return 1.0 if left < right else 0.0
    if operation == LESS_EQUAL:
        return 1.0 if left <= right else 0.0
    if operation == EQUAL:
        return 1.0 if left == right else 0.0
    return 1.0 if left != right else 0.0


@njit(cache=KEPT, nogil=True, error_model="numpy")
def judge_counts(
    program: Program, events: int, clicks: int, categories: int, stack: NDArray[np.float64]
) -> np.uint64:
    """Mask (uint64) of the rules that hold for these counts (integers); views = events - clicks.

    program: opcodes int32[n_ops], numbers float64[n_ops], starts int32[n_rules + 1], may be
    read-only; stack: float64[STACK_SIZE], scratch. Allocates nothing.
    """
    counted, clicked, distinct = float(events), float(clicks), float(categories)
    mask = np.uint64(0)
    for rule in range(len(program.starts) - 1):
        at, end = np.uintp(program.starts[rule]), np.uintp(program.starts[rule + 1])
        depth = np.uintp(0)
        value = 0.0
        while at < end:
            operation = program.opcodes[at] & OPERATION_BITS
            source = program.opcodes[at] & SOURCE_BITS
            operand = program.numbers[at]
            at += ONE
            if source == FROM_EVENTS:
                operand = counted
            elif source == FROM_CLICKS:
                operand = clicked
            elif source == FROM_VIEWS:
                operand = counted - clicked
            elif source == FROM_CATEGORIES:
                operand = distinct
            elif source == FROM_STACK:
                depth -= ONE
                operand, value = value, stack[depth]
            if operation == LOAD:
                stack[depth] = value
                depth += ONE
                value = operand
            elif operation == NEGATE:
                value = -value
            elif operation == ABSOLUTE:
                value = abs(value)
            elif operation == INVERT:
                value = 1.0 - value
            elif operation == SKIP_IF_FALSE:
                if value == 0.0:
                    at += np.uintp(operand)
                else:
                    depth -= ONE
                    value = stack[depth]
            elif operation == SKIP_IF_TRUE:
                if value != 0.0:
                    at += np.uintp(operand)
                else:
                    depth -= ONE
                    value = stack[depth]
            else:
                value = calculate(operation, value, operand)
        mask |= np.uint64(value != 0.0) << np.uint64(rule)
    return mask


@njit(cache=KEPT, nogil=True, error_model="numpy")
def judge_rows(
    program: Program,
    events: NDArray[np.uint32],
    clicks: NDArray[np.uint32],
    categories: NDArray[np.uint32],
    out: NDArray[np.uint64],
) -> None:
    """Write to out (uint64[n]) the mask of each row; the three counts are uint32[n].

    categories may be uint16 as well, and every array but out may be read-only.
    """
    stack = np.empty(STACK_SIZE, np.float64)
    for row in range(len(events)):
        out[row] = judge_counts(program, events[row], clicks[row], categories[row], stack)
