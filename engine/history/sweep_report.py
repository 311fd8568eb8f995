"""What a sweep found: the front of what can be had, the set to take, and its rules as YAML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray
from rich.table import Table

from engine.config import RuleConf
from engine.history.evaluation import score
from engine.history.sweep import Surface
from engine.history.table import figure, percent, plain_table
from engine.rule_thresholds import thresholds, with_thresholds
from engine.rule_trees import canonical
from engine.terminal.readings import number

BOTS, PEOPLE, ALL = range(3)
N_SHOWN = 20
USUAL_SHARE = 0.005
NEARLY_0 = 1e-9  # so that a threshold of 0 has a logarithm
Figures = dict[str, Any]
T = TypeVar("T")


class Wanted(NamedTuple):
    """How many may be flagged: with labels of the people, else of all addresses."""

    max_people_share: float
    max_flagged: int | None

    def budget(self, found: Surface) -> int:
        """Return how many addresses may be flagged where there are no labels."""
        usual = int(USUAL_SHARE * found.totals[ALL])
        return usual if self.max_flagged is None else self.max_flagged


def is_labelled(found: Surface) -> bool:
    """Whether there are bots and people among the addresses."""
    return bool(found.totals[BOTS] and found.totals[PEOPLE])


def report_of(found: Surface, wanted: Wanted) -> Figures:
    """Return the figures of a sweep; with labels a front of recall, else the flagged addresses."""
    labelled = is_labelled(found)
    if labelled:
        best = best_by_labels(found, wanted.max_people_share * int(found.totals[PEOPLE]))
    else:
        best = best_by_budget(found, wanted.budget(found))
    return {
        "sets": len(found.sets),
        "addresses": int(found.totals[ALL]),
        "written": set_of(found, found.written),
        "best": None if best is None else set_of(found, best),
        "front": [set_of(found, index) for index in front(found)] if labelled else [],
        "by_threshold": list(by_threshold(found)),
    }


def missed_text(found: Surface, wanted: Wanted) -> str:
    """Return the line that says that no set keeps to what is wanted, and how near one comes."""
    if is_labelled(found):
        key, least, of = "max_people_share", found.counts[:, PEOPLE].min(), found.totals[PEOPLE]
        limit = f"{wanted.max_people_share:g}"
        whom = f"{least} of {of} people ({least / of:.4f} of them)"
    else:
        key, least, of = "max_flagged", found.counts[:, ALL].min(), found.totals[ALL]
        limit, whom = f"{wanted.budget(found)}", f"{least} of {of} addresses"
    advice = f"raise sweep.{key}, or try other values (sweep.values) or rules"
    return f"sweep.{key}={limit}: each of {len(found.sets)} sets flags at least {whom}; {advice}"


def set_of(found: Surface, index: int) -> Figures:
    """Return what one set flags, and its thresholds by rule."""
    bots, people, flagged = (int(n) for n in found.counts[index])
    n_bots, n_people = int(found.totals[BOTS]), int(found.totals[PEOPLE])
    values = zip(found.rules, found.values(index), strict=True)
    return {
        "thresholds": {rule.name: list(one) for rule, one in values},
        "flagged": flagged,
        **score(caught=bots, wrong=people, bots=n_bots, people=n_people),
    }


def best_by_labels(found: Surface, most_people: float) -> int | None:
    """Return the set that catches most bots with so few people; then fewest, then least changed."""
    allowed = np.flatnonzero(found.counts[:, PEOPLE] <= most_people)
    return _first(found, allowed, -found.counts[allowed, BOTS], found.counts[allowed, PEOPLE])


def best_by_budget(found: Surface, most: int) -> int | None:
    """Return the set that flags most addresses within the budget; of equals the least changed."""
    allowed = np.flatnonzero(found.counts[:, ALL] <= most)
    return _first(found, allowed, -found.counts[allowed, ALL])


def _first(found: Surface, allowed: Any, *keys: Any) -> int | None:
    """Return the first of the allowed sets by these keys, then by how far it is from as written."""
    if len(allowed) == 0:
        return None
    changed = distances(found)[allowed]
    return int(allowed[np.lexsort((changed, *reversed(keys)))[0]])


def distances(found: Surface) -> NDArray[np.float64]:
    """Return float64[n], how far each set is from as written: sums of logarithms of ratios."""
    total = np.zeros(len(found.sets))
    for r, (rule, combos) in enumerate(zip(found.rules, found.combinations, strict=True)):
        written = np.array(thresholds(rule.tree))
        ratios = (np.abs(np.array(combos)) + NEARLY_0) / (np.abs(written) + NEARLY_0)
        total += np.abs(np.log(ratios)).sum(axis=1)[found.sets[:, r]]
    return total


def front(found: Surface) -> list[int]:
    """Return the sets of which none has both fewer people and more bots, by their people."""
    order = np.lexsort((-found.counts[:, BOTS], found.counts[:, PEOPLE]))
    kept, most = [], -1
    for index in order.tolist():
        if found.counts[index, BOTS] > most:
            kept.append(index)
            most = int(found.counts[index, BOTS])
    return kept


def by_threshold(found: Surface) -> Iterator[Figures]:
    """Yield how many addresses are flagged by each value of a threshold, the others as written."""
    at = found.sets[found.written]
    for r, rule in enumerate(found.rules):
        written = found.combinations[r][at[r]]
        same_others = (np.delete(found.sets, r, axis=1) == np.delete(at, r)).all(axis=1)
        rows = {found.combinations[r][found.sets[i, r]]: i for i in np.flatnonzero(same_others)}
        for place, now in enumerate(written):
            line = sorted(one for one in rows if differs_at(one, written) <= {place})
            flagged = [[one[place], int(found.counts[rows[one], ALL])] for one in line]
            yield {"rule": rule.name, "number": place + 1, "written": now, "flagged": flagged}


def differs_at(tried: Sequence[float], written: Sequence[float]) -> set[int]:
    """Return the places at which two combinations have other values."""
    return {i for i, (a, b) in enumerate(zip(tried, written, strict=True)) if a != b}


def rules_text(found: Surface, best: Figures, confs: Sequence[RuleConf]) -> str:
    """Return the rules with the thresholds of a set, as a file for rules.path."""
    trees = {
        rule.name: canonical(with_thresholds(rule.tree, best["thresholds"][rule.name]))
        for rule in found.rules
    }
    rules = [asdict(conf) | {"when": trees.get(conf.name, conf.when)} for conf in confs]
    kept = [{key: value for key, value in rule.items() if value is not None} for rule in rules]
    return yaml.safe_dump({"rules": kept}, sort_keys=False, width=100)


def front_table(report: Figures) -> Table:
    """Return the front, or by each threshold what is flagged where there are no labels."""
    if not report["front"]:
        return threshold_table(report)
    table = plain_table("set", "precision", "recall", "caught", "people flagged", "share")
    n, shown = len(report["front"]), every_nth(report["front"])
    best = [(f"front {i + 1} of {n}", one) for i, one in shown]
    for name, one in [("as written", report["written"]), *best]:
        table.add_row(
            name,
            *(figure(one[key]) for key in ("precision", "recall")),
            number(one["caught"]),
            number(one["wrongly_flagged"]),
            percent(one["wrongly_flagged_share"]),
        )
    return table


def every_nth(found: Sequence[T]) -> list[tuple[int, T]]:
    """Return at most N_SHOWN of these with their places, evenly, both ends among them."""
    picks = sorted({round(i) for i in np.linspace(0, len(found) - 1, N_SHOWN).tolist()})
    return [(pick, found[pick]) for pick in picks]


def threshold_table(report: Figures) -> Table:
    """Return how many addresses each value of each threshold flags."""
    table = plain_table("threshold", "value", "flagged")
    for one in report["by_threshold"]:
        shown = {value for _, (value, _) in every_nth(one["flagged"])} | {one["written"]}
        for value, flagged in (pair for pair in one["flagged"] if pair[0] in shown):
            mark = " (as written)" if value == one["written"] else ""
            name = f"{one['rule']} {one['number']}{mark}"
            table.add_row(name, f"{value:g}", number(flagged))
    return table
