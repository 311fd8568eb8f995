"""Rules as Spark SQL, as text; that it means the same is shown by Spark itself (tests/spark)."""

from __future__ import annotations

import pytest

from engine.rule_sql import spark_sql
from tests.rule_texts import read


@pytest.mark.parametrize(
    ("when", "sql"),
    [
        ("events > 10", "(double(events) > 10.0D)"),
        ("not views == 0 or -clicks < -3", "((NOT (double(views) = 0.0D)) OR "
         "((- double(clicks)) < (-3.0D)))"),
        ("1 < events <= 5", "((1.0D < double(events)) AND (double(events) <= 5.0D))"),
        ("clicks // views > 3",
         "(coalesce(double(floor(try_divide(double(clicks), double(views)))), 0D) > 3.0D)"),
        ("clicks / max(views, 1) > 3",
         "(coalesce(try_divide(double(clicks), greatest(double(views), 1.0D)), 0D) > 3.0D)"),
    ],
)  # fmt: skip
def test_a_plain_rule_is_plain_sql(when: str, sql: str) -> None:
    assert spark_sql(read(when)) == sql


def test_a_deep_expression_does_not_grow_out_of_hand() -> None:
    deep = "1"
    for symbol in "/%" * 12:
        deep = f"(events {symbol} {deep})"
    assert len(spark_sql(read(f"{deep} > {deep}"))) < 20_000
