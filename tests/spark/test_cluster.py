"""The example for spark-submit, on a standalone cluster of two workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.logs import burst, event, window_ago
from tests.end_to_end.rig import TO_THE_END, Rig
from tests.services.kafka import ROOT
from tests.spark.cluster import SparkCluster

pytestmark = [pytest.mark.spark, pytest.mark.timeout(400)]

LOOPBACK_ONLY = [
    f"spark.properties.spark.{text}"
    for text in ("driver.host=127.0.0.1", "driver.bindAddress=127.0.0.1", "ui.enabled=false")
]


def submit(master: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run the example as a user does whose environment is active."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(ROOT / "examples" / "spark-submit.sh"), master, *overrides],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": path, "SPARK_LOCAL_IP": "127.0.0.1"},
    )


def test_two_workers_write_the_keys_of_the_model(rig: Callable[..., Rig], tmp_path: Path) -> None:
    here = rig(2)
    start_s = window_ago(100)
    ips = [f"192.0.2.{n}" for n in range(1, 41)]
    for partition in (0, 1):
        here.produce(partition, [event(start_s + n % 10, ip) for n, ip in enumerate(ips)])
        here.produce(partition, burst(start_s + 20, f"198.51.100.{2 + partition}"))
    with SparkCluster(tmp_path / "cluster", n_workers=2) as cluster:
        ended = submit(
            cluster.url,
            *here.overrides(),
            TO_THE_END,
            "rules=fast",
            f"spark.checkpoint={tmp_path / 'checkpoint'}",
            *LOOPBACK_ONLY,
        )
        assert ended.returncode == 0, ended.stderr
        executors = [list(work.glob("app-*/*/stderr")) for work in cluster.work]
    assert here.wrong_keys(here.judged()) == ""
    assert all(executors)
