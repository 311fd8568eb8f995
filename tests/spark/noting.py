"""The runner's own job in this process, with its verdicts kept in the place of Redis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.allowlist import Allowlist
from engine.config import AllowConf, AppConf, WindowConf
from engine.source_config import FieldsConf, KafkaConf
from engine.spark.job import Job
from engine.spark.output import windows_of
from engine.spark_config import SparkConf
from tests import naive
from tests.doubles import model_verdicts, rule_set
from tests.naive_config import ModelConfig

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class NotingJob(Job):
    """Keeps every verdict in the model's words; none may come twice."""

    found: dict[naive.Window, naive.Verdict]

    def write_batch(self, verdicts: DataFrame, _: int) -> None:
        """Note the rows of a batch."""
        frame = pl.DataFrame(pl.from_arrow(verdicts.toArrow()))
        for one in windows_of(frame, self.rules):
            for window, verdict in model_verdicts(one, self.rules):
                assert window not in self.found, f"{window} came twice"
                self.found[window] = verdict


def job_of(config: ModelConfig, *, bootstrap: str, topic: str, folder: Path) -> NotingJob:
    """Return the job for the model's config, which reads a topic to its end."""
    source = KafkaConf(
        bootstrap_servers=bootstrap,
        topic=topic,
        start="earliest",
        stop_at_end=True,
        fields=FieldsConf(*config.fields),
        unknown_type=config.unknown_type,
    )
    window = WindowConf(
        length_s=config.length_s,
        slide_s=config.slide_s,
        delay_s=config.delay_s,
        max_future_s=config.max_future_s,
        max_categories=config.max_categories,
    )
    spark = SparkConf(checkpoint=str(folder))
    conf = AppConf(runner="spark", source=source, window=window, spark=spark)
    job = NotingJob(conf, source, rule_set(config), Allowlist(AllowConf()))
    job.found = {}
    return job
