"""Engines that die, stand still or fail at a failpoint."""

from __future__ import annotations

import signal
from collections.abc import Callable

from confluent_kafka import Consumer

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.rig import DEADLINE_S, OFTEN, SHORT_SESSION, Rig
from tests.faults.standard import READING
from tests.services.process import wait_until

KILLED = -signal.SIGKILL
VISITOR = "visitor"
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


def member(here: Rig, **settings: object) -> Consumer:
    """Return a new member of the engine's group that commits nothing."""
    group = {"bootstrap.servers": here.kafka.bootstrap, "group.id": here.topic, "log_level": 0}
    silent = {"enable.auto.commit": False, "partition.assignment.strategy": "range"}
    consumer = Consumer(group | silent | settings)
    consumer.subscribe([here.topic])
    return consumer


def visit(here: Rig, until: Callable[[], object]) -> None:
    """Be a member of the engine's group until then: its partitions are revoked."""
    with member(here, **{"client.id": VISITOR}) as visitor:

        def is_over() -> bool:
            visitor.poll(0.1)
            return bool(until())

        wait_until(is_over, deadline_s=DEADLINE_S, what="the end of a visit")

    def is_gone() -> bool:
        group = here.kafka.admin.describe_consumer_groups([here.topic])[here.topic].result()
        return all(member.client_id != VISITOR for member in group.members)

    wait_until(is_gone, deadline_s=DEADLINE_S, what="a group without the visitor")


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
