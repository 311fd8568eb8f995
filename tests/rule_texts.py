"""Random rule expressions as text, for every test that compares two readings of a rule.

Constants go to both ends of float64, so that overflow, underflow and division by zero are drawn.
Knows how a rule is written and nothing of what it means.
"""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.rule_expressions import parse
from engine.rule_trees import Tree

ANY_LIMIT = 2**1100

NAMES = st.sampled_from(["events", "clicks", "views", "categories"])
PLAIN = st.one_of(st.integers(0, 70), st.sampled_from([0.1, 0.5, 2.5, 1e3])).map(str)
EXTREME = st.sampled_from(["1e300", "1e-300", "5e-324", "9007199254740993", "1e15"])
LEAVES = st.one_of(NAMES, NAMES, PLAIN, EXTREME)


def _arithmetic(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    form = st.sampled_from(["{} {} {}", "({} {} {})", "({}) {} ({})"])
    symbols = st.sampled_from(["+", "-", "*", "/", "//", "%"])
    lists = st.lists(inner, min_size=2, max_size=3).map(", ".join)
    return st.one_of(
        st.builds(str.format, form, inner, symbols, inner),
        st.builds("{}({})".format, st.sampled_from(["max", "min"]), lists),
        inner.map("abs({})".format),
        inner.map("-({})".format),
    )


NUMBERS = st.recursive(LEAVES, _arithmetic, max_leaves=5)
ORDERS = st.sampled_from([">", ">", ">=", "<", "<=", "==", "!="])
COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, NUMBERS, ORDERS, NUMBERS),
    st.builds("{} {} {} {} {}".format, NUMBERS, ORDERS, NUMBERS, ORDERS, NUMBERS),
)


def _logic(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    form = st.sampled_from(["{} {} {}", "({}) {} ({})", "({}) {} {}"])
    return st.one_of(
        st.builds(str.format, form, inner, st.sampled_from(["and", "or"]), inner),
        inner.map("not ({})".format),
    )


EXPRESSIONS = st.recursive(COMPARISONS, _logic, max_leaves=4)


def read(when: str) -> Tree:
    """Parse with any limit on categories; a drawn text whose constants overflow is not judged."""
    try:
        return parse(when, "when", max_categories=ANY_LIMIT)
    except ConfigError as error:
        assume("finite numbers" not in str(error))
        raise
