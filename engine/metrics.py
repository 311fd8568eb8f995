"""What a run has done so far, in numbers: written by the pipeline's threads, only read by others.

Each field has one writer. Nothing here decides anything.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.sources import Standing

SLOWEST_S = 1e6
BINS_PER_E = 50
START_TICKS = 19  # of the fields behind the name in /proc/self/stat (proc(5): 22, starttime)


class Histogram:
    """Durations in logarithmic bins 2 % wide, from 0.1 ms up; quantiles without keeping values."""

    FIRST_S = 1e-4

    def __init__(self) -> None:
        """Begin empty."""
        n_bins = int(np.log(SLOWEST_S / self.FIRST_S) * BINS_PER_E) + 2
        self.counts = np.zeros(n_bins, np.int64)
        self.max_s = self.sum_s = 0.0

    def add(self, durations_s: NDArray[np.float64]) -> None:
        """Count durations; negative ones (clocks differ) count as the shortest."""
        if len(durations_s) == 0:
            return
        self.max_s = max(self.max_s, float(durations_s.max()))
        self.sum_s += float(np.maximum(durations_s, 0.0).sum())
        self.counts += np.bincount(self._bins(durations_s), minlength=len(self.counts))

    def _bins(self, durations_s: NDArray[np.float64]) -> NDArray[np.int64]:
        bins = np.log(np.clip(durations_s, self.FIRST_S, SLOWEST_S) / self.FIRST_S) * BINS_PER_E
        return bins.astype(np.int64)

    def at_most(self, edges_s: Sequence[float]) -> list[int]:
        """Return how many values do not exceed each edge, within 2 %, and how many there are."""
        counted = np.cumsum(self.counts)
        return [*counted[self._bins(np.array(edges_s))].tolist(), int(counted[-1])]

    def quantile_s(self, share: float) -> float | None:
        """Return the duration that `share` of the values do not exceed, within 2 %."""
        total = int(self.counts.sum())
        if total == 0:
            return None
        index = int(np.searchsorted(np.cumsum(self.counts), np.ceil(share * total)))
        upper = self.FIRST_S * float(np.exp((index + 1) / BINS_PER_E))
        return min(upper, self.max_s) if self.max_s > 0 else 0.0

    def summary(self) -> dict[str, float | None]:
        """Return the quantiles that a summary shows."""
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        found = {name: self.quantile_s(share) for name, share in shares.items()}
        return {**found, "max": self.max_s if found["p50"] is not None else None}


def process_started_s() -> float:
    """Return the monotonic time at which this process started; its imports take long as well."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    after_boot_s = int(fields[START_TICKS]) / os.sysconf("SC_CLK_TCK")
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - after_boot_s
    return time.monotonic() - age_s


@dataclass
class Metrics:
    """All counters of a run."""

    started_s: float = field(default_factory=process_started_s)
    first_fetch_s: float | None = None
    last_ack_s: float | None = None
    events: int = 0
    late: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    late_after_idle: int = 0
    replayed: int = 0
    key_mismatch: int = 0
    overflow: int = 0
    callback_errors: int = 0
    unknown_type: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    windows_partial: int = 0
    verdicts: int = 0
    flagged: int = 0
    keys_written: int = 0
    expired: int = 0
    addresses_flagged: int = 0
    suppressed_allowlisted: int = 0
    guard_tripped: int = 0
    guard_open: bool = False
    flagged_by_reason: Counter[str] = field(default_factory=Counter)
    time_to_detect: Histogram = field(default_factory=Histogram)
    stage_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    watermark_s: int | None = None
    open_windows: int = 0
    keys_held: int = 0
    lag: int | None = None
    standing: Standing = field(default_factory=Standing)
    sink_ready: bool = True
    redis_evicted_keys: int = 0
    records: int = 0
    _within: threading.local = field(default_factory=threading.local, repr=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage, without that of stages within it."""
        outer_s, self._within.spent_s = getattr(self._within, "spent_s", 0.0), 0.0
        begun_s = time.perf_counter()
        try:
            yield
        finally:
            spent_s = time.perf_counter() - begun_s
            self.stage_s[name] += spent_s - self._within.spent_s
            self._within.spent_s = outer_s + spent_s

    def seconds(self) -> float:
        """Return the time from the first fetch to the last acknowledged reply."""
        if self.first_fetch_s is None or self.last_ack_s is None:
            return 0.0
        return max(self.last_ack_s - self.first_fetch_s, 0.0)

    def summary(self) -> dict[str, Any]:
        """Return the summary of a run; keys as documented in the README."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        seconds = self.seconds()
        begun_s = self.first_fetch_s or time.monotonic()
        return {
            "events": self.events,
            "late": sum(n for n, _, _ in self.late.values()),
            "late_by_partition": {
                str(p): {"events": n, "mean_s": round(total / n, 3), "max_s": most}
                for p, (n, total, most) in self.late.items()
            },
            "late_after_idle": self.late_after_idle,
            "replayed": self.replayed,
            "key_mismatch": self.key_mismatch,
            "overflow": self.overflow,
            "callback_errors": self.callback_errors,
            "unknown_type": self.unknown_type,
            "rejected": dict(self.rejected),
            "windows": self.windows,
            "windows_partial": self.windows_partial,
            "verdicts": self.verdicts,
            "flagged": self.flagged,
            "flagged_by_reason": dict(self.flagged_by_reason),
            "addresses_flagged": self.addresses_flagged,
            "suppressed_allowlisted": self.suppressed_allowlisted,
            "guard_tripped": self.guard_tripped,
            "keys_written": self.keys_written,
            "decisions_expired": self.expired,
            "redis_evicted_keys": self.redis_evicted_keys,
            "data_loss_records": self.standing.n_lost,
            "seconds": round(seconds, 3),
            "events_per_s": round(self.records / seconds) if seconds > 0 else 0,
            "startup_s": round(begun_s - self.started_s, 3),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_rss_mb": round(peak_rss_kb() / 1024, 1),
            "stage_s": {name: round(spent, 3) for name, spent in self.stage_s.items()},
            "time_to_detect_s": self.time_to_detect.summary(),
        }


def peak_rss_kb() -> int:
    """Return the most memory that this process has had; `getrusage` may tell its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0])
