"""The session: Spark started with what the config says, or the one that spark-submit has started.

PySpark is an extra, so it is imported here and nowhere before; without it one line says what to
install. Under spark-submit the JVM runs already, and its own options name master and connector.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from engine.errors import ConfigError, UnavailableError
from engine.schema import show
from engine.spark_config import SparkConf

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

CONNECTOR = "org.apache.spark:spark-sql-kafka-0-10_2.13"
STATE = "spark.sql.streaming.stateStore"
ROCKSDB = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
SECRETS = "(?i)secret|password|passphrase|token|access[.]?key"
DEFAULTS = {
    "spark.app.name": "botsieve",
    "spark.log.level": "FATAL",  # what ends a run is one line of ours, not the JVM's stack
    "spark.ui.showConsoleProgress": "false",
    # Passwords of Kafka stand in an option whose name does not say so.
    "spark.redaction.regex": f"{SECRETS}|jaas",
    "spark.sql.redaction.options.regex": f"{SECRETS}|url|jaas",
    f"{STATE}.providerClass": ROCKSDB,
    f"{STATE}.rocksdb.changelogCheckpointing.enabled": "true",
    # From 128 addresses on, sets of categories would be made by sorting rows.
    "spark.sql.objectHashAggregate.sortBased.fallbackThreshold": "100000",
    # What is done once for an Arrow batch is not little: it is a micro-batch of the local engine.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    # A worker has compiled kernels, so it is kept.
    "spark.python.worker.reuse": "true",
}
OWNED = {"spark.sql.session.timeZone": "UTC"}
WORKERS_PYTHON = "PYSPARK_PYTHON"  # without it, whatever python3 is on their PATH
SUBMITTED = "PYSPARK_GATEWAY_PORT"  # spark-submit tells its driver by it where the JVM is


def check_installed() -> None:
    """Refuse the runner where the extra is not installed."""
    try:
        import pyarrow  # noqa: F401, PLC0415 - an extra, see above
        import pyspark  # noqa: F401, PLC0415
    except ImportError as error:
        problem = (
            f"'spark' needs {error.name}, which is not installed: pip install 'botsieve[spark]'"
        )
        raise ConfigError(key="runner", problem=problem) from None


def start(conf: SparkConf) -> SparkSession:
    """Return the running session."""
    from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra, see above
    from pyspark.sql import SparkSession  # noqa: PLC0415

    os.environ.setdefault(WORKERS_PYTHON, sys.executable)
    logging.getLogger("py4j").setLevel(logging.WARNING)
    builder = SparkSession.builder
    for key, value in settings(conf, submitted=SUBMITTED in os.environ).items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except PySparkException as error:
        problem = (
            "spark.master: Spark did not start, for the reason that it has given above; it needs "
            f"Java 17 or newer ({first_line(error)})"
        )
        raise UnavailableError(problem) from None
    cores = session.sparkContext.defaultParallelism
    session.conf.set("spark.sql.shuffle.partitions", str(conf.partitions or cores))
    return session


def settings(conf: SparkConf, *, submitted: bool) -> dict[str, str]:
    """Return Spark's properties: ours, then the user's, then those that must be so."""
    own = {} if submitted else {"spark.jars.packages": conf.packages or connector()}
    if conf.master is not None:
        own["spark.master"] = conf.master
    users = {key: spelled(value) for key, value in conf.properties.items()}
    return {key: value for key, value in {**DEFAULTS, **own, **users, **OWNED}.items() if value}


def connector() -> str:
    """Return the coordinates of the Kafka connector that belongs to the installed PySpark."""
    import pyspark  # noqa: PLC0415 - an extra

    return f"{CONNECTOR}:{pyspark.__version__}"


def spelled(value: object) -> str:
    """Write a value as Spark reads it."""
    return show(value) if isinstance(value, bool) else str(value)


def first_line(error: BaseException) -> str:
    """Return what an error says first: the rest is the JVM's stack."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
