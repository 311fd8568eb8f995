"""`runner=spark`: the query from topic to Redis, started, watched, and ended.

Exactly what the local engine decodes, judges and writes with is used; Spark counts, keeps state and
offsets in its checkpoint, and repeats a batch that was cut short, which writes the same again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.allowlist import Allowlist
from engine.assembly import counts_from_event, decode_settings
from engine.batch.window import WindowSpec
from engine.config import AppConf
from engine.errors import ConfigError
from engine.metrics import Metrics
from engine.rule_windows import window_spec
from engine.rules import RuleSet
from engine.source_config import KafkaConf
from engine.spark.closing import close_windows, endings
from engine.spark.events import events_in
from engine.spark.judging import verdicts_in
from engine.spark.kafka_options import reader_options
from engine.spark.meaning import meaning
from engine.spark.output import TOTALS, WRITTEN, Output, writing
from engine.spark.progress import Progress

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

LOOK_S = 1

WriteBatch = Callable[["DataFrame", int], None]


@dataclass
class Job:
    """One run on Spark; `stopping` ends it as SIGTERM does."""

    conf: AppConf
    source: KafkaConf
    rules: RuleSet
    allowlist: Allowlist
    metrics: Metrics = field(default_factory=Metrics)
    stopping: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find what the config says of this runner."""
        self.spec: WindowSpec = window_spec(self.conf, self.rules)
        self.folder = str(self.conf.spark.checkpoint).rstrip("/")
        self.query_folder, self.endings_folder = f"{self.folder}/query", f"{self.folder}/endings"
        self.progress = Progress(self.metrics)

    def run(self, spark: SparkSession) -> None:
        """Run until the topic's end or a stop."""
        check_checkpoint(spark, f"{self.folder}/windows", self.spec)
        self.run_query(spark, self.write_batch, to_the_end=self.source.stop_at_end)
        if self.source.stop_at_end and not self.stopping.is_set():
            folders = (self.query_folder, self.endings_folder)
            newest_s = self.progress.newest_s
            if close_windows(spark, *folders, self.spec, newest_s=newest_s):
                self.run_query(spark, self.write_batch, to_the_end=True)

    def verdicts(self, spark: SparkSession) -> DataFrame:
        """Return the stream of final verdicts."""
        options = reader_options(self.source, max_records=self.conf.spark.max_records)
        records = spark.readStream.format("kafka").options(**options).load()
        events = events_in(records, decode_settings(self.conf))
        events = events.unionByName(endings(spark, self.endings_folder))
        return verdicts_in(events, self.spec, self.rules)

    def run_query(self, spark: SparkSession, write: WriteBatch, *, to_the_end: bool) -> None:
        """Run the query, to the end of what is there now or until it is stopped."""
        writer = self.verdicts(spark).writeStream.outputMode("append").foreachBatch(write)
        writer = writer.option("checkpointLocation", self.query_folder)
        interval = f"{self.conf.batch.interval_s} seconds"
        trigger = {"availableNow": True} if to_the_end else {"processingTime": interval}
        query = writer.trigger(**trigger).start()
        try:
            self.watch(query)
        finally:
            query.stop()
        self.progress.take(query)

    def watch(self, query: StreamingQuery) -> None:
        """Wait for the end of a query; raise what ended it as one line that says what to do."""
        from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra

        try:
            while not self.stopping.is_set() and not query.awaitTermination(LOOK_S):
                self.progress.take(query)
        except PySparkException as error:
            if not self.stopping.is_set():
                raise meaning(error, *self.failures) from None

    def write_batch(self, verdicts: DataFrame, _: int) -> None:
        """Let the workers write a batch, each the addresses that are its own."""
        output = Output(
            self.conf.sink, self.rules, counts_from_event(self.conf), self.fresh_allowlist()
        )
        by_address = verdicts.repartition("high", "low")
        try:
            written = by_address.mapInArrow(writing(output), WRITTEN).collect()
        except Exception as error:
            self.failures.append(error)
            raise
        self.metrics.last_ack_s = time.monotonic()
        for name in TOTALS:
            total = getattr(self.metrics, name) + sum(row[name] for row in written)
            setattr(self.metrics, name, total)

    def fresh_allowlist(self) -> Allowlist:
        """Return the allowlist as its file is now."""
        self.allowlist.refresh()
        return self.allowlist


def check_checkpoint(spark: SparkSession, folder: str, spec: WindowSpec) -> None:
    """Refuse a checkpoint of other windows: its counts would be taken for those of these."""
    now = f"{spec.windows} delay {spec.delay_s}"
    spark.createDataFrame([(now,)], "value STRING").coalesce(1).write.mode("ignore").text(folder)
    was = "".join(row.value for row in spark.read.text(folder).collect())
    if was != now:
        problem = (
            f"the checkpoint was made for windows {was}, and the config says {now}; go back, or "
            "begin anew with another folder"
        )
        raise ConfigError(key="spark.checkpoint", problem=problem)
