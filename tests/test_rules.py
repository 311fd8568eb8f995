"""Rules: what is refused and in which words, the normal text, the proof of monotony, the masks."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.config import RuleConf
from engine.errors import ConfigError
from engine.rule_expressions import parse
from engine.rule_trees import Tree, canonical, is_monotone
from engine.rules import RuleSet, load_rules
from tests.naive_rules import evaluate
from tests.rule_texts import EXPRESSIONS

NAMES = ("events", "clicks", "views", "categories")
ANY_LIMIT = 2**1100
LARGEST_COUNT = 2**32 - 1
RULE = RuleConf("event_rate", "Too many events.", "events > 10")

ALLOWED_NAMES = "events, clicks, views, categories and max(), min(), abs()"
ALLOWED = (
    "events, clicks, views, categories, numbers, + - * / // %, < <= > >= == !=, "
    "and, or, not, max(), min(), abs()"
)
WRITE_ONE = "write a comparison such as events > 10"
ARGUMENTS = "abs() takes one number, max() and min() two or more"


def loaded(*confs: RuleConf, max_categories: int = 64) -> RuleSet:
    return load_rules(confs, default_ttl_s=600, max_categories=max_categories)


def written(when: str) -> RuleConf:
    return replace(RULE, when=when)


def refusal(*confs: RuleConf, max_categories: int = 64) -> str:
    """Return the error's text after its key."""
    with pytest.raises(ConfigError) as caught:
        loaded(*confs, max_categories=max_categories)
    return str(caught.value).removeprefix("rules.rules[0].when: ")


def read(when: str) -> Tree:
    """Parse with any limit on categories; a drawn text whose constants overflow is not judged."""
    try:
        return parse(when, "when", max_categories=ANY_LIMIT)
    except ConfigError as error:
        assume("finite numbers" not in str(error))
        raise


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
    assert refusal(written(when)) == f"unknown name '{name}'; allowed: {ALLOWED_NAMES}"


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
    assert refusal(written(when)) == f"{part!r} is not allowed; allowed: {ALLOWED}"


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
    assert refusal(written(when)) == problem


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
    assert refusal(written(when)) == problem


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
    assert refusal(written(when)) == f"'{part}' is refused; allowed: finite numbers"


@pytest.mark.parametrize("call", ["abs(1, 2)", "abs()", "max(events)", "max()", "min(events)"])
def test_a_wrong_number_of_arguments_is_refused(call):
    assert refusal(written(f"{call} > 3")) == f"'{call}' is refused: {ARGUMENTS}"


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
    assert refusal(written(when)) == f"'{shown}' is not an expression; {WRITE_ONE}"


@pytest.mark.parametrize("when", ["", " \n\t "])
def test_an_empty_expression_is_refused(when):
    assert refusal(written(when)) == f"is empty; {WRITE_ONE}"


def test_a_comment_is_refused_because_it_would_hide_the_next_line():
    problem = "'#' is refused: an expression has no comments"
    assert refusal(written("events > 3 # many\nand clicks > 3")) == problem


def test_an_expression_that_is_too_long_is_refused():
    longest = "events > " + "1" * 300 + " or events > 3" * 49
    assert loaded(written(longest + " " * (1000 - len(longest)))).rules
    problem = "1001 characters are refused; allowed: 1000"
    assert refusal(written("events > 3 or " * 71 + "1 < 222")) == problem


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
    assert (
        refusal(written(nested)) == f"'{nested[:60]}...' is nested deeper than 32 levels; split it"
    )


def test_an_expression_may_be_as_deep_as_the_stack():
    nested = "events - (" * 30 + "clicks" + ")" * 30 + " > 0"
    assert loaded(written(nested)).rules


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
    assert refusal(written(f"events > 100 and {when}")) == problem
    assert loaded(written(when), max_categories=101).rules


def test_a_limit_below_max_categories_is_allowed():
    assert loaded(written("events > 100 and categories > 63 and 64 < clicks")).rules


@pytest.mark.parametrize("name", ["", "Event", "event-rate", "1st", "_rate", "é", "a\n", "a" * 65])
def test_a_malformed_name_is_refused(name):
    allowed = "a letter a-z, then at most 63 of a-z, 0-9 and _"
    problem = f"rules.rules[0].name: {name!r} is refused; allowed: {allowed}"
    assert refusal(replace(RULE, name=name)) == problem


def test_a_name_that_is_used_twice_is_refused_even_when_one_rule_is_off():
    problem = "rules.rules[1].name: 'event_rate' is used twice; give each rule its own name"
    assert refusal(replace(RULE, mode="off"), RULE) == problem


@pytest.mark.parametrize("description", ["", "  \n"])
def test_a_missing_description_is_refused(description):
    problem = "rules.rules[0].description: is empty; say what the rule finds"
    assert refusal(replace(RULE, description=description)) == problem


@pytest.mark.parametrize("ttl_s", [0, -1, 1_000_000_001])
def test_a_ttl_that_redis_would_refuse_is_refused(ttl_s):
    problem = f"rules.rules[0].ttl_s: {ttl_s} is refused; allowed: from 1 to 1000000000"
    assert refusal(replace(RULE, ttl_s=ttl_s)) == problem


def test_an_unknown_mode_is_refused():
    problem = "rules.rules[0].mode: 'on' is refused; allowed: enforce, shadow, off"
    assert refusal(replace(RULE, mode="on")) == problem


def test_a_rule_that_is_off_is_checked_all_the_same():
    problem = f"unknown name 'clics'; allowed: {ALLOWED_NAMES}"
    assert refusal(replace(RULE, when="clics > 3", mode="off")) == problem


def test_no_rules_at_all_are_refused():
    assert refusal() == "rules.rules: is empty; at least one rule is needed"


def test_more_rules_than_a_mask_has_bits_are_refused():
    rules = [replace(RULE, name=f"rule_{i}") for i in range(65)]
    assert len(loaded(*rules[:64]).rules) == 64
    assert refusal(*rules) == "rules.rules: 65 rules are refused; allowed: 64"


def test_the_key_of_an_error_begins_as_the_caller_says():
    with pytest.raises(ConfigError) as caught:
        load_rules([written("5")], default_ttl_s=600, max_categories=64, key="mine")
    assert caught.value.key == "mine.rules[0].when"


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ("events>10.0", "events > 10"),
        ("  events\n  >\n  10\n", "events > 10"),
        ("((events)) > (2 * 3 + 0x0a)", "events > 16"),
        ("clicks // views > 1_000.5", "clicks // views > 1000.5"),
        ("(events + 1) * 2 > -(3)", "(events + 1) * 2 > -3"),
        ("events + (1 * views) > 7 // 0", "events + 1 * views > 0"),
        ("events - (clicks - views) > 1e300", "events - (clicks - views) > 1e+300"),
        ("(events - clicks) - views > 1e-5", "events - clicks - views > 1e-05"),
        ("(1 < events) and (not (views > 2))", "1 < events and not views > 2"),
        ("not (events > 1 and (views > 2))", "not (events > 1 and views > 2)"),
        ("(events > 1 or views > 1) and clicks>1", "(events > 1 or views > 1) and clicks > 1"),
        ("events > 1 or (views > 1 and clicks>1)", "events > 1 or views > 1 and clicks > 1"),
        ("1<events<=max( views,abs(-clicks) )", "1 < events <= max(views, abs(-clicks))"),
        ("-(events + 1) < max(2, 3)", "-(events + 1) < 3"),
    ],
)
def test_the_normal_text_of_an_expression(when, text):
    assert canonical(read(when)) == text


@given(EXPRESSIONS)
def test_the_normal_text_reads_back_as_the_same_tree(when):
    tree = read(when)
    assert read(canonical(tree)) == tree


@pytest.mark.parametrize(
    "when",
    [
        "events > 10",
        "10 < events",
        "5 <= clicks",
        "0 < events and categories > 3 or views >= 2",
        "not events <= 10",
        "not (events < 3 or -clicks > -5)",
        "3 < clicks > 4",
        "events + 2 * clicks - 10 > 5",
        "-2 * clicks < -10",
        "events * clicks > 100",
        "(events - 5) * 2 > 4",
        "events / 2 > 3",
        "events / -2 < -3",
        "events // 3 > 2",
        "-events // 3 < -2",
        "max(events, clicks, 5) >= 6",
        "min(events, 20) > 10",
        "abs(events) > 3",
        "abs(-3 - events) > 5",
        "1 < 2",
        "1 == 1 and events > 1",
    ],
)
def test_a_rule_that_cannot_turn_false_is_proved_monotone(when):
    assert is_monotone(read(when))


@pytest.mark.parametrize(
    "when",
    [
        "views == 0 or clicks // views > 3",
        "events >= 5 and clicks / max(views, 1) > 3",
        "events < 10",
        "events == 10",
        "events != 10",
        "not events > 10",
        "events > clicks",
        "5 < events < 10",
        "events - clicks > 3",
        "-2 * clicks > -10",
        "(events - 5) * clicks > 4",
        "(events - 5) * (clicks - 5) > 4",
        "10 / events < 1",
        "events / 0 < 1 and events % 3 > 1",
        "abs(events - 5) > 2",
        "clicks / views > 3",
        "events * 1e300 // 1 > 5",
        "events * 1e300 - events * 1e300 >= 0",
        "0 * (events * 1e308) >= 0",
    ],
)
def test_a_rule_that_may_turn_false_is_not_called_monotone(when):
    assert not is_monotone(read(when))


GROWTH = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(0, 3))), min_size=1)
JUMPS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, st.integers(0, 2**31))), max_size=2)


@given(EXPRESSIONS, GROWTH, JUMPS)
def test_a_monotone_rule_never_turns_from_true_to_false(when, growth, jumps):
    assume(is_monotone(read(when)))
    counts = dict.fromkeys(NAMES, 0)
    fired = evaluate(when, counts)
    for step in growth + jumps:
        counts = {name: min(counts[name] + step[name], LARGEST_COUNT) for name in NAMES}
        fires = evaluate(when, counts)
        assert fires or not fired
        fired = fires


THREE = (
    RULE,
    RuleConf("unused", "Not now.", "views > 1", mode="off"),
    RuleConf("ratio", "Too many clicks.", "clicks / views > 3", ttl_s=60, mode="shadow"),
    RuleConf("many", "Many categories.", "categories > 10", ttl_s=3600),
)


def test_masks_count_the_rules_that_are_not_off():
    rules = loaded(*THREE)
    assert [rule.name for rule in rules.rules] == ["event_rate", "ratio", "many"]
    assert (rules.enforce_mask, rules.shadow_mask, rules.monotone_mask) == (0b101, 0b010, 0b101)
    assert rules.n_monotone == 2


def test_a_rule_without_ttl_takes_the_default():
    assert loaded(*THREE).ttl_s == (600, 60, 3600)


def test_the_longest_ttl_is_that_of_the_rules_in_the_mask():
    rules = loaded(*THREE)
    assert [rules.longest_ttl_s(mask) for mask in (0b000, 0b010, 0b011, 0b111)] == [
        0,
        60,
        600,
        3600,
    ]


def test_reasons_are_names_in_rule_order():
    rules = loaded(*THREE)
    assert rules.reasons(0b000) == ()
    assert rules.reasons(0b101) == ("event_rate", "many")
    assert rules.reasons(0b111) == ("event_rate", "ratio", "many")


def test_rules_that_are_all_off_are_an_empty_set():
    rules = loaded(replace(RULE, mode="off"))
    assert (rules.rules, rules.enforce_mask, rules.monotone_mask) == ((), 0, 0)
    assert rules.program.starts.tolist() == [0]


def test_the_program_is_read_only_and_has_fixed_types():
    program = loaded(*THREE).program
    assert [array.dtype.name for array in program] == ["int32", "float64", "int32"]
    assert not any(array.flags.writeable for array in program)


@pytest.mark.parametrize(
    "same",
    [
        replace(RULE, description="Said in other words."),
        replace(RULE, when=" (events)>10.0 "),
        replace(RULE, ttl_s=600),
    ],
)
def test_the_hash_stays_where_no_verdict_can_change(same):
    assert loaded(same).sha8 == loaded(RULE).sha8
    assert re.fullmatch("[0-9a-f]{8}", loaded(same).sha8)


@pytest.mark.parametrize(
    "other",
    [
        replace(RULE, name="other"),
        replace(RULE, when="events > 11"),
        replace(RULE, ttl_s=601),
        replace(RULE, mode="shadow"),
        replace(RULE, mode="off"),
    ],
)
def test_the_hash_changes_with_name_expression_ttl_and_mode(other):
    assert loaded(other).sha8 != loaded(RULE).sha8
