"""How decisions met the labels: whom they caught, how soon, and whom they wrongly flagged.

Everything is counted twice: by address (was it ever flagged) and by window (each closed window of
each address, over the kinds of window that have rules). Addresses without a label are only counted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from engine.detections import addresses
from engine.history.tally import Tally
from engine.labels import Labels
from engine.rules import Rule, RuleSet

SHARES = {"p50": 0.5, "p95": 0.95, "max": 1.0}
WITHIN_S = (10, 60, 600)
Figures = dict[str, Any]


class Evidence(NamedTuple):
    """What is compared: a row an address with its label, FIRED rows, and the rules.

    people: the columns of `Tally.addresses`, place, address, is_bot (null without a label).
    """

    people: pl.DataFrame
    fired: pl.DataFrame
    rules: RuleSet


def evidence_of(tally: Tally, labels: Labels) -> Evidence:
    """Return what a tally holds, with the label of each address."""
    frame = tally.addresses()
    words = zip(frame["high"].to_list(), frame["low"].to_list(), strict=True)
    people = frame.with_columns(
        place=pl.int_range(pl.len(), dtype=pl.Int64),
        address=pl.Series(
            addresses(frame["high"].to_numpy(), frame["low"].to_numpy()), dtype=pl.String
        ),
        is_bot=pl.Series([labels.label_of(*pair) for pair in words], dtype=pl.Boolean),
    )
    return Evidence(people, tally.fired(), tally.rules)


def evaluate(evidence: Evidence) -> Figures:
    """Return the figures of the report."""
    enforced = evidence.rules.enforce_mask
    caught = decided(evidence, enforced)
    return {
        "by_address": by_address(evidence, enforced),
        "by_window": by_window(evidence, enforced),
        "time_to_detect_s": times(caught),
        "caught_within_s": within(evidence, caught),
        "unlabelled": unlabelled(evidence, enforced),
        "rules": [of_rule(evidence, i, rule) for i, rule in enumerate(evidence.rules.rules)],
        "flagged": sorted(flagged(evidence, enforced)["address"]),
        "wrongly_flagged": people_flagged(evidence, enforced),
        "missed": missed(evidence, enforced),
    }


def of_rule(evidence: Evidence, index: int, rule: Rule) -> Figures:
    """Return how one rule does alone, and what no other enforced rule would have caught."""
    mask = 1 << index
    others = evidence.rules.enforce_mask & ~mask
    alone = flagged(evidence, mask).join(flagged(evidence, others), on="place", how="anti")
    return {
        "name": rule.name,
        "description": rule.description,
        "when": rule.when,
        "mode": rule.mode,
        "window": str(rule.window),
        "by_address": by_address(evidence, mask),
        "by_window": by_window(evidence, mask),
        "only_it": {
            "bots": int(alone["is_bot"].sum()),
            "people": int((~alone["is_bot"]).sum()),
        },
        "time_to_detect_s": times(decided(evidence, mask)),
    }


def having(mask: int, column: str = "mask") -> pl.Expr:
    """Return whether one of these rules is in the mask."""
    return pl.col(column) & pl.lit(mask, pl.UInt64) != 0


def flagged(evidence: Evidence, mask: int) -> pl.DataFrame:
    """Return the addresses at which one of these rules fired."""
    return evidence.people.join(evidence.fired.filter(having(mask)), on="place", how="semi")


def decided(evidence: Evidence, mask: int) -> pl.DataFrame:
    """Return (place, crossing_s, decision_s) of the bots, both since the bot's first event."""
    first = (
        evidence.fired.filter(having(mask, "new_mask"))
        .group_by("place")
        .agg(pl.min("crossed_s"), pl.min("decided_s"))
    )
    return (
        evidence.people.filter(pl.col("is_bot"))
        .join(first, on="place")
        .select(
            "place",
            crossing_s=pl.col("crossed_s") - pl.col("first_s"),
            decision_s=pl.col("decided_s") - pl.col("first_s"),
        )
        .sort("decision_s", "place")
    )


def by_address(evidence: Evidence, mask: int) -> Figures:
    """Return precision, recall and F1 over the labelled addresses that acted."""
    label, hit = evidence.people["is_bot"], flagged(evidence, mask)["is_bot"]
    return score(
        caught=int(hit.sum()),
        wrong=int((~hit).sum()),
        bots=int(label.sum()),
        people=int((~label).sum()),
    )


def by_window(evidence: Evidence, mask: int) -> Figures:
    """Return the same over the closed windows of these rules' kinds and each address in them."""
    rules = evidence.rules
    kinds = [k for k, window in enumerate(rules.windows) if rules.mask_of(window) & mask]
    columns = [pl.lit(0), *(pl.col(f"windows_{kind}") for kind in kinds)]
    whole = evidence.people.with_columns(windows=pl.sum_horizontal(columns))
    hits = evidence.fired.filter(having(mask)).join(evidence.people, on="place")
    return score(
        caught=n_windows(hits.filter("is_bot")),
        wrong=n_windows(hits.filter(~pl.col("is_bot"))),
        bots=n_windows(whole.filter("is_bot")),
        people=n_windows(whole.filter(~pl.col("is_bot"))),
    )


def n_windows(frame: pl.DataFrame) -> int:
    """Return the sum of its windows."""
    return int(frame["windows"].sum())


def score(*, caught: int, wrong: int, bots: int, people: int) -> Figures:
    """Return precision, recall, F1 and what they are made of; None where nothing divides."""
    precision, recall = share(caught, caught + wrong), share(caught, bots)
    f1 = share(2 * caught, 2 * caught + wrong + (bots - caught))
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "bots": bots,
        "caught": caught,
        "people": people,
        "wrongly_flagged": wrong,
        "wrongly_flagged_share": share(wrong, people),
    }


def share(part: int, whole: int) -> float | None:
    """Return the part of a whole, to six places."""
    return round(part / whole, 6) if whole else None


def times(caught: pl.DataFrame) -> Figures:
    """Return the quantiles of what `decided` returns; None where no bot was caught."""
    return {
        name: {
            quantile: caught[f"{name}_s"].quantile(at, "higher") for quantile, at in SHARES.items()
        }
        for name in ("crossing", "decision")
    }


def within(evidence: Evidence, caught: pl.DataFrame) -> Figures:
    """Return the share of all bots for which a decision was made within so many seconds."""
    n_bots = int(evidence.people["is_bot"].sum())
    counted = {s: int((caught["decision_s"] <= s).sum()) for s in WITHIN_S}
    return {str(s): share(n, n_bots) for s, n in counted.items()}


def unlabelled(evidence: Evidence, mask: int) -> Figures:
    """Return how many addresses had no label, and how many of them were flagged."""
    return {
        "seen": evidence.people["is_bot"].null_count(),
        "flagged": flagged(evidence, mask)["is_bot"].null_count(),
    }


def people_flagged(evidence: Evidence, mask: int) -> list[Figures]:
    """Return each person whom these rules flagged, and which of them did."""
    reasons = evidence.fired.group_by("place").agg(pl.col("mask").bitwise_or())
    wrong = flagged(evidence, mask).filter(~pl.col("is_bot")).join(reasons, on="place")
    return [
        {"address": address, "events": n, "rules": list(evidence.rules.reasons(bits & mask))}
        for address, n, bits in wrong.select("address", "events", "mask").sort("address").rows()
    ]


def missed(evidence: Evidence, mask: int) -> list[Figures]:
    """Return each bot that was not caught, and how it acted."""
    hit = flagged(evidence, mask)
    free = evidence.people.filter(pl.col("is_bot")).join(hit, on="place", how="anti")
    return free.select("address", "events", "rate_per_s", "gap_cv").sort("address").to_dicts()
