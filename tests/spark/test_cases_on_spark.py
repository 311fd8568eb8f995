"""The published cases on Spark: every verdict and reject as stated, late ones by Spark's rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import naive
from tests.case_files import Case, case_paths, load_case
from tests.naive_spark import judge_batches
from tests.services.kafka import KafkaBroker
from tests.spark.noting import NotingJob, job_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

CASES = [load_case(path) for path in case_paths()]
WITH_LATE_EVENTS = [case for case in CASES if case.late]


@pytest.fixture
def begun(
    kafka: KafkaBroker, topic: Callable[[], str], tmp_path: Path
) -> Iterator[Callable[[Case], NotingJob]]:
    """Make the job of a case and its topic, which is still empty."""

    def begin(case: Case) -> NotingJob:
        n_partitions = 1 + max((row.partition for row in case.rows), default=0)
        name = kafka.create_topic(topic(), n_partitions)
        return job_of(case.config, bootstrap=kafka.bootstrap, topic=name, folder=tmp_path)

    return begin


def produce(kafka: KafkaBroker, job: NotingJob, rows: Sequence[naive.Row]) -> None:
    """Append rows to the job's topic."""
    kafka.produce(
        job.source.topic, [(row.partition, row.value, row.timestamp_ms, None) for row in rows]
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case_in_one_batch_has_the_stated_verdicts_and_nothing_is_late(
    case: Case, kafka: KafkaBroker, begun: Callable[[Case], NotingJob], spark: SparkSession
) -> None:
    job = begun(case)
    produce(kafka, job, case.rows)
    job.run(spark)
    expected = judge_batches([case.rows], case.config)
    assert expected.late == []
    stated = expected.verdicts if case.late else case.verdicts
    assert naive.explain_difference(stated, job.found) == ""
    assert job.metrics.rejected == case.rejected
    assert job.metrics.events == len(case.rows) - case.rejected.total()


@pytest.mark.parametrize("case", WITH_LATE_EVENTS, ids=lambda case: case.name)
def test_case_record_by_record_counts_what_its_windows_still_take(
    case: Case, kafka: KafkaBroker, begun: Callable[[Case], NotingJob], spark: SparkSession
) -> None:
    job = begun(case)
    for row in case.rows:
        produce(kafka, job, [row])
        job.run_query(spark, job.write_batch, to_the_end=True)
    job.run(spark)
    expected = judge_batches([[row] for row in case.rows], case.config)
    assert naive.explain_difference(expected.verdicts, job.found) == ""
    assert sum(n for n, _, _ in job.metrics.late.values()) == len(expected.late)
