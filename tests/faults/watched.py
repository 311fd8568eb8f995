"""What an operator sees of an engine: its page, and what the process takes."""

from __future__ import annotations

import http.client
import os
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.engine_process import EngineProcess
from tests.services.process import LOOPBACK, free_port, outlast, wait_until

DEADLINE_S = 60.0
OK, UNAVAILABLE = 200, 503
READY = (OK, ["ok"])


class Page:
    """The page of an engine that is started with `page.override`."""

    def __init__(self, port: int | None = None) -> None:
        """Choose the port."""
        self.port = port or free_port()
        self.override = f"metrics.port={self.port}"

    def get(self, path: str, *, host: str = LOOPBACK) -> tuple[int, str]:
        """Return status and text; raise OSError where nobody answers."""
        connection = http.client.HTTPConnection(host, self.port, timeout=DEADLINE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def health(self, path: str = "/readyz") -> tuple[int, list[str]] | None:
        """Return the status and the words of a health page, None where nobody answers yet."""
        try:
            status, text = self.get(path)
        except OSError:
            return None
        return status, text.split()

    def wait_for(self, *missing: str) -> None:
        """Wait until the engine says that just this is missing; with nothing, until it is ready."""
        wanted = (UNAVAILABLE, list(missing)) if missing else READY
        wait_until(lambda: self.health() == wanted, deadline_s=DEADLINE_S, what=f"{wanted}")

    def wait_for_word(self, word: str) -> None:
        """Wait until this is among what is missing."""
        wait_until(lambda: self.says(word), deadline_s=DEADLINE_S, what=f"{word} to be missing")

    def says(self, word: str) -> bool:
        """Whether the engine is not ready and says that this is missing."""
        status, words = self.health() or (0, [])
        return status == UNAVAILABLE and word in words

    def metrics(self) -> dict[str, float]:
        """Return every sample without labels by its name."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples]
        return {sample.name: sample.value for sample in samples if not sample.labels}


def busy_share(engine: EngineProcess, seconds: float) -> float:
    """Return the share of a core that an engine takes over so many seconds."""
    before_s, begun_s = cpu_s(engine), time.monotonic()
    outlast(seconds)
    return (cpu_s(engine) - before_s) / (time.monotonic() - begun_s)


def cpu_s(engine: EngineProcess) -> float:
    """Return the CPU time that a process has taken."""
    stat = Path(f"/proc/{engine.process.pid}/stat").read_text()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
