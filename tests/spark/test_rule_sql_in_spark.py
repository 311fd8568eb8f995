"""Rules as Spark SQL, run by Spark: the same truths as the model's, whatever the counts.

All drawn expressions are columns of one query over all drawn counts: a query for each would take
seconds.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.rule_sql import spark_sql
from engine.rule_trees import canonical
from tests.naive_rules import evaluate
from tests.rule_texts import EXPRESSIONS, read

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 64))
LARGE = st.tuples(*[st.integers(0, 2**32 - 1)] * 3)
NAMES = ("events", "clicks", "views", "categories")
SCHEMA = "events LONG, clicks LONG, views LONG, categories LONG"
ROWS = [(0, 0, 0, 0), (1, 0, 1, 1), (1, 1, 0, 1), (2**32 - 1, 2**31, 2**31 - 1, 65_535)]
PLAIN = [
    "views == 0 or clicks // views > 3",
    "events >= 5 and clicks / max(views, 1) > 3",
    "-clicks // 7 < -3",
    "(views - clicks) // 3 == -2",
    "(views - clicks) % 3 == 1",
    "(views - clicks) % -3 == -2",
    "clicks % views == 2",
    "clicks / views == 0",
    "3 < clicks < 10 != views",
    "not (events > 3 or clicks > 3) and abs(views - 5) <= 2.5",
    "min(events, clicks, views) < max(categories, 3)",
    "events * 1e300 * 1e300 - events * 1e300 * 1e300 == 0",
    "events * 1e300 * 1e300 - events * 1e300 * 1e300 != 0",
    "events * 1e300 * 1e300 - events * 1e300 * 1e300 >= events",
    "max(events * 1e300 * 1e300 - events * 1e300 * 1e300, 3) > 2",
    "max(3, events * 1e300 * 1e300 - events * 1e300 * 1e300) > 2",
    "min(3, events * 1e300 * 1e300 - events * 1e300 * 1e300) < 4",
    "(events + 0.1) // 0.1 > 30",
    "(events + 0.1) % 0.1 < 0.05",
    "clicks / 5e-324 % 7 > 3",
    "clicks / 5e-324 // 7 > 3",
    "events * 9007199254740993 // 3 > 5",
]


def wrong(
    spark: SparkSession, texts: list[str], rows: list[tuple[int, int, int, int]]
) -> list[str]:
    """What Spark answers otherwise than the model."""
    trees = [read(text) for text in texts]
    columns = [f"{spark_sql(tree)} AS rule_{i}" for i, tree in enumerate(trees)]
    answers = spark.createDataFrame(rows, SCHEMA).selectExpr(*columns).collect()
    return [
        f"{canonical(tree)} over {row}: {answer[i]}; {spark_sql(tree)}"
        for row, answer in zip(rows, answers, strict=True)
        for i, tree in enumerate(trees)
        if answer[i] != evaluate(texts[i], dict(zip(NAMES, row, strict=True)))
    ]


def test_rules_as_people_write_them_and_the_corners_of_float64(spark: SparkSession) -> None:
    small = [(e, c, e - c, min(e, 9)) for e in range(14) for c in range(e + 1)]
    assert wrong(spark, PLAIN, ROWS + small) == []


@settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    st.lists(EXPRESSIONS, min_size=60, max_size=60),
    st.lists(st.one_of(COUNTS, LARGE), min_size=20, max_size=20),
)
def test_drawn_rules_have_the_truths_of_the_model(spark, texts, drawn):
    rows = [(max(e, c), c, max(e, c) - c, n) for e, c, n in drawn]
    with warnings.catch_warnings():
        assert wrong(spark, texts, ROWS + rows) == []
