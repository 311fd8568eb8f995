"""Rule sets: what is refused around an expression, masks, reasons, expiries and the hash."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from engine.config import RuleConf
from engine.errors import ConfigError
from engine.rules import RuleSet, load_rules
from engine.windows import Window

RULE = RuleConf("event_rate", "Too many events.", "events > 10")


def loaded(*confs: RuleConf, key: str = "rules") -> RuleSet:
    base = Window(10, 10)
    return load_rules(confs, base=base, default_ttl_s=600, max_categories=64, key=key)


def refusal(*confs: RuleConf) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(*confs)
    return str(caught.value)


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
    problem = refusal(RULE, replace(RULE, name="other", when="clics > 3", mode="off"))
    assert problem.startswith("rules.rules[1].when: unknown name 'clics'; allowed: events")


def test_no_rules_at_all_are_refused():
    assert refusal() == "rules.rules: is empty; at least one rule is needed"


def test_more_rules_than_a_mask_has_bits_are_refused():
    rules = [replace(RULE, name=f"rule_{i}") for i in range(65)]
    assert len(loaded(*rules[:64]).rules) == 64
    assert refusal(*rules) == "rules.rules: 65 rules are refused; allowed: 64"


def test_the_key_of_an_error_begins_as_the_caller_says():
    with pytest.raises(ConfigError) as caught:
        loaded(replace(RULE, when="5"), key="mine")
    assert caught.value.key == "mine.rules[0].when"


THREE = (
    RULE,
    RuleConf("unused", "Not now.", "views > 1", mode="off"),
    RuleConf("ratio", "Too many clicks.", "clicks / views > 3", ttl_s=60, mode="shadow"),
    RuleConf("many", "Many categories.", "categories > 10", ttl_s=3600),
)


def test_a_rule_without_a_window_is_judged_over_that_of_the_statistics():
    rules = loaded(RULE, replace(RULE, name="slow", window_s=60), replace(RULE, name="b", ttl_s=1))
    assert rules.windows == (Window(10, 10), Window(60, 60))
    assert (rules.mask_of(Window(10, 10)), rules.mask_of(Window(60, 60))) == (0b101, 0b010)


def test_a_rule_that_is_off_needs_no_window():
    assert loaded(RULE, replace(RULE, name="slow", window_s=60, mode="off")).windows == (
        Window(10, 10),
    )


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        ({"window_s": 0}, "window_s: 0 is refused; allowed: from 1 to 86400"),
        ({"window_s": 86_401}, "window_s: 86401 is refused; allowed: from 1 to 86400"),
        ({"window_s": 60, "slide_s": 61}, "slide_s: 61 is refused; allowed: from 1 to 60"),
        ({"window_s": 60, "slide_s": 0}, "slide_s: 0 is refused; allowed: from 1 to 60"),
        ({"slide_s": 5}, "slide_s: 5 needs a window_s beside it"),
        (
            {"window_s": 20_000, "slide_s": 1},
            "slide_s: 1 cuts a window into 20000 panes; allowed: 10000",
        ),
    ],
)
def test_a_window_that_cannot_be_built_is_refused(own, problem):
    assert refusal(RULE, replace(RULE, name="own", **own)) == f"rules.rules[1].{problem}"


def test_two_windows_of_one_length_are_refused():
    problem = "rules.rules: windows of one length with two slides (10/10, 10/5) are refused"
    own = replace(RULE, name="own", window_s=10, slide_s=5)
    assert refusal(RULE, own).startswith(problem)


def test_more_windows_than_are_held_at_once_are_refused():
    rules = [replace(RULE, name=f"rule_{i}", window_s=20 + i) for i in range(8)]
    assert len(loaded(*rules[:7]).windows) == 8
    assert refusal(*rules).startswith("rules.rules: 9 windows (10/10, 20/20, 21/21,")


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
    assert rules.program_of(rules.base).starts.tolist() == [0]


def test_the_program_is_read_only_and_has_fixed_types():
    program = loaded(*THREE).program_of(Window(10, 10))
    assert [array.dtype.name for array in program] == ["int32", "float64", "int32"]
    assert not any(array.flags.writeable for array in program)


@pytest.mark.parametrize(
    "same",
    [
        replace(RULE, description="Said in other words."),
        replace(RULE, when=" (events)>10.0 "),
        replace(RULE, ttl_s=600),
        replace(RULE, window_s=10),
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
        replace(RULE, window_s=60),
    ],
)
def test_the_hash_changes_with_name_expression_ttl_and_mode(other):
    assert loaded(other).sha8 != loaded(RULE).sha8
