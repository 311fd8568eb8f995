"""Fixtures: the real services, and engines between them.

One Kafka serves a whole session, also those tests that kill it; a Valkey is new for each test. A
test that uses a service carries its mark. In a parallel run each file of faults stays in one
process, and so do all other Kafka tests, so that no broker starts for a single test.
Without Kafka's jars such a test fails and says what to run: it is never skipped.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.rig import Rig
from tests.services.kafka import JARS_COMPLETE, KafkaBroker
from tests.services.kafka_cluster import KafkaCluster
from tests.services.proxy import Proxy
from tests.services.sentinel import Sentinels
from tests.services.valkey import ValkeyServer
from tests.services.valkey_cluster import ValkeyCluster

ALICE, PASSWORD = "alice", "correct-horse"
MARK_OF_FIXTURE = {
    "kafka": "kafka",
    "new_kafka": "kafka",
    "frail_kafka": "kafka",
    "proxied": "kafka",
    "kafka_cluster": "kafka",
    "valkey": "valkey",
    "new_valkey": "valkey",
    "new_cluster": "valkey",
    "sentinels": "valkey",
}

# A shared machine has no steady clock for a deadline, and CI must not fail by the luck of a draw.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the services that its fixtures start."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        marks = {MARK_OF_FIXTURE[name] for name in fixtures if name in MARK_OF_FIXTURE}
        for name in marks:
            item.add_marker(name)
        if "kafka" in marks:
            file = item.path.stem if "faults" in item.path.parts else "others"
            item.add_marker(pytest.mark.xdist_group(f"kafka {file}"))


@pytest.fixture(scope="session")
def kafka_jars() -> None:
    """Fail where `make services` has not run."""
    if not JARS_COMPLETE.exists():
        pytest.fail("Kafka's jars are missing: run `make services` (or `make test`)", pytrace=False)


@pytest.fixture(scope="session")
def proxied(
    kafka_jars: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[KafkaBroker, Proxy]]:
    """The broker that all tests share, and a proxy through which it is reached as well."""
    folder = tmp_path_factory.mktemp("kafka")
    with (
        Proxy(0) as proxy,
        KafkaBroker(folder, users={ALICE: PASSWORD}, proxy_port=proxy.port) as broker,
    ):
        proxy.target_port = broker.proxied_port
        yield broker, proxy


@pytest.fixture(scope="session")
def kafka(proxied: tuple[KafkaBroker, Proxy]) -> KafkaBroker:
    """The broker that all tests share: leave it running, and use topics of your own."""
    return proxied[0]


@pytest.fixture
def frail_kafka(kafka: KafkaBroker) -> Iterator[KafkaBroker]:
    """The same broker, to kill and to stop: it is mended after a test that leaves it so."""
    yield kafka
    kafka.mend()


@pytest.fixture
def new_kafka(
    kafka_jars: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., KafkaBroker]]:
    """Start a broker of the test's own: `new_kafka(users=..., properties=...)`."""
    with ExitStack() as started:

        def start(**options: Any) -> KafkaBroker:
            return started.enter_context(KafkaBroker(tmp_path_factory.mktemp("kafka"), **options))

        yield start


@pytest.fixture
def new_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ValkeyServer]]:
    """Start one more server: `new_valkey(arguments=("--requirepass", "pw"), ...)`."""
    with ExitStack() as started:

        def start(**options: Any) -> ValkeyServer:
            return started.enter_context(ValkeyServer(tmp_path_factory.mktemp("valkey"), **options))

        yield start


@pytest.fixture
def valkey(new_valkey: Callable[..., ValkeyServer]) -> ValkeyServer:
    """An empty server of the test's own."""
    return new_valkey()


@pytest.fixture
def new_cluster(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., ValkeyCluster]]:
    """Start a cluster of three masters: `new_cluster(n_replicas=3)` gives each a replica."""
    with ExitStack() as started:

        def start(**options: Any) -> ValkeyCluster:
            folder = tmp_path_factory.mktemp("cluster")
            return started.enter_context(ValkeyCluster(folder, **options))

        yield start


@pytest.fixture
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """A master, its replica, and sentinels that watch over them."""
    with Sentinels(tmp_path_factory.mktemp("sentinels")) as started:
        yield started


@pytest.fixture
def topic() -> Callable[[], str]:
    """Make a topic name that nobody else has: `name = kafka.create_topic(topic(), 4)`."""
    return lambda: f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def new_engine(tmp_path: Path) -> Iterator[Callable[..., EngineProcess]]:
    """Start an engine: `new_engine("source.topic=...", ..., env={...})`."""
    started: list[EngineProcess] = []

    def start(
        *overrides: str, env: Mapping[str, str] | None = None, module: str = "engine"
    ) -> EngineProcess:
        folder = tmp_path / f"engine-{len(started)}"
        started.append(EngineProcess(folder, overrides, env=env, module=module))
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
    record_property: Callable[[str, object], None],
) -> Callable[..., Rig]:
    """Make a rig: `rig(4)` has a topic of four partitions; `rig(kafka=...)` another broker."""

    def make(
        n_partitions: int = 1,
        *,
        kafka: KafkaBroker | KafkaCluster = kafka,
        valkey: ValkeyServer | ValkeyCluster | Sentinels = valkey,
    ) -> Rig:
        name = kafka.create_topic(topic(), n_partitions)
        return Rig(kafka, valkey, name, new_engine, record_property)

    return make


@pytest.fixture
def kafka_cluster(
    kafka_jars: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaCluster]:
    """Three nodes of the test's own, each of which may go: `rig(3, kafka=kafka_cluster)`."""
    with KafkaCluster(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster
