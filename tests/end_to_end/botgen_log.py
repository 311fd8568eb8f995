"""A million events of botgen, and what the model says about them.

The model takes its time, so it judges the log in a process of its own while other tests run. The
same seed and start give the same events, so a topic is filled by botgen itself. Events are in the
order of time, hence in order in each partition too: the answer is the same for any partitioning.
"""

from __future__ import annotations

import gc
import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests import naive
from tests.end_to_end.logs import FAST_RULES, SEED, WINDOW_S
from tests.services.kafka import ROOT, KafkaBroker

N_SECONDS = 190
N_USERS, N_BOTS, N_EVENTS = 20_000, 200, 999_400
AHEAD_S = 600
"""The log begins in the near future, so that its first keys outlive a slow run of all tests."""


class BotgenLog:
    """The log as a file, as a topic, and as the model's judgement by preset."""

    def __init__(self, folder: Path) -> None:
        """Write the file and let the model begin."""
        self.start_s = (int(time.time()) + AHEAD_S) // WINDOW_S * WINDOW_S
        self.end_s = self.start_s + N_SECONDS
        self.path = folder / "events.json"
        self._botgen("--file", str(self.path), "--format", "ndjson")
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, mp_context=context)
        timestamp_ms = int(time.time() * 1000)
        self._judged = self._pool.submit(judge_by_presets, self.path, timestamp_ms)

    def judged(self, preset: str) -> naive.Judgement:
        """Return the model's answer under `rules=preset`."""
        return self._judged.result()[preset]

    def produce(self, kafka: KafkaBroker, topic: str, *options: str) -> None:
        """Fill a topic: round robin, or with `--keyed` by address."""
        self._botgen("--to-kafka", f"{kafka.bootstrap}/{topic}", *options)

    def _botgen(self, *options: str) -> None:
        users, bots = ["-u", str(N_USERS), "-n", "5000"], ["-b", str(N_BOTS), "--bot-freq", "1.3"]
        span = ["--seed", "1", "--start", str(self.start_s), "-d", str(N_SECONDS)]
        argv = [sys.executable, str(ROOT / "tools" / "botgen.py"), *users, *bots, *span, *options]
        subprocess.run(argv, check=True, capture_output=True)

    def close(self) -> None:
        """End the judge's process."""
        self._pool.shutdown(cancel_futures=True)


def judge_by_presets(path: Path, timestamp_ms: int) -> dict[str, naive.Judgement]:
    """Return the model's answers for a file, by preset."""
    gc.disable()  # a million small objects that stay are what a collector is worst at
    seed = naive.judge(naive.read_file_rows(path, timestamp_ms), SEED)
    return {"seed": seed, "fast": naive.judge_again(seed, FAST_RULES)}
