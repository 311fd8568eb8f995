"""The engine's job in PySpark Structured Streaming, over what the topic holds now.

Append mode: a window is written when the watermark has passed its end, so those at the end of the
topic stay open. Rows go to Redis from the Python workers, in Arrow batches with the texts made by
Spark, which was the fastest of the ways tried.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pyarrow as pa
import redis
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

PIPELINE_COMMANDS, TTL_S = 5_000, 600
EVENT = "unix_time LONG, category_id LONG, ip STRING, type STRING"
TOTALS = "rows LONG, flagged LONG, counted LONG"
STATE = "spark.sql.streaming.stateStore"
SETTINGS = {
    "spark.driver.memory": "6g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.log.level": "ERROR",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    f"{STATE}.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
    f"{STATE}.rocksdb.changelogCheckpointing.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
EVENTS_PER_BATCH = 2_000_000


def session(jars: str) -> SparkSession:
    """Start Spark in this process's own JVM, on two cores."""
    builder = SparkSession.builder.master("local[2]").appName("peer")
    builder = builder.config("spark.driver.extraClassPath", jars)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def events(spark: SparkSession, bootstrap: str, topic: str) -> DataFrame:
    """Return the events of a topic, with the time that each tells."""
    options = {
        "kafka.bootstrap.servers": bootstrap,
        "subscribe": topic,
        "startingOffsets": "earliest",
        "maxOffsetsPerTrigger": EVENTS_PER_BATCH,
    }
    records = spark.readStream.format("kafka").options(**options).load()
    event = f.from_json(f.col("value").cast("string"), EVENT).alias("event")
    return records.select(event).select(
        "event.*", f.timestamp_seconds("event.unix_time").alias("at")
    )


def counts(found: DataFrame) -> DataFrame:
    """Return what each address does in each window."""
    return (
        found.withWatermark("at", "10 seconds")
        .groupBy(f.window("at", "10 seconds"), "ip")
        .agg(
            f.count("*").alias("events"),
            f.count_if(f.col("type") == "click").alias("clicks"),
            f.count_if(f.col("type") == "view").alias("views"),
            f.size(f.collect_set("category_id")).alias("categories"),
        )
    )


def verdicts(counted: DataFrame) -> DataFrame:
    """Return each row's address, its JSON text, its events, and whether `rules=seed` flags it."""
    many = (f.col("events") > 10) | (f.col("categories") > 10)
    clicks_per_view = f.when(f.col("views") > 0, f.expr("clicks div views > 3")).otherwise(True)
    return counted.select("ip", json_text(), "events", (many | clicks_per_view).alias("flagged"))


def json_text() -> Column:
    """Return the value that is written to Redis."""
    fields = {
        "window_start": f.unix_timestamp("window.start"),
        "window_end": f.unix_timestamp("window.end"),
        **{name: f.col(name) for name in ("events", "clicks", "views", "categories")},
    }
    parts = [
        part
        for i, (name, value) in enumerate(fields.items())
        for part in (f.lit(f'{"," if i else "{"}"{name}":'), value.cast("string"))
    ]
    return f.concat(*parts, f.lit("}")).alias("value")


def writing_to(url: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a Python worker does with the rows of a partition."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        gc.disable()  # as in the loop: no cycles here
        with redis.Redis.from_url(url) as client:
            pipeline = client.pipeline(transaction=False)
            queue = pipeline.execute_command
            for batch in batches:
                columns = [batch.column(i).to_pylist() for i in range(4)]
                for ip, value, _, flagged in zip(*columns, strict=True):
                    queue("SETEX", f"stat_{ip}", TTL_S, value)
                    if flagged:
                        queue("SETEX", f"bot_{ip}", TTL_S, value)
                    if len(pipeline) >= PIPELINE_COMMANDS:
                        pipeline.execute()
                pipeline.execute()
                totals = {
                    "rows": len(batch),
                    "flagged": sum(columns[3]),
                    "counted": sum(columns[2]),
                }
                yield pa.RecordBatch.from_pylist([totals])

    return write


def run(spark: SparkSession, bootstrap: str, topic: str, *, url: str, checkpoint: str) -> Counter:
    """Run the query to the end of what is there; return what was written."""
    totals: Counter[str] = Counter()
    write = writing_to(url)

    def write_batch(rows: DataFrame, _: int) -> None:
        # An address may close several windows in one batch, and its newest is to be written last.
        # The aggregation spreads them over both partitions, so each address is brought into one.
        ordered = rows.repartition(2, "ip").sortWithinPartitions("window.start")
        for done in verdicts(ordered).mapInArrow(write, TOTALS).collect():
            totals.update(done.asDict())
            totals["ended_s"] = time.time()

    query = counts(events(spark, bootstrap, topic)).writeStream.foreachBatch(write_batch)
    query = query.trigger(availableNow=True).option("checkpointLocation", checkpoint)
    query.outputMode("append").start().awaitTermination()
    return totals


def main() -> None:
    """Print what was written, as one line of JSON."""
    bootstrap, topic, url, jars, checkpoint = sys.argv[1:]
    spark = session(jars)
    totals = run(spark, bootstrap, topic, url=url, checkpoint=checkpoint)
    spark.stop()
    print(json.dumps(totals))


if __name__ == "__main__":
    main()
