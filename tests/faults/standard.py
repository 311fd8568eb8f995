"""The standard verdict: after a fault, everything that must hold, checked at once.

(a) the keys are the model's, (b) every value that Redis was ever told was true, (c) every expiry is
right, (d) no commit was ahead of what was written, (e) nothing is left to read, (f) memory is
bounded.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.judged import Write, writes_in, wrong_writes
from tests.end_to_end.logs import FAST, log_in
from tests.end_to_end.rig import OFTEN, Rig
from tests.faults.commits import wrong_commits
from tests.naive_config import ModelConfig
from tests.services.monitor import Command

MOST_RSS_MB = 700
READING = "reading '"
"""What an engine says when the group has given it the topic."""


def finished(
    here: Rig, *, close_s: int | None, engine: EngineProcess | None = None, n_open: int = 1
) -> EngineProcess:
    """The fault is over: let an engine close every older window, commit, and end.

    `close_s` None: what closes them is in the log already.
    """
    begun_s = time.monotonic()
    engine = engine or here.engine(OFTEN)
    if close_s is not None:
        here.close_windows(close_s)
    engine.wait_for(READING)
    here.wait_for_commit(n_open=n_open)
    here.record("recovery_s", round(time.monotonic() - begun_s, 3))
    engine.terminate()
    engine.ends()
    return engine


def what_is_wrong(
    here: Rig,
    commands: Iterable[Command],
    *,
    config: ModelConfig = FAST,
    on_time: bool = True,
    ascending: bool = False,
    theirs: str | None = None,
) -> str:
    """Return everything that does not hold, a line each; nothing when all does.

    `on_time`: no write waited for a Redis that was away. `ascending`: no restart wrote again.
    `theirs`: what lines say that are of the fault itself, and not of the engine.
    """

    def of_engine(lines: Iterable[str]) -> list[str]:
        return [line for line in lines if line and not (theirs and re.search(theirs, line))]

    expected, writes = here.judged(config), list(writes_in(commands))
    keys = of_engine(here.wrong_keys(expected).splitlines())
    untrue = wrong_writes(writes, expected, ascending=ascending, on_time=on_time)
    history = here.kafka.commit_history(here.topic, here.topic)
    ahead = of_engine(wrong_commits(history, log_in(here.kafka, here.topic), writes, expected))
    n_lost = sum(line.startswith("missing") for line in keys)
    here.record("lost", n_lost)
    here.record("wrong", len(untrue) + len(ahead) + len(keys) - n_lost)
    here.record("duplicated", n_repeated(writes))
    found = [*keys, *untrue, *ahead, *too_large(here.engines)]
    return "\n".join(found) if history else "nothing was committed"


def kept_for(ttl_s: int) -> ModelConfig:
    """Return the usual config, but for how long decisions and statistics are kept."""
    rules = tuple(replace(rule, ttl_s=ttl_s) for rule in FAST.rules)
    return replace(FAST, rules=rules, statistics_ttl_s=ttl_s)


def n_repeated(writes: list[Write]) -> int:
    """Return how many writes said again, byte for byte, what had been said before."""
    return len(writes) - len({(write.kind, write.ip, write.value) for write in writes})


def too_large(engines: Iterable[EngineProcess]) -> Iterator[str]:
    """Yield a line for each engine that took more memory than it may."""
    for engine in engines:
        if engine.summary_path.is_file() and engine.summary["peak_rss_mb"] > MOST_RSS_MB:
            yield f"peak RSS {engine.summary['peak_rss_mb']} MB"
