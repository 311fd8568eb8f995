"""The engine as a process: `python -m engine key=value ...`, its signals, its lines, its summary.

What it prints goes to files, so a full pipe never stops it. A test that ends before the engine does
leaves nothing behind: `close` kills it by its pid.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.services.kafka import ROOT
from tests.services.process import wait_until

END_DEADLINE_S = 60.0
EXIT_OK = 0


class EngineProcess:
    """One run of the engine, started when it is made."""

    def __init__(
        self,
        folder: Path,
        overrides: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        module: str = "engine",
    ) -> None:
        """Start; `env` goes over this process's environment."""
        folder.mkdir(parents=True, exist_ok=True)
        self.summary_path = folder / "summary.json"
        self._stdout_path, self._stderr_path = folder / "stdout", folder / "stderr"
        words = ["rules=fast", f"summary.json={self.summary_path}", *overrides]
        argv = [sys.executable, "-m", module, *words]
        self.started_s = time.time()
        with self._stdout_path.open("wb") as out, self._stderr_path.open("wb") as err:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
            )

    @property
    def stderr(self) -> str:
        """Everything that it has said so far."""
        return self._stderr_path.read_text(errors="replace")

    @property
    def output(self) -> str:
        """Everything that it has printed or said so far."""
        return self._stdout_path.read_text(errors="replace") + self.stderr

    @property
    def summary(self) -> dict[str, Any]:
        """The summary that it has written at its end."""
        found: dict[str, Any] = json.loads(self.summary_path.read_text())
        return found

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def wait_for(self, text: str, *, deadline_s: float = END_DEADLINE_S) -> None:
        """Wait until it has said this; one that has ended will not."""
        wait_until(
            lambda: text in self.stderr or not self.is_running, deadline_s=deadline_s, what=text
        )
        assert text in self.stderr, self.stderr

    def ends(self, exit_code: int = EXIT_OK, *, deadline_s: float = END_DEADLINE_S) -> str:
        """Wait for its end and return the last line it said; any other exit code is a failure."""
        try:
            self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"the engine did not end within {deadline_s:g} s; it said:\n{self.stderr}"
            raise TimeoutError(message) from None
        assert self.process.returncode == exit_code, self.output
        assert "Traceback" not in self.output
        return (self.stderr.strip().splitlines() or [""])[-1]

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.terminate()

    def interrupt(self) -> None:
        """SIGINT, as Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Kill -9, and wait for the end."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Leave nothing behind."""
        if self.is_running:
            self.kill()
