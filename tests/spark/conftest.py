"""One Spark session in this process for all tests that need no engine of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from engine.spark import session
from engine.spark_config import SparkConf

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
}


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session on two cores of this machine, with the Kafka connector."""
    conf = SparkConf(master="local[2]", properties=LOCAL, partitions=2)
    started = session.start(conf)
    yield started
    started.stop()
