"""What a page draws of an evaluation: recall against time, and where each bot lies."""

from __future__ import annotations

import polars as pl

from engine.history.evaluation import Evidence, Figures, decided, flagged, share


def points(evidence: Evidence) -> Figures:
    """Return `recall_over_time` and `bots`, of all enforced rules together."""
    mask = evidence.rules.enforce_mask
    return {"recall_over_time": recall_over_time(evidence, mask), "bots": bots(evidence, mask)}


def recall_over_time(evidence: Evidence, mask: int) -> Figures:
    """Return [seconds since the bot's first event, share of all bots by then], where it rises."""
    caught = decided(evidence, mask)
    n_bots = int(evidence.people["is_bot"].sum())
    found = {}
    for name in ("crossing", "decision"):
        rises = caught.group_by(s=f"{name}_s").len().drop_nulls().sort("s")
        rises = rises.with_columns(pl.col("len").cum_sum())
        found[name] = [[s, share(n, n_bots)] for s, n in rises.rows()]
    return found


def bots(evidence: Evidence, mask: int) -> list[Figures]:
    """Return each bot, how it acted, and whether these rules caught it."""
    caught = flagged(evidence, mask)["place"]
    frame = evidence.people.filter("is_bot").with_columns(
        caught=pl.col("place").is_in(caught.implode())
    )
    return (
        frame.select("address", "events", "rate_per_s", "gap_cv", "caught")
        .sort("address")
        .to_dicts()
    )
