"""Rule expressions: the text of a rule, checked against a whitelist, to a tree.

Python's own parser reads the text, but Python never evaluates or compiles it: a rule is data. The
first thing that is not on the whitelist is refused in one line that shows it and what is allowed.
Invariant: parse(canonical(tree)) == tree; what is let through means what it means in Python.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from engine.errors import ConfigError
from engine.rule_trees import (
    ARITHMETIC,
    COUNTS,
    Binary,
    Bool,
    Call,
    Compare,
    Name,
    Number,
    Tree,
    Unary,
)

MAX_CHARACTERS = 1000
MAX_DEPTH = 32
SHOWN_CHARACTERS = 60
EXAMPLE = "a comparison such as events > 10"
ALLOWED_NAMES = f"{', '.join(COUNTS)} and max(), min(), abs()"
ALLOWED = (
    f"{', '.join(COUNTS)}, numbers, + - * / // %, < <= > >= == !=, and, or, not, "
    "max(), min(), abs()"
)
FUNCTIONS: dict[str, Callable[..., float]] = {"max": max, "min": min, "abs": abs}
SYMBOLS: dict[type[ast.AST], str] = {
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"},
    **{ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!="},
    **{ast.And: "and", ast.Or: "or"},
}


def parse(when: str, key: str, *, max_categories: int) -> Tree:
    """Return the tree of a rule expression, or refuse it with one line that names `key`."""
    text = " ".join(when.split())
    if not text:
        raise ConfigError(key, f"is empty; write {EXAMPLE}")
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(key, f"{len(text)} characters are refused; allowed: {MAX_CHARACTERS}")
    if "#" in text:
        raise ConfigError(key, "'#' is refused: an expression has no comments")
    node = _python_expression(text, key)
    if _depth(node) > MAX_DEPTH:
        raise ConfigError(key, f"{_shown(text)} is nested deeper than {MAX_DEPTH} levels; split it")
    return _Reader(text, key, max_categories).truth(node)


def _python_expression(text: str, key: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        problem = f"{_shown(text)} is not an expression; write {EXAMPLE}"
        raise ConfigError(key, problem) from None


def _depth(node: ast.expr) -> int:
    """Count levels without recursion: a hostile text is nested deeper than Python's own stack."""
    level: list[ast.AST] = [node]
    n_levels = 0
    while level:
        n_levels += 1
        children = [child for parent in level for child in ast.iter_child_nodes(parent)]
        level = [child for child in children if isinstance(child, ast.expr)]
    return n_levels


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}...")


@dataclass(frozen=True)
class _Reader:
    """Python's syntax tree to ours; the first node that is not on the whitelist is refused."""

    text: str
    key: str
    max_categories: int

    def truth(self, node: ast.expr) -> Tree:
        """Read a comparison, or and / or / not over such."""
        match node:
            case ast.BoolOp(op=op, values=parts):
                return Bool(SYMBOLS[type(op)], tuple(map(self.truth, parts)))
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return Unary("not", self.truth(part))
            case ast.Compare():
                return self.comparison(node)
        self.number(node)
        self.refuse(node, f"is a number, not true or false; write {EXAMPLE}")

    def comparison(self, node: ast.Compare) -> Tree:
        """Read a chain; refuse a limit that a category count never passes."""
        operators = tuple(SYMBOLS.get(type(op), "") for op in node.ops)
        if "" in operators:
            self.refuse(node, f"is not allowed; allowed: {ALLOWED}")
        parts = [node.left, *node.comparators]
        trees = tuple(map(self.number, parts))
        for left, right in pairwise(range(len(parts))):
            self.check_limit(node, parts[left], trees[right])
            self.check_limit(node, parts[right], trees[left])
        return Compare(operators, trees)

    def check_limit(self, node: ast.Compare, side: ast.expr, limit: Tree) -> None:
        """Refuse to compare categories with a constant that their count cannot pass."""
        if not isinstance(limit, Number) or limit.value < self.max_categories:
            return
        if any(isinstance(name, ast.Name) and name.id == "categories" for name in ast.walk(side)):
            most = f"window.max_categories={self.max_categories}"
            self.refuse(node, f"is refused: categories stop at {most}; compare with less")

    def number(self, node: ast.expr) -> Tree:
        """Read a number, a count, or arithmetic over such."""
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return self.finite(node, value)
            case ast.Name(id=name) if name in COUNTS:
                return Name(name)
            case ast.Name(id=name):
                raise self.unknown(name)
            case ast.UnaryOp(op=ast.USub(), operand=part):
                return self.folded(node, Unary("-", self.number(part)))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in SYMBOLS:
                tree = Binary(SYMBOLS[type(op)], self.number(left), self.number(right))
                return self.folded(node, tree)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self.call(node, name, arguments)
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                self.refuse(node, "is true or false; a number must stand there")
        self.refuse(node, f"is not allowed; allowed: {ALLOWED}")

    def call(self, node: ast.Call, name: str, arguments: list[ast.expr]) -> Tree:
        """Read max(), min() or abs()."""
        if name not in FUNCTIONS:
            raise self.unknown(name + "()")
        if (len(arguments) == 1) != (name == "abs") or not arguments:
            self.refuse(node, "is refused: abs() takes one number, max() and min() two or more")
        return self.folded(node, Call(name, tuple(map(self.number, arguments))))

    def folded(self, node: ast.expr, tree: Unary | Binary | Call) -> Tree:
        """Do arithmetic on numbers alone now, so that a constant is a Number everywhere."""
        match tree:
            case Unary("-", Number(value)):
                return Number(-value)
            case Binary(symbol, Number(left), Number(right)):
                return self.finite(node, ARITHMETIC[symbol](left, right))
            case Call(name, arguments):
                values = [part.value for part in arguments if isinstance(part, Number)]
                if len(values) == len(arguments):
                    return Number(FUNCTIONS[name](*values))
        return tree

    def finite(self, node: ast.expr, value: float) -> Number:
        """Return the constant, which must not be infinite or not a number."""
        if not abs(value) <= sys.float_info.max:
            self.refuse(node, "is refused; allowed: finite numbers")
        return Number(float(value))

    def unknown(self, name: str) -> ConfigError:
        """Return the error for a name that means nothing here."""
        return ConfigError(self.key, f"unknown name {_shown(name)}; allowed: {ALLOWED_NAMES}")

    def refuse(self, node: ast.expr, problem: str) -> NoReturn:
        """Raise with the part of the text that is wrong."""
        segment = ast.get_source_segment(self.text, node) or self.text
        raise ConfigError(self.key, f"{_shown(segment)} {problem}")
