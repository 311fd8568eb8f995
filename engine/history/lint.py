"""task=lint: rules that can do nothing, that add nothing, or that fire on ordinary traffic.

What can be is searched for on points: counts around the numbers that stand in the rules. That is no
proof, so a finding says on how many points it rests. What was is counted on a recorded range.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.history.aggregates import Aggregates, Counted
from engine.history.evaluation import Evidence, flagged
from engine.kernels.judge import judge_rows
from engine.rule_programs import compiled
from engine.rule_trees import Binary, Bool, Call, Compare, Number, Tree, Unary, canonical
from engine.rules import Rule

USUAL_EVENTS = (1, 2, 3, 5, 8, 13, 21, 50, 100, 1_000, 100_000)
CLICK_SHARES = (0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
MOST_EVENTS = 2.0**31
MOST_SHARE = 0.01  # of ordinary windows: the 99th percentile lies beyond the threshold


class Finding(NamedTuple):
    """What is wrong with a rule, and what to do."""

    rule: str
    kind: str
    text: str


class Points(NamedTuple):
    """Counts that a window can have, uint32[n] each."""

    events: NDArray[np.uint32]
    clicks: NDArray[np.uint32]
    categories: NDArray[np.uint32]


def findings_of(
    aggregates: Aggregates, evidence: Evidence, *, max_categories: int
) -> Iterator[Finding]:
    """Yield what is found, rule by rule."""
    rules = evidence.rules
    points = points_around([rule.tree for rule in rules.rules], max_categories=max_categories)
    counted = {w.length_s: aggregates.counted(w.length_s) for w in rules.windows}
    for index, rule in enumerate(rules.rules):
        dead = list(never_fires(rule, points))
        yield from dead
        if not dead:
            yield from implied(rule, evidence, points)
            yield from in_the_range(evidence, index, rule)
            yield from ordinary(rule, counted[rule.window.length_s], evidence.people["is_bot"])


def holds(tree: Tree, at: Points | Counted) -> NDArray[np.bool_]:
    """Return where a rule holds, by the kernel that judges in a run."""
    mask = np.empty(len(at.events), np.uint64)
    judge_rows(compiled([tree]), at.events, at.clicks, at.categories, mask)
    return mask.astype(np.bool_)


# -- what can be ---------------------------------------------------------------------------------


def never_fires(rule: Rule, points: Points) -> Iterator[Finding]:
    """Yield that no counts make the rule true."""
    if not holds(rule.tree, points).any():
        text = f"it can never fire: none of {len(points.events)} possible counts makes it true"
        yield Finding(rule.name, "never_fires", f"{text}; correct the expression, or take it out")


def implied(rule: Rule, evidence: Evidence, points: Points) -> Iterator[Finding]:
    """Yield another enforced rule of the same windows that fires whenever this one does."""
    own, is_earlier = holds(rule.tree, points), True
    for other in evidence.rules.rules:
        if other is rule:
            is_earlier = False
            continue
        theirs = holds(other.tree, points)
        is_alike = other.window == rule.window and other.mode == "enforce"
        is_same_and_later = not is_earlier and np.array_equal(own, theirs)
        if not is_alike or not theirs[own].all() or is_same_and_later:
            continue
        text = (
            f"{other.name} fires whenever it does, on all {int(own.sum())} counts that were tried"
        )
        yield Finding(rule.name, "implied", f"{text}; one of the two is enough")
        return


def points_around(trees: list[Tree], *, max_categories: int) -> Points:
    """Return counts around every number of these rules, each of them possible in a window."""
    numbers = {n for tree in trees for n in numbers_in(tree) if 0 <= n < MOST_EVENTS}
    near = {int(n) + step for n in numbers for step in (-1, 0, 1, 2)}
    events = sorted({n for n in {*near, *USUAL_EVENTS} if n >= 1})
    found = set()
    for n in events:
        clicks = {round(n * share) for share in CLICK_SHARES} | {c for c in near if 0 <= c <= n}
        clicks |= {n - v for v in near if 0 <= v <= n}
        categories = {c for c in {*near, 1, 2, n // 2, n} if 1 <= c <= min(n, max_categories)}
        found |= {(n, c, k) for c, k in itertools.product(clicks, categories)}
    columns = np.array(sorted(found), np.uint32).T.copy()
    return Points(*columns)


def numbers_in(tree: Tree) -> Iterator[float]:
    """Yield every number of an expression."""
    match tree:
        case Number(value):
            yield value
        case Unary(_, operand):
            yield from numbers_in(operand)
        case Binary(_, left, right):
            yield from (*numbers_in(left), *numbers_in(right))
        case Call(_, parts) | Compare(_, parts) | Bool(_, parts):
            for part in parts:
                yield from numbers_in(part)


# -- what was ------------------------------------------------------------------------------------


def in_the_range(evidence: Evidence, index: int, rule: Rule) -> Iterator[Finding]:
    """Yield that the rule hit nothing in the range, or nothing that others would not hit."""
    own = flagged(evidence, 1 << index)
    if len(own) == 0:
        text = "it hit no window of the range; lower its threshold, or take it out"
        yield Finding(rule.name, "never_hit", text)
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
    windows = np.bincount(counted.triples[is_ordinary], counted.windows[is_ordinary])
    windows = np.append(windows, np.zeros(len(counted.events) - len(windows)))
    for part in alternatives(rule.tree):
        n, total = windows[holds(part, counted)].sum(), windows.sum()
        if n > MOST_SHARE * total:
            text = f"`{canonical(part)}` holds in {100 * n / total:.1f} % of the windows {whose}"
            advice = "their 99th percentile lies beyond it; raise the threshold, or ask for more"
            yield Finding(rule.name, "ordinary", f"{text}: {advice}")


def alternatives(tree: Tree) -> tuple[Tree, ...]:
    """Return the parts of which each alone makes a rule true."""
    return tree.operands if isinstance(tree, Bool) and tree.operator == "or" else (tree,)
