"""A topic, a Valkey and the engines between them: what nearly every test here starts with.

The log is the topic itself, so the model judges what the broker holds, whoever produced it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from tests import naive
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.judged import differences, wrong_expiries
from tests.end_to_end.logs import FAST, closing, ends_of, log_in, on
from tests.naive_config import ModelConfig
from tests.services.kafka import KafkaBroker
from tests.services.kafka_cluster import KafkaCluster
from tests.services.process import wait_until
from tests.services.sentinel import Sentinels
from tests.services.valkey import ValkeyServer
from tests.services.valkey_cluster import ValkeyCluster

TO_THE_END = "source.stop_at_end=true"
OFTEN = "batch.interval_s=0.1"
"""A commit follows soon upon what it commits."""

SHORT_SESSION = ("source.kafka.session.timeout.ms=1500", "source.kafka.heartbeat.interval.ms=300")
"""The group soon gives up a member that is silent."""

DEADLINE_S = 60.0


@dataclass
class Rig:
    """One topic and one server; an engine reads the one from its beginning and writes the other.

    `record` keeps a figure of the test for a report.
    """

    kafka: KafkaBroker | KafkaCluster
    valkey: ValkeyServer | ValkeyCluster | Sentinels
    topic: str
    new_engine: Callable[..., EngineProcess]
    record: Callable[[str, object], None] = lambda name, value: None
    module: str = "engine"
    engines: list[EngineProcess] = field(default_factory=list)

    def overrides(self) -> list[str]:
        """Return what every engine of this rig is told."""
        return [
            f"source.bootstrap_servers='{self.kafka.bootstrap}'",
            f"source.topic={self.topic}",
            f"source.group_id={self.topic}",
            "source.start=earliest",
            *self.valkey.overrides,
        ]

    def engine(self, *overrides: str, **env: str) -> EngineProcess:
        """Start an engine; `overrides` go over the rig's own."""
        words = (*self.overrides(), *overrides)
        self.engines.append(self.new_engine(*words, env=env, module=self.module))
        return self.engines[-1]

    def impatient(self) -> str:
        """Return the override that takes a Redis as lost which is silent for half a second."""
        return f"sink.url='{self.valkey.url}?socket_timeout=0.5'"

    def produce(self, partition: int, values: Iterable[bytes | None]) -> None:
        """Append records to a partition."""
        self.kafka.produce(self.topic, on(partition, values))

    def close_windows(self, time_s: int) -> None:
        """Append an event to each partition that closes every window which ends well before."""
        self.kafka.produce(self.topic, closing(self.kafka, self.topic, time_s))

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition as long as an engine runs that can bring it about."""

        def is_over() -> bool:
            return bool(condition()) or not any(engine.is_running for engine in self.engines)

        wait_until(is_over, deadline_s=DEADLINE_S, what=what)
        assert condition(), f"{what}: no engine runs; the last one said:\n{self.engines[-1].output}"

    def wait_for_commit(self, *, n_open: int) -> None:
        """Wait until all but the last `n_open` records of each partition are done with.

        An engine commits where its oldest open window begins: what is before it is counted, closed,
        written and acknowledged.
        """
        wanted = {part: end - n_open for part, end in ends_of(self.kafka, self.topic).items()}
        self.wait_until(lambda: self.committed() == wanted, f"commits at {wanted}")

    def end(self, engine: EngineProcess) -> None:
        """Wait until an engine is done with all but the newest record of each partition; end it."""
        self.wait_for_commit(n_open=1)
        engine.terminate()
        engine.ends()

    def commits(self) -> dict[int, tuple[int, str]]:
        """Return the committed offset and metadata of each partition that has one."""
        return self.kafka.committed(self.topic, self.topic)

    def committed(self) -> dict[int, int]:
        """Return the committed offset of each partition that has one."""
        return {partition: offset for partition, (offset, _) in self.commits().items()}

    def wait_for_closed(self, end_s: int) -> None:
        """Wait until the commits say that the windows which end by then are done with."""

        def is_closed() -> bool:
            metadata = [text for _, text in self.commits().values()]
            return bool(metadata) and all(int(text.split("|")[2]) >= end_s for text in metadata)

        self.wait_until(is_closed, f"windows closed up to {end_s}")

    def judged(self, config: ModelConfig = FAST) -> naive.Judgement:
        """Return the model's answer for the topic."""
        return naive.judge(log_in(self.kafka, self.topic), config)

    @contextmanager
    def client(self, db: int = 0) -> Iterator[redis.Redis]:
        """Look into the server."""
        with self.valkey.client(db) as client:
            yield client

    def get(self, key: str) -> bytes | None:
        """Return the value of a key."""
        with self.client() as client:
            value: bytes | None = client.get(key)
            return value

    def wait_for_key(self, key: str) -> None:
        """Wait until there is such a key."""
        self.wait_until(lambda: self.get(key) is not None, key)

    def wrong_keys(self, expected: naive.Judgement) -> str:
        """Return how keys, values and expiries differ from the model; nothing when they do not."""
        with self.client() as client:
            expiries = [
                f"{key} expires {late_s:.3f} s late"
                for key, late_s in wrong_expiries(client, expected).items()
            ]
            return "\n".join([differences(client, expected), *expiries]).strip()
