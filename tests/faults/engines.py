"""Engines that die, stand still or fail at a failpoint."""

from __future__ import annotations

import signal

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.rig import DEADLINE_S, OFTEN, SHORT_SESSION, Rig
from tests.faults.standard import READING

KILLED = -signal.SIGKILL
SMALL = "batch.max_events=20"
"""A window spans many batches."""


def failing(here: Rig, failpoint: str, *overrides: str) -> EngineProcess:
    """Start an engine that acts at a failpoint."""
    return here.engine(*overrides, ENGINE_TESTING="1", ENGINE_FAILPOINT=failpoint)


def killed_at(here: Rig, failpoint: str, *overrides: str) -> EngineProcess:
    """Run an engine until it is killed at a failpoint."""
    engine = failing(here, f"{failpoint}:kill", *overrides)
    engine.process.wait(DEADLINE_S)
    assert engine.process.returncode == KILLED, engine.output
    return engine


class Supervisor:
    """Starts an engine again whenever it ends with exit 75, as systemd does: a hot standby."""

    def __init__(self, here: Rig) -> None:
        """Start the first."""
        self._here = here
        self.exits: list[int] = []
        self.engine = self._started()

    def _started(self) -> EngineProcess:
        return self._here.engine("source.instance_id=standby", OFTEN, *SHORT_SESSION)

    def is_reading(self) -> bool:
        """Look after the engine; say whether the group has let it in."""
        if not self.engine.is_running:
            self.exits.append(self.engine.process.returncode)
            self.engine = self._started()
        return READING in self.engine.stderr
