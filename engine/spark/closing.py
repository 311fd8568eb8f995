"""The end of the input: an event of nobody that moves the watermark past every open window.

Spark closes a window only when a later event has come. With `source.stop_at_end` such an event is
put into a folder beside the checkpoint, which is a second source of the stream. It counts nothing
(`engine.spark.judging`), and it is not later than it must be: events that come afterwards for
windows that are closed are late, as they are for the local engine.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from engine.batch.window import WindowSpec
from engine.spark.events import EVENT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EXPECTED = "v"  # with what Spark's logs begin


def endings(spark: SparkSession, folder: str) -> DataFrame:
    """Return the stream of such events; its folder is made if need be."""
    spark.createDataFrame([], EVENT).write.mode("ignore").json(folder)
    return spark.readStream.schema(EVENT).json(folder)


def close_windows(spark: SparkSession, query: str, folder: str, spec: WindowSpec) -> bool:
    """Append the event that closes all windows of a query; False where none can be open."""
    watermark_s = watermark_of(spark, query)
    if watermark_s is None or watermark_s == closed_until_s(spark, folder, spec):
        return False
    newest_s = watermark_s + spec.delay_s
    time_s = max(window.last_end_s(newest_s) for window in spec.kinds) + spec.delay_s
    event = [(time_s, None, None, None, None)]
    spark.createDataFrame(event, EVENT).coalesce(1).write.mode("append").json(folder)
    return True


def closed_until_s(spark: SparkSession, folder: str, spec: WindowSpec) -> int | None:
    """Return where the watermark stands if nothing has come since the last such event."""
    (newest_s,) = spark.read.schema(EVENT).json(folder).selectExpr("max(time)").collect()[0]
    return None if newest_s is None else newest_s - spec.delay_s


def watermark_of(spark: SparkSession, query: str) -> int | None:
    """Return the watermark after the last batch of a query, None where it has had none."""
    lines = [row.value for row in spark.read.text(f"{query}/commits").collect()]
    commits = [json.loads(line) for line in lines if not line.startswith(EXPECTED)]
    return max((commit["nextBatchWatermarkMs"] // 1000 for commit in commits), default=None)
