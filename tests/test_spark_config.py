"""What `runner=spark` refuses before anything is started; none of it needs PySpark."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.errors import BotsieveError, ConfigError
from engine.settings.compose import compose
from engine.source_config import KafkaConf
from engine.spark.kafka_options import java_properties, reader_options
from engine.spark.meaning import meaning
from engine.spark.run import check
from engine.spark.session import settings
from engine.spark_config import SparkConf

COMPLETE = ("runner=spark", "spark.checkpoint=state")
OPTIONS = ", ".join([
    "client.id", "client.rack", "fetch.max.bytes", "fetch.min.bytes", "isolation.level",
    "max.partition.fetch.bytes", "metadata.max.age.ms", "reconnect.backoff.max.ms",
    "reconnect.backoff.ms", "retry.backoff.ms", "security.protocol",
    "ssl.endpoint.identification.algorithm", "ssl.key.password", "sasl.mechanism",
    "sasl.mechanisms", "sasl.username", "sasl.password", "ssl.ca.location",
    "ssl.keystore.location",
])  # fmt: skip


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["source=file"], "runner: 'spark' is refused; allowed: local, or spark with source=kafka"),
        (["task=replay"], "task: 'replay' is refused; allowed: only run with runner=spark"),
        (["sink=memory"], "sink.kind: 'memory' is refused; allowed: only redis with runner=spark"),
        (["record.path=a"], "record.path: 'a' is refused; allowed: only null with runner=spark"),
        (["metrics.port=1"], "metrics.port: 1 is refused; allowed: only 0 with runner=spark"),
        (
            ["guard.max_flagged_share=0.5"],
            "guard.max_flagged_share: 0.5 is refused; allowed: only 1 with runner=spark",
        ),
        (
            ["source.ignore_commits=true"],
            "source.ignore_commits: true is refused; allowed: only false with runner=spark",
        ),
        (
            ["source.on_data_loss=latest"],
            "source.on_data_loss: 'latest' is refused; allowed: fail or earliest with runner=spark",
        ),
        (
            ["spark.checkpoint=null"],
            "spark.checkpoint: is not set; runner=spark needs a folder that all nodes share",
        ),
        (
            ["source.kafka.sasl.mechanism=GSSAPI"],
            "source.kafka.sasl.mechanism: 'GSSAPI' is refused; allowed: PLAIN, SCRAM-SHA-256, "
            "SCRAM-SHA-512 with runner=spark",
        ),
        (
            ["source.kafka.socket.nagle.disable=true"],
            "source.kafka.socket.nagle.disable: is refused with runner=spark; allowed: " + OPTIONS,
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_only_the_local_engine_does_is_refused_in_one_line(
    words: list[str], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(compose([*COMPLETE, *words], environ={}))
    assert str(caught.value) == line


@pytest.mark.parametrize("missing", ["pyspark", "pyarrow"])
def test_without_the_extra_one_line_says_what_to_install(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import engine.__main__ as e; "
    code += f"sys.exit(e.main({list(COMPLETE)!r}))"
    argv = [sys.executable, "-c", code]
    ended = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert ended.returncode == 78
    wanted = (
        "botsieve: runner: 'spark' needs pyspark, which is not installed: "
        "pip install 'botsieve[spark]'\n"
    )
    assert ended.stderr.replace("pyarrow", "pyspark") == wanted


def test_the_local_engine_imports_nothing_of_spark() -> None:
    code = "import sys, engine.__main__; print({'pyspark', 'pyarrow', 'pandas'} & {*sys.modules})"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout == "set()\n"


def test_properties_of_librdkafka_become_those_of_java() -> None:
    properties = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": 'a"b',
        "sasl.password": "c\\d",
        "ssl.ca.location": "/ca.pem",
    }
    assert java_properties(properties) == {
        "security.protocol": "SASL_SSL",
        "ssl.truststore.location": "/ca.pem",
        "ssl.truststore.type": "PEM",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="a\\"b" password="c\\\\d";',
    }


@pytest.mark.parametrize(
    ("start", "options"),
    [
        ("earliest", {"startingOffsets": "earliest"}),
        ("latest", {"startingOffsets": "latest"}),
        ("1700000000", {"startingTimestamp": "1700000000000"}),
    ],
)
def test_the_start_is_said_in_the_connectors_words(start: str, options: dict[str, str]) -> None:
    found = reader_options(KafkaConf(start=start, topic="t"), max_records=5)
    assert options.items() <= found.items()
    assert found["subscribe"] == "t"
    assert found["maxOffsetsPerTrigger"] == "5"


def test_the_users_properties_stand_over_ours_but_for_what_must_be_so() -> None:
    conf = SparkConf(
        master="local[2]", packages="a:b:1", properties={"spark.log.level": "WARN", "spark.x": True}
    )
    found = settings(conf, submitted=False)
    assert found["spark.log.level"] == "WARN"
    assert found["spark.x"] == "true"
    assert found["spark.jars.packages"] == "a:b:1"
    assert found["spark.sql.session.timeZone"] == "UTC"
    assert "spark.jars.packages" not in settings(conf, submitted=True)


def test_an_error_of_a_worker_is_the_runs_own() -> None:
    raised = RuntimeError(
        "Job aborted:\n  File x\nengine.errors.AuthError: sink.url: Redis refuses us\n at Foo.java"
    )
    found = meaning(RuntimeError("[STREAM_FAILED] the query failed"), raised)
    assert (found.exit_code, str(found)) == (77, "sink.url: Redis refuses us")
    other: BotsieveError = meaning(RuntimeError("[STREAM_FAILED] why\nat Foo.java"))
    assert (other.exit_code, str(other)) == (69, "spark: the query has ended: [STREAM_FAILED] why")
