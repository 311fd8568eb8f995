"""Fixtures of the end-to-end tests: engines that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.end_to_end.botgen_log import BotgenLog
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.rig import Rig
from tests.services.kafka import KafkaBroker
from tests.services.valkey import ValkeyServer

ALICE, PASSWORD = "alice", "correct-horse"


@pytest.fixture
def new_engine(tmp_path: Path) -> Iterator[Callable[..., EngineProcess]]:
    """Start an engine: `new_engine("source.topic=...", ..., env={...})`."""
    started: list[EngineProcess] = []

    def start(*overrides: str, env: Mapping[str, str] | None = None) -> EngineProcess:
        folder = tmp_path / f"engine-{len(started)}"
        started.append(EngineProcess(folder, overrides, env=env))
        return started[-1]

    yield start
    for engine in started:
        engine.close()


@pytest.fixture
def rig(
    kafka: KafkaBroker,
    valkey: ValkeyServer,
    topic: Callable[[], str],
    new_engine: Callable[..., EngineProcess],
    judge_early: None,
) -> Callable[..., Rig]:
    """Make a rig: `rig(4)` has a topic of four partitions; `rig(kafka=...)` another broker."""

    def make(
        n_partitions: int = 1, *, kafka: KafkaBroker = kafka, valkey: ValkeyServer = valkey
    ) -> Rig:
        name = kafka.create_topic(topic(), n_partitions)
        return Rig(kafka, valkey, name, new_engine)

    return make


@pytest.fixture(scope="session")
def frail_kafka(
    kafka_jars: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaBroker]:
    """A second broker, to kill and to stop, with a SASL listener: leave it running as well."""
    with KafkaBroker(tmp_path_factory.mktemp("kafka"), users={ALICE: PASSWORD}) as broker:
        yield broker


@pytest.fixture(scope="session")
def botgen_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BotgenLog]:
    """The log of a million events; the model judges it in the background."""
    log = BotgenLog(tmp_path_factory.mktemp("botgen"))
    yield log
    log.close()


@pytest.fixture(scope="session")
def judge_early(request: pytest.FixtureRequest) -> None:
    """Begin with the long judgement at the first test where a later one will ask for it."""
    if any("botgen_log" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("botgen_log")
