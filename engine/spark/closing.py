"""The end of the input: an event of nobody that moves the watermark past every open window.

Spark closes a window only when a later event has come. With `source.stop_at_end` such an event is
put into a folder beside the checkpoint, which is a second source of the stream. It counts nothing
(`engine.spark.judging`), and it is not later than it must be: events that come afterwards for
windows that are closed are late, as they are for the local engine.
"""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING

from engine.batch.window import WindowSpec
from engine.spark.events import EVENT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

VERSION = "v"  # with what the lines of Spark's own logs begin that are no JSON
TOPIC_LINE = 2  # of a batch's offsets: a version, the settings, then a line for each source


def endings(spark: SparkSession, folder: str) -> DataFrame:
    """Return the stream of such events; its folder is made if need be."""
    spark.createDataFrame([], EVENT).write.mode("ignore").json(folder)
    return spark.readStream.schema(EVENT).json(folder)


def close_windows(
    spark: SparkSession, query: str, folder: str, spec: WindowSpec, *, newest_s: int | None
) -> bool:
    """Append the event that closes all windows of a query; False where none can be open.

    `newest_s`: the newest event of this run. The watermark tells that of all runs, unless what
    it tells is the end of an earlier one.
    """
    watermark_s, read_until = watermark_of(spark, query), mark_of(spark, query)
    last_s, last_mark = last_ending(spark, folder)
    if watermark_s is None or read_until == last_mark:
        return False
    moved_s = watermark_s + spec.delay_s
    until_s = newest_s if newest_s is not None and moved_s == last_s else moved_s
    time_s = max(window.last_end_s(until_s) for window in spec.kinds) + spec.delay_s
    event = [(time_s, read_until, None, None, None)]
    spark.createDataFrame(event, EVENT).coalesce(1).write.mode("append").json(folder)
    return True


def last_ending(spark: SparkSession, folder: str) -> tuple[int | None, int | None]:
    """Return the time of the last such event, and the mark of what was read by then."""
    endings_so_far = spark.read.schema(EVENT).json(folder)
    found = endings_so_far.selectExpr("max(time)", "max_by(category, time)").collect()[0]
    return found[0], found[1]


def watermark_of(spark: SparkSession, query: str) -> int | None:
    """Return the watermark after the last batch of a query, None where it has had none."""
    lines = [row.value for row in spark.read.text(f"{query}/commits").collect()]
    commits = [json.loads(line) for line in lines if not line.startswith(VERSION)]
    return max((commit["nextBatchWatermarkMs"] // 1000 for commit in commits), default=None)


def mark_of(spark: SparkSession, query: str) -> int:
    """Return a number that changes when a query has read more of its topic."""
    batches = spark.read.text(f"{query}/offsets", wholetext=True)
    logs = batches.selectExpr("int(_metadata.file_name) AS batch", "value").collect()
    newest = max(logs, key=lambda row: int(row.batch), default=None)
    return 0 if newest is None else zlib.crc32(newest.value.splitlines()[TOPIC_LINE].encode())
