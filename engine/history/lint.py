"""task=lint: rules that can do nothing, that add nothing, or that fire on ordinary traffic.

What can be is searched for on possible counts and on those that were recorded. That is no proof, so
a finding says on how many counts it rests. What was is counted on the recorded range.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.history.aggregates import Aggregates, Counted
from engine.history.evaluation import Evidence, flagged
from engine.history.possible import Points, holds, points_around
from engine.rule_margins import Comparison, parts_of, value_of
from engine.rule_trees import Bool, Compare, Number, Tree, canonical
from engine.rules import Rule
from engine.terminal.readings import number

MOST_SHARE = 0.01  # of ordinary windows: the 99th percentile lies beyond the threshold
PERCENTILES = {">": 0.99, ">=": 0.99, "<": 0.01, "<=": 0.01}
WORDS = {0.99: "99th", 0.01: "1st"}


class Finding(NamedTuple):
    """What is wrong with a rule, and what to do."""

    rule: str
    kind: str
    text: str


def findings_of(
    aggregates: Aggregates, evidence: Evidence, *, max_categories: int
) -> Iterator[Finding]:
    """Yield what is found, rule by rule."""
    rules = evidence.rules
    counted = {w.length_s: aggregates.counted(w.length_s) for w in rules.windows}
    for index, rule in enumerate(rules.rules):
        own = counted[rule.window.length_s]
        points = points_around([rule.tree], max_categories=max_categories).and_recorded(own)
        dead = list(never_fires(rule, points))
        yield from dead
        if not dead:
            yield from implied(rule, evidence, points, max_categories=max_categories)
            yield from in_the_range(evidence, index, rule, n_windows=int(own.windows.sum()))
            yield from ordinary(rule, own, evidence.people["is_bot"])


# -- what can be ---------------------------------------------------------------------------------


def never_fires(rule: Rule, points: Points) -> Iterator[Finding]:
    """Yield that no counts were found that make the rule true."""
    if not holds(rule.tree, points).any():
        tried = f"none of {number(len(points.events))} counts that were tried makes it true"
        text = f"`{canonical(rule.tree)}` seems never to fire: {tried} (a search, no proof)"
        yield Finding(rule.name, "never_fires", f"{text}; correct it, or take it out")


def implied(
    rule: Rule, evidence: Evidence, points: Points, *, max_categories: int
) -> Iterator[Finding]:
    """Yield another enforced rule of the same windows that fires whenever this one does."""
    own = holds(rule.tree, points)
    is_later = False
    for other in evidence.rules.rules:
        is_later = is_later or other is rule
        is_alike = other.window == rule.window and other.mode == "enforce" and other is not rule
        if is_alike and holds(other.tree, points)[own].all():  # most are refuted here, at once
            n_tried = covered(rule, other, max_categories=max_categories, is_later=is_later)
            if n_tried:
                tried = f"on all {number(n_tried)} counts that were tried (a search, no proof)"
                text = f"{other.name} fires whenever it does, {tried}; one of the two is enough"
                yield Finding(rule.name, "implied", text)
                return


def covered(rule: Rule, other: Rule, *, max_categories: int, is_later: bool) -> int:
    """Return on how many counts the rule fires where the other one does so each time, else 0.

    is_later: the other one is. Of two rules that say the same only the later one is named.
    """
    points = points_around([rule.tree, other.tree], max_categories=max_categories)
    own, theirs = holds(rule.tree, points), holds(other.tree, points)
    is_first_of_two = is_later and rule.mode == "enforce" and np.array_equal(own, theirs)
    return 0 if is_first_of_two or not theirs[own].all() else int(own.sum())


# -- what was ------------------------------------------------------------------------------------


def in_the_range(
    evidence: Evidence, index: int, rule: Rule, *, n_windows: int
) -> Iterator[Finding]:
    """Yield that the rule hit nothing in the range, or nothing that others would not hit."""
    own = flagged(evidence, 1 << index)
    if len(own) == 0:
        text = f"it hit none of {number(n_windows)} windows of addresses in the range"
        yield Finding(rule.name, "never_hit", f"{text}; lower its threshold, or take it out")
        return
    others = evidence.rules.enforce_mask & ~(1 << index)
    if len(own.join(flagged(evidence, others), on="place", how="anti")) == 0:
        text = f"each of the {len(own)} addresses that it hit was hit by another rule too"
        yield Finding(rule.name, "only_with_others", f"{text}: it adds none, but may be sooner")


def ordinary(rule: Rule, counted: Counted, is_bot: pl.Series) -> Iterator[Finding]:
    """Yield each alternative of the rule that holds in more than 1 % of the ordinary windows.

    Ordinary are the windows of people where there are labels, else all.
    """
    people = (~is_bot).fill_null(value=False).to_numpy()
    whose = "of people" if people.any() else "of all addresses"
    is_ordinary = people[counted.places] if people.any() else np.ones(len(counted.places), np.bool_)
    windows = np.bincount(
        counted.triples[is_ordinary],
        counted.windows[is_ordinary],
        minlength=len(counted.events),
    ).astype(np.float64)
    for part in alternatives(rule.tree):
        n, total = windows[holds(part, counted)].sum(), windows.sum()
        if n > MOST_SHARE * total:
            text = f"`{canonical(part)}` alone makes it fire, and holds in {100 * n / total:.1f} %"
            text += (
                f" of the {number(int(total))} windows {whose}{percentile(part, counted, windows)}"
            )
            yield Finding(rule.name, "ordinary", f"{text}; change the threshold, or ask for more")


def alternatives(tree: Tree) -> tuple[Tree, ...]:
    """Return the parts of which each alone makes a rule true."""
    if isinstance(tree, Bool) and tree.operator == "or":
        return tuple(part for operand in tree.operands for part in alternatives(operand))
    return (tree,)


def percentile(part: Tree, counted: Counted, windows: NDArray[np.float64]) -> str:
    """Return where the outer percent of what is compared lies, where it is with a number alone."""
    one = parts_of(part)
    if not isinstance(part, Compare) or not isinstance(one, Comparison):
        return ""
    if not isinstance(one.right, Number) or one.symbol not in PERCENTILES:
        return ""
    at = PERCENTILES[one.symbol]
    values = np.array([value_of(one.left, counts) for counts in counts_of(counted)])
    order = np.argsort(values)
    reached = np.cumsum(windows[order]) >= at * windows.sum()
    value = values[order][np.argmax(reached)]
    return f": their {WORDS[at]} percentile of `{canonical(one.left)}` is {value:g}"


def counts_of(counted: Counted) -> Iterator[dict[str, int]]:
    """Yield the distinct counts by their names in rules."""
    rows = zip(
        counted.events.tolist(), counted.clicks.tolist(), counted.categories.tolist(), strict=True
    )
    for events, clicks, categories in rows:
        views = events - clicks
        yield {"events": events, "clicks": clicks, "views": views, "categories": categories}
