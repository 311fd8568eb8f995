"""Runs a command and says what its whole process tree took: CPU to the tick, memory by samples.

Linux only. Whoever calls becomes the parent of every orphan (PR_SET_CHILD_SUBREAPER), so that also
a JVM that outlives its launcher is waited for and counted. Call once in a process.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_S = 0.2
ORPHANS_DEADLINE_S = 30.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Of the fields behind the name in /proc/PID/stat (proc(5): 4 ppid, 24 rss).
PARENT, RESIDENT_PAGES = 1, 21


class Ran(NamedTuple):
    """What a command printed, when it was started, and what its tree took."""

    stdout: str
    started_s: float
    cpu_s: float
    peak_rss_mb: float


class MemorySampler(threading.Thread):
    """Sums the resident memory of all descendants, five times a second, and keeps the greatest.

    A page that processes share counts for each of them.
    """

    def __init__(self) -> None:
        """Nothing is seen yet."""
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._over.wait(SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, resident_bytes(descendants(os.getpid())))

    def stop(self) -> None:
        """Take no more samples."""
        self._over.set()
        self.join()


def processes() -> dict[int, tuple[int, int]]:
    """Return parent and resident pages of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        found[int(path.parent.name)] = int(fields[PARENT]), int(fields[RESIDENT_PAGES])
    return found


def descendants(root: int) -> dict[int, int]:
    """Return resident pages of each process below `root`."""
    known = processes()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in known.items():
        children.setdefault(parent, []).append(pid)
    below, waiting = {}, list(children.get(root, []))
    while waiting:
        pid = waiting.pop()
        below[pid] = known[pid][1]
        waiting += children.get(pid, [])
    return below


def resident_bytes(pages: Mapping[int, int]) -> int:
    """Return the sum."""
    return sum(pages.values()) * PAGE_BYTES


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def await_orphans() -> None:
    """Wait for every process that is left; end what does not end by itself."""
    deadline_s = time.monotonic() + ORPHANS_DEADLINE_S
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            if time.monotonic() > deadline_s:
                for pid in descendants(os.getpid()):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def run(argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> Ran:
    """Run a command to its end and to that of all that it started."""
    adopt_orphans()
    sampler = MemorySampler()
    sampler.start()
    started_s = time.time()
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, cwd=cwd, env=dict(environment)
    ) as process:
        stdout, _ = process.communicate()
    await_orphans()
    sampler.stop()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, argv)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = usage.ru_utime + usage.ru_stime
    return Ran(stdout, started_s, cpu_s, sampler.peak_bytes / 1e6)
