"""Rule expressions: what is refused, and in which words."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from engine.rule_expressions import parse
from engine.rule_trees import Tree

ALLOWED_NAMES = "events, clicks, views, categories and max(), min(), abs()"
ALLOWED = (
    "events, clicks, views, categories, numbers, + - * / // %, < <= > >= == !=, "
    "and, or, not, max(), min(), abs()"
)
WRITE_ONE = "write a comparison such as events > 10"
ARGUMENTS = "abs() takes one number, max() and min() two or more"


def read(when: str, *, max_categories: int = 64) -> Tree:
    return parse(when, "the.key", max_categories=max_categories)


def refusal(when: str) -> str:
    """Return the error's text after its key."""
    with pytest.raises(ConfigError) as caught:
        read(when)
    assert caught.value.key == "the.key"
    return str(caught.value).removeprefix("the.key: ")


@pytest.mark.parametrize(
    ("when", "name"),
    [
        ("clics > 3", "clics"),
        ("events > 3 and clics > 3", "clics"),
        ("events > nan", "nan"),
        ("events < inf", "inf"),
        ("max > 3", "max"),
        ("open(1) > 3", "open()"),
        ("events(1) > 3", "events()"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones(when, name):
    assert refusal(when) == f"unknown name '{name}'; allowed: {ALLOWED_NAMES}"


@pytest.mark.parametrize(
    ("when", "part"),
    [
        ("events.real > 3", "events.real"),
        ("events.__class__ > 3", "events.__class__"),
        ("events.bit_length() > 3", "events.bit_length()"),
        ("(lambda: 1)() > 3", "(lambda: 1)()"),
        ("(lambda: events) > 3", "lambda: events"),
        ("events[0] > 3", "events[0]"),
        ("events > '3'", "'3'"),
        ("events > b'3'", "b'3'"),
        ("events > f'{clicks}'", "f'{clicks}'"),
        ("events > None", "None"),
        ("events > ...", "..."),
        ("events > 3j", "3j"),
        ("events > True", "True"),
        ("True", "True"),
        ("(e := events) > 3", "e := events"),
        ("events > 3 if clicks else views", "events > 3 if clicks else views"),
        ("[events] > 3", "[events]"),
        ("{events: 1} > 3", "{events: 1}"),
        ("(events, 1) > 3", "(events, 1)"),
        ("[e for e in events] > 3", "[e for e in events]"),
        ("max(*events, 1) > 3", "*events"),
        ("max(events, 1, key=1) > 3", "max(events, 1, key=1)"),
        ("events ** 2 > 3", "events ** 2"),
        ("events & 2 > 3", "events & 2"),
        ("+events > 3", "+events"),
        ("~events > 3", "~events"),
        ("events in clicks", "events in clicks"),
        ("events is clicks", "events is clicks"),
    ],
)
def test_what_is_not_on_the_whitelist_is_refused(when, part):
    assert refusal(when) == f"{part!r} is not allowed; allowed: {ALLOWED}"


@pytest.mark.parametrize(
    ("when", "part"),
    [
        ("5", "5"),
        ("events", "events"),
        ("events + 1", "events + 1"),
        ("not events", "events"),
        ("clicks and events > 3", "clicks"),
    ],
)
def test_a_number_where_a_truth_must_stand_is_refused(when, part):
    problem = f"'{part}' is a number, not true or false; {WRITE_ONE}"
    assert refusal(when) == problem


@pytest.mark.parametrize(
    ("when", "part"),
    [
        ("(events > 3) + 1 > 1", "events > 3"),
        ("-(events > 3) > 1", "events > 3"),
        ("(not events > 3) == (clicks > 3)", "not events > 3"),
        ("max(1, 1 < 2 or 2 < 1) > 1", "1 < 2 or 2 < 1"),
    ],
)
def test_a_truth_where_a_number_must_stand_is_refused(when, part):
    problem = f"'{part}' is true or false; a number must stand there"
    assert refusal(when) == problem


@pytest.mark.parametrize(
    ("when", "part"),
    [
        ("events > 1e999", "1e999"),
        ("events > -1e999", "1e999"),
        (f"events > 1{'0' * 400}", f"1{'0' * 59}..."),
        ("events > 1e300 * 1e300", "1e300 * 1e300"),
        ("events > 1e300 / 1e-300", "1e300 / 1e-300"),
    ],
)
def test_an_infinite_constant_is_refused(when, part):
    assert refusal(when) == f"'{part}' is refused; allowed: finite numbers"


@pytest.mark.parametrize("call", ["abs(1, 2)", "abs()", "max(events)", "max()", "min(events)"])
def test_a_wrong_number_of_arguments_is_refused(call):
    assert refusal(f"{call} > 3") == f"'{call}' is refused: {ARGUMENTS}"


@pytest.mark.parametrize(
    ("when", "shown"),
    [
        ("events >", "events >"),
        ("events = 3", "events = 3"),
        ("events > 3; clicks > 3", "events > 3; clicks > 3"),
        ("events > 3) or (clicks > 3", "events > 3) or (clicks > 3"),
        ("events > 3 &&\n  clicks > 3", "events > 3 && clicks > 3"),
        ("events > 3and clicks > 3", "events > 3and clicks > 3"),
        ("e := events > 3", "e := events > 3"),
        ("import os", "import os"),
        ("events\0> 3", r"events\x00> 3"),
        ("events\ud800> 3", r"events\ud800> 3"),
        ("(" * 300 + "1" + ")" * 300, "(" * 60 + "..."),
        ("1 " * 500, "1 " * 30 + "..."),
    ],
)
def test_what_python_cannot_parse_is_refused_without_its_error(when, shown):
    assert refusal(when) == f"'{shown}' is not an expression; {WRITE_ONE}"


@pytest.mark.parametrize("when", ["", " \n\t "])
def test_an_empty_expression_is_refused(when):
    assert refusal(when) == f"is empty; {WRITE_ONE}"


def test_a_comment_is_refused_because_it_would_hide_the_next_line():
    problem = "'#' is refused: an expression has no comments"
    assert refusal("events > 3 # many\nand clicks > 3") == problem


def test_an_expression_that_is_too_long_is_refused():
    many = "events > 3 or " * 71
    assert read(many + "1 < 22")
    assert refusal(many + "1 < 222") == "1001 characters are refused; allowed: 1000"


@pytest.mark.parametrize(
    "nested",
    [
        "-" * 900 + "events > 0",
        "not " * 240 + "events > 0",
        "events" + " + 1" * 240 + " > 0",
        "events - (" * 31 + "1" + ")" * 31 + " > 0",
    ],
)
def test_an_expression_that_is_too_deep_is_refused(nested):
    assert refusal(nested) == f"'{nested[:60]}...' is nested deeper than 32 levels; split it"


def test_an_expression_may_be_as_deep_as_the_stack():
    nested = "events - (" * 30 + "clicks" + ")" * 30 + " > 0"
    assert read(nested)


@pytest.mark.parametrize(
    "when",
    [
        "categories > 64",
        "categories >= 100",
        "categories == 64",
        "64 < categories",
        "0 < categories < 64",
        "categories / 2 > 64",
        "max(events, categories) > 8 * 8",
    ],
)
def test_a_limit_that_categories_cannot_pass_is_refused(when):
    problem = f"'{when}' is refused: categories stop at window.max_categories=64; compare with less"
    assert refusal(f"events > 100 and {when}") == problem
    assert read(when, max_categories=101)


def test_a_limit_below_max_categories_is_allowed():
    assert read("events > 100 and categories > 63 and 64 < clicks")
