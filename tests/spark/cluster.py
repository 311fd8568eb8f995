"""A standalone Spark cluster on loopback: a master and workers, from the PySpark package itself."""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from tests.services.process import LOOPBACK, ServiceProcess, free_port, wait_until

DEPLOY = "org.apache.spark.deploy"
MEMORY = "1g"
ANSWER_TIMEOUT_S = 2.0


def distribution() -> Path:
    """Where the PySpark package is; this module can be imported without it."""
    found = find_spec("pyspark")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


class Daemon(ServiceProcess):
    """A process of Spark's own launcher; it is ready when its page answers."""

    def __init__(self, folder: Path, kind: str, *arguments: str) -> None:
        """`kind` is the class below DEPLOY; nothing runs yet."""
        super().__init__(folder)
        self._page_port, self._kind, self._arguments = free_port(), kind, arguments

    def argv(self) -> list[str]:
        """The launcher ends as the JVM, so the pid is that of the daemon."""
        own = ["--host", LOOPBACK, "--port", str(self.port), "--webui-port", str(self._page_port)]
        home = distribution()
        launcher = ["env", f"SPARK_HOME={home}", str(home / "bin" / "spark-class")]
        return [*launcher, f"{DEPLOY}.{self._kind}", *own, *self._arguments]

    def is_ready(self) -> bool:
        """Its page says what it is."""
        return bool(self.page())

    def page(self) -> dict[str, Any]:
        """What its page says; nothing while it does not answer."""
        address = f"http://{LOOPBACK}:{self._page_port}/json/"
        try:
            with urllib.request.urlopen(address, timeout=ANSWER_TIMEOUT_S) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError):
            return {}


class SparkCluster:
    """`with SparkCluster(folder, n_workers=2) as cluster:` has workers of one core each."""

    def __init__(self, folder: Path, *, n_workers: int) -> None:
        """Nothing runs yet."""
        self._folder, self._n_workers = folder, n_workers
        self._master = Daemon(folder / "master", "master.Master")
        self.url = f"spark://{LOOPBACK}:{self._master.port}"
        self.work = [folder / f"worker-{i}" / "work" for i in range(n_workers)]

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.enter_context(self._master)
            for folder in self.work:
                own = ["--cores", "1", "--memory", MEMORY, "--work-dir", str(folder), self.url]
                started.enter_context(Daemon(folder.parent, "worker.Worker", *own))
            wait_until(self._is_whole, deadline_s=60.0, what="workers of the cluster")
            self._started = started.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._started.close()

    def _is_whole(self) -> bool:
        return self._master.page().get("aliveworkers") == self._n_workers
