"""Rules: what the user declares, checked, and put together as one set with its program.

A rule is data from end to end: its text becomes a tree (`engine.rule_expressions`), the tree
becomes instructions (`engine.rule_programs`), and the judge kernel interprets them.
Invariant: bit i of every mask stands for rule i of `RuleSet.rules`, where no rule is off.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from engine.config import MAX_WINDOW_S, RuleConf
from engine.errors import ConfigError
from engine.rule_expressions import parse
from engine.rule_programs import Program, compiled
from engine.rule_trees import Tree, canonical, is_monotone
from engine.schema import check_range
from engine.windows import Window, window_of

MAX_RULES = 64
MAX_WINDOWS = 8
MAX_TTL_S = 1_000_000_000
MODES = ("enforce", "shadow", "off")
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Rule:
    """One checked rule; `when` is its text as written, `tree` what it means."""

    name: str
    description: str
    when: str
    ttl_s: int
    mode: str
    tree: Tree
    window: Window


@dataclass(frozen=True)
class RuleSet:
    """The rules that are not off, in order, and what follows from them.

    `base` is the window whose statistics are kept, and that of each rule that names none.
    """

    rules: tuple[Rule, ...]
    base: Window

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Every kind of window that is counted, the base first."""
        return tuple(dict.fromkeys([self.base, *(rule.window for rule in self.rules)]))

    def program_of(self, window: Window) -> Program:
        """Return what the judge kernel runs for a kind of window: its rules, at their own bits."""
        return compiled([rule.tree if rule.window == window else None for rule in self.rules])

    def mask_of(self, window: Window) -> int:
        """Return the rules of a kind of window."""
        return self._mask(lambda rule: rule.window == window)

    @cached_property
    def enforce_mask(self) -> int:
        """The rules whose verdict flags."""
        return self._mask(lambda rule: rule.mode == "enforce")

    @cached_property
    def shadow_mask(self) -> int:
        """The rules that are only watched."""
        return self._mask(lambda rule: rule.mode == "shadow")

    @cached_property
    def monotone_mask(self) -> int:
        """The rules that, once true in a window, stay true until it closes."""
        return self._mask(lambda rule: is_monotone(rule.tree))

    @property
    def n_monotone(self) -> int:
        """How many rules are monotone."""
        return self.monotone_mask.bit_count()

    @property
    def ttl_s(self) -> tuple[int, ...]:
        """The seconds that each rule's decision stays."""
        return tuple(rule.ttl_s for rule in self.rules)

    @cached_property
    def sha8(self) -> str:
        """Eight hex digits that change when a verdict or an expiry could; not with descriptions."""
        content = [
            [rule.name, canonical(rule.tree), rule.ttl_s, rule.mode, str(rule.window)]
            for rule in self.rules
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]

    def longest_ttl_s(self, mask: int) -> int:
        """Return the longest ttl_s of the rules in the mask, 0 for none."""
        return max((rule.ttl_s for rule in self._chosen(mask)), default=0)

    def reasons(self, mask: int) -> tuple[str, ...]:
        """Return the names of the rules in the mask, in rule order."""
        return tuple(rule.name for rule in self._chosen(mask))

    def _chosen(self, mask: int) -> list[Rule]:
        return [rule for i, rule in enumerate(self.rules) if int(mask) >> i & 1]

    def _mask(self, belongs: Callable[[Rule], bool]) -> int:
        return sum(1 << i for i, rule in enumerate(self.rules) if belongs(rule))


def load_rules(
    confs: Sequence[RuleConf],
    *,
    base: Window,
    default_ttl_s: int,
    max_categories: int,
    key: str = "rules",
) -> RuleSet:
    """Check every rule, also one that is off, and return those that are not off."""
    at = f"{key}.rules"
    if not confs:
        raise ConfigError(at, "is empty; at least one rule is needed")
    if len(confs) > MAX_RULES:
        raise ConfigError(at, f"{len(confs)} rules are refused; allowed: {MAX_RULES}")
    rules: list[Rule] = []
    for i, conf in enumerate(confs):
        _check_name(conf.name, f"{at}[{i}].name", taken={rule.name for rule in rules})
        tree = parse(conf.when, f"{at}[{i}].when", max_categories=max_categories)
        window = _window(conf, f"{at}[{i}]", base=base)
        rules.append(_rule(conf, f"{at}[{i}]", tree=tree, ttl_s=default_ttl_s, window=window))
    found = RuleSet(tuple(rule for rule in rules if rule.mode != "off"), base)
    _check_windows(found.windows, at)
    return found


def _check_name(name: str, key: str, *, taken: set[str]) -> None:
    if not NAME.fullmatch(name):
        allowed = "a letter a-z, then at most 63 of a-z, 0-9 and _"
        raise ConfigError(key, f"{name!r} is refused; allowed: {allowed}")
    if name in taken:
        raise ConfigError(key, f"{name!r} is used twice; give each rule its own name")


def _window(conf: RuleConf, key: str, *, base: Window) -> Window:
    """Return the window that a rule is judged over."""
    if conf.window_s is None:
        if conf.slide_s is not None:
            raise ConfigError(key + ".slide_s", f"{conf.slide_s} needs a window_s beside it")
        return base
    check_range(key + ".window_s", conf.window_s, low=1, high=MAX_WINDOW_S)
    return window_of(conf.window_s, conf.slide_s, key=key + ".slide_s")


def _check_windows(windows: Sequence[Window], key: str) -> None:
    """Refuse too many windows, and two of one length: their values could not be told apart."""
    shown = ", ".join(map(str, windows))
    if len(windows) > MAX_WINDOWS:
        problem = f"{len(windows)} windows ({shown}) are refused; allowed: {MAX_WINDOWS}"
        raise ConfigError(key, problem)
    if len({window.length_s for window in windows}) < len(windows):
        problem = f"windows of one length with two slides ({shown}) are refused; give them one"
        raise ConfigError(key, problem)


def _rule(conf: RuleConf, key: str, *, tree: Tree, ttl_s: int, window: Window) -> Rule:
    ttl_s = ttl_s if conf.ttl_s is None else conf.ttl_s
    if not conf.description.strip():
        raise ConfigError(key + ".description", "is empty; say what the rule finds")
    if not 1 <= ttl_s <= MAX_TTL_S:
        problem = f"{ttl_s} is refused; allowed: from 1 to {MAX_TTL_S}"
        raise ConfigError(key + ".ttl_s", problem)
    if conf.mode not in MODES:
        raise ConfigError(key + ".mode", f"{conf.mode!r} is refused; allowed: {', '.join(MODES)}")
    return Rule(conf.name, conf.description.strip(), conf.when, ttl_s, conf.mode, tree, window)
