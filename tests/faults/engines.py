"""Engines that die, stand still or fail at a failpoint."""

from __future__ import annotations

import signal

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.rig import DEADLINE_S, Rig

KILLED = -signal.SIGKILL
SMALL = "batch.max_events=20"
"""A window spans many batches."""

SHORT_SESSION = ("source.kafka.session.timeout.ms=1500", "source.kafka.heartbeat.interval.ms=300")


def failing(here: Rig, failpoint: str, *overrides: str) -> EngineProcess:
    """Start an engine that acts at a failpoint."""
    return here.engine(*overrides, ENGINE_TESTING="1", ENGINE_FAILPOINT=failpoint)


def killed_at(here: Rig, failpoint: str, *overrides: str) -> EngineProcess:
    """Run an engine until it is killed at a failpoint."""
    engine = failing(here, f"{failpoint}:kill", *overrides)
    engine.process.wait(DEADLINE_S)
    assert engine.process.returncode == KILLED, engine.output
    return engine
