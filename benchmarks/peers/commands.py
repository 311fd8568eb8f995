"""How each peer is started, with the settings that served it best; the lock files pin versions.

Spark and the loop run in .services/peers/venv (requirements.txt); Spark's connector and Flink's
jars are what Maven fetched (spark/pom.xml, flink/pom.xml). `make bench-peers` sets all of it up.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks import rig

JOBS = Path(__file__).parent
SERVICES = rig.ROOT / ".services" / "peers"
PYTHON = SERVICES / "venv" / "bin" / "python"
FLINK_JVM = (
    *("-Xms1g", "-Xmx4g", "-XX:+UseG1GC"),
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.time=ALL-UNNAMED",
)

# Spark's workers run on the Python that has their modules.
ENVIRONMENT = rig.ENVIRONMENT | {"PYSPARK_PYTHON": str(PYTHON), "SPARK_LOCAL_IP": "127.0.0.1"}


class Work(NamedTuple):
    """Where the events are, and where the results go."""

    bootstrap: str
    topic: str
    redis_url: str


def engine(work: Work, folder: Path) -> list[str]:
    """Return the command of the engine itself, which closes all windows at the end."""
    words = (
        *rig.backlog(work.bootstrap, work.topic),
        *("source.stop_at_end=true", "rules=seed", "view=none"),
        f"sink.url={work.redis_url}",
        f"summary.json={folder / 'summary.json'}",
    )
    return [sys.executable, "-m", "engine", *words]


def spark(work: Work, folder: Path) -> list[str]:
    """Return the command of PySpark Structured Streaming."""
    jars = f"{SERVICES}/spark/libs/*"
    return [str(PYTHON), str(JOBS / "spark_job.py"), *work, jars, str(folder / "checkpoint")]


def flink(work: Work, folder: Path) -> list[str]:
    """Return the command of Flink SQL on a local mini-cluster."""
    jars = f"{SERVICES}/flink/job.jar:{SERVICES}/flink/libs/*"
    temporary = f"-Djava.io.tmpdir={folder}"
    return ["java", *FLINK_JVM, temporary, "-cp", jars, "botsieve.FlinkJob", *work]


def loop(work: Work, _: Path) -> list[str]:
    """Return the command of the plain Python loop."""
    return [str(PYTHON), str(JOBS / "loop_job.py"), *work]


def missing(peer: str) -> list[str]:
    """Return what a peer needs and is not there."""
    needed = {
        "spark": [PYTHON, SERVICES / "spark" / "libs"],
        "flink": [SERVICES / "flink" / "job.jar", SERVICES / "flink" / "libs"],
        "loop": [PYTHON],
    }
    absent = [str(path.relative_to(rig.ROOT)) for path in needed.get(peer, []) if not path.exists()]
    no_java = peer in {"spark", "flink"} and not shutil.which("java")
    return [*absent, *(["java"] if no_java else [])]


COMMANDS: dict[str, Callable[[Work, Path], list[str]]] = {
    "engine": engine,
    "flink": flink,
    "loop": loop,
    "spark": spark,
}
