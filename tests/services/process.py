"""One service process: started, waited for, stopped, and ended by its pid.

`kill`, `stop` and `cont` are the signals of that name; `close` is the polite end. The output is
kept in a log file, and whoever waits in vain is shown its tail.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

LOOPBACK = "127.0.0.1"
POLL_S = 0.02
CLOSE_DEADLINE_S = 20.0
LOG_TAIL_LINES = 30


def free_port() -> int:
    """Return a free loopback port below the ephemeral range.

    A client that keeps calling a dead port inside that range can end up connected to itself, and
    then the service cannot come back to its port.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) != 0:
                return port


def wait_until(condition: Callable[[], object], *, deadline_s: float, what: str) -> None:
    """Return when `condition()` is true; raise TimeoutError that names `what` at the deadline."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end_s:
            message = f"waited {deadline_s:g} s in vain for: {what}"
            raise TimeoutError(message)
        time.sleep(POLL_S)


def outlast(seconds: float) -> None:
    """Let an outage, or the calm after one, last for so long."""
    end_s = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > end_s, deadline_s=2 * seconds + 1, what="time")


class ServiceProcess(ABC):
    """A child process on a fixed port and folder, so that it can die and come back."""

    start_deadline_s = 60.0

    def __init__(self, folder: Path, port: int | None = None) -> None:
        """Choose the port; nothing runs until `start`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.log_path = folder / "service.log"
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def argv(self) -> Sequence[str]:
        """Say how the service is started."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Say whether the service answers."""

    def start(self) -> Self:
        """Start and wait until the service answers."""
        return self.launch().wait()

    def launch(self) -> Self:
        """Start the process, and no more."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        return self

    def wait(self) -> Self:
        """Wait until the service answers; one that does not is killed."""
        try:
            wait_until(self._ready_or_dead, deadline_s=self.start_deadline_s, what=self._name())
        except TimeoutError as late:
            self.kill()
            raise RuntimeError(self._failure(str(late))) from late
        if self._running_or_none() is None:
            raise RuntimeError(self._failure(f"ended with code {self.process.returncode}"))
        return self

    @property
    def pid(self) -> int:
        """The pid of the running process."""
        return self._running().pid

    def kill(self) -> None:
        """Kill -9, and wait for the end; a stopped process dies too."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """SIGSTOP: alive, but it answers nothing; returns when its last thread stands still."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def cont(self) -> None:
        """SIGCONT: goes on after `stop`."""
        self._running().send_signal(signal.SIGCONT)

    def mend(self) -> None:
        """Let it run and answer again, whatever was done to it."""
        if self._running_or_none() is None:
            self.start()
        else:
            self.cont()
            self.wait()

    def close(self) -> None:
        """SIGTERM, and kill -9 for one that does not end in time."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(CLOSE_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def restart(self) -> Self:
        """Kill -9 if it still runs, then start on the same folder and port."""
        self.kill()
        return self.start()

    def log_tail(self) -> str:
        """The last lines of the log."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            message = f"{self._name()} does not run"
            raise RuntimeError(message)
        return self.process

    def _ready_or_dead(self) -> bool:
        return self._running_or_none() is None or self.is_ready()

    def _running_or_none(self) -> subprocess.Popen[bytes] | None:
        return self.process if self.process is not None and self.process.poll() is None else None

    def _name(self) -> str:
        return f"{type(self).__name__} on port {self.port}"

    def _failure(self, why: str) -> str:
        return f"{self._name()}: {why}; the end of {self.log_path}:\n{self.log_tail()}"
