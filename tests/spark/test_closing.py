"""The end of the input on Spark: what is open is closed once, and an empty topic is no trouble."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.logs import FAST, IP, event, on
from tests.services.kafka import KafkaBroker
from tests.spark.noting import job_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]


def test_an_end_without_new_events_closes_nothing_more(
    kafka: KafkaBroker, topic: Callable[[], str], tmp_path: Path, spark: SparkSession
) -> None:
    name = kafka.create_topic(topic())

    def found() -> dict[tuple[int, int, str], int]:
        job = job_of(FAST, bootstrap=kafka.bootstrap, topic=name, folder=tmp_path)
        job.run(spark)
        return {window: verdict.events for window, verdict in job.found.items()}

    def endings() -> int:
        return len([path for path in tmp_path.glob("endings/part-*") if path.stat().st_size])

    assert found() == {}
    before = endings()
    kafka.produce(name, on(0, [event(1_000), event(1_005)]))
    assert (found(), endings()) == ({(1_000, 1_010, IP): 2}, before + 1)
    assert (found(), endings()) == ({}, before + 1)
    kafka.produce(name, on(0, [event(1_009), event(1_010)]))
    assert (found(), endings()) == ({(1_010, 1_020, IP): 1}, before + 2)
