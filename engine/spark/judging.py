"""From events to verdicts, by Spark alone: it counts by window and address and judges by SQL.

The rules are printed from their trees (`engine.rule_sql`); none is written down here. Each kind of
window is an aggregation of its own, and all of them share the watermark of the events.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from engine.batch.window import WindowSpec
from engine.rule_sql import spark_sql
from engine.rules import RuleSet
from engine.windows import Window

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

COUNTS = ("events", "clicks", "categories", "saturated")


def verdicts_in(events: DataFrame, spec: WindowSpec, rules: RuleSet) -> DataFrame:
    """Return the final verdicts of every kind of window, when the watermark has passed its end."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    timed = events.withColumn("at", f.timestamp_seconds("time"))
    timed = timed.withWatermark("at", f"{spec.delay_s} seconds")
    kinds = [
        judged(counted(timed, window, max_categories=spec.max_categories), rules, window)
        for window in spec.kinds
    ]
    return reduce(lambda some, others: some.unionAll(others), kinds)


def counted(events: DataFrame, window: Window, *, max_categories: int) -> DataFrame:
    """Return what each address does in each window of a kind."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    length, slide = (f"{seconds} seconds" for seconds in window)
    counts = events.groupBy(f.window("at", length, slide), "high", "low").agg(
        f.count("is_click").alias("events"),
        f.count_if("is_click").alias("clicks"),
        f.size(f.collect_set("category")).alias("distinct"),
    )
    # What only moves the watermark is no event. Said of the key, Spark would ask it before that.
    return counts.where("events > 0").selectExpr(
        "unix_seconds(window.start) AS start_s",
        "unix_seconds(window.end) AS end_s",
        "high",
        "low",
        "events",
        "clicks",
        "events - clicks AS views",
        f"least(distinct, {max_categories}) AS categories",
        f"distinct > {max_categories} AS saturated",
    )


def judged(counts: DataFrame, rules: RuleSet, window: Window) -> DataFrame:
    """Return counts with the mask of the rules over such windows that hold."""
    return counts.selectExpr(
        "start_s", "end_s", "high", "low", *COUNTS, f"{mask_sql(rules, window)} AS mask"
    )


def mask_sql(rules: RuleSet, window: Window) -> str:
    """Return the mask of a kind of window as SQL: bit i is rule i."""
    bits = [
        f"shiftleft(bigint({spark_sql(rule.tree)}), {i})"
        for i, rule in enumerate(rules.rules)
        if rule.window == window
    ]
    return f"({' | '.join(bits)})" if bits else "0L"
