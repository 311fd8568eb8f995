"""One node of a real Apache Kafka (KRaft), from the jars that `make services` fetched.

It keeps every record whatever its timestamp, joins groups at once and looks at retention each
second, so a test waits for conditions and not for Kafka's own pace. `kill` and `restart` work on
the same folder and port: nothing that was acknowledged is lost.
"""

from __future__ import annotations

import base64
import struct
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from tests.services.process import LOOPBACK, ServiceProcess, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
JARS = ROOT / ".services" / "kafka" / "libs"
JARS_COMPLETE = JARS / "complete.stamp"
JVM_OPTIONS = ("-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOG_LEVEL = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
REQUEST_TIMEOUT_S = 30.0
FOREVER_MS = 2**63 - 1
OFFSETS_TOPIC = "__consumer_offsets"
OFFSET_KEYS = (b"\x00\x00", b"\x00\x01")
"""The versions of a key under which an offset is stored; others are about members."""
SCRAM = "SCRAM-SHA-512"
TLS_HOST = "localhost"

Row = tuple[int, bytes | None, int | None, bytes | None]


class Commit(NamedTuple):
    """One commit as the broker stored it; the time is the broker's."""

    time_s: float
    partition: int
    offset: int


NODE = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": (
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SASL_SSL,"
        "PROXIED:PLAINTEXT"
    ),
    "auto.create.topics.enable": "false",
    "num.partitions": 1,
    "default.replication.factor": 1,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    # After kill -9 the controller waits this long before it lets the same broker in again.
    "broker.session.timeout.ms": 2000,
    "broker.heartbeat.interval.ms": 400,
    # Tests write records of any age; only a topic that asks for retention gets it, within seconds.
    "log.retention.ms": -1,
    "log.message.timestamp.after.max.ms": FOREVER_MS,
    "log.initial.task.delay.ms": 500,
    "log.retention.check.interval.ms": 1000,
    "log.cleaner.backoff.ms": 500,
}


class KafkaBroker(ServiceProcess):
    """A Kafka node; `users` (name: password) adds a SASL listener behind ACLs.

    It is PLAIN over plain TCP, or with `keystore` (PEM: key and certificates) SCRAM over TLS.
    `proxy_port` adds a listener at `proxied_port` whose clients are sent to that port, where a
    proxy waits for them.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        users: Mapping[str, str] | None = None,
        proxy_port: int | None = None,
        keystore: Path | None = None,
        properties: Mapping[str, str] | None = None,
        jvm_options: Iterable[str] = JVM_OPTIONS,
    ) -> None:
        """Choose the ports; `properties` go over the node's own."""
        super().__init__(folder, port)
        self.bootstrap = f"{LOOPBACK}:{self.port}"
        sasl_host = LOOPBACK if keystore is None else TLS_HOST
        self.sasl_bootstrap = f"{sasl_host}:{free_port()}" if users else ""
        self._users, self._keystore = dict(users or {}), keystore
        self.proxied_port = free_port()
        self._proxy = f"{LOOPBACK}:{proxy_port}" if proxy_port else ""
        self._controller = f"{LOOPBACK}:{free_port()}"
        self._jvm_options = tuple(jvm_options)
        self._producers: dict[frozenset[tuple[str, str]], Producer] = {}
        self._config_path = folder / "server.properties"
        access = _access(self._users, keystore) if users else {}
        settings = NODE | self._addresses() | access | dict(properties or {})
        self._config_path.write_text("".join(f"{key}={settings[key]}\n" for key in settings))

    def argv(self) -> list[str]:
        """The node itself."""
        return self._java("kafka.Kafka", str(self._config_path))

    def start(self) -> Self:
        """Format the folder if it is new, start, and wait until every partition has a leader."""
        self._producers.clear()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        return super().start()

    def is_ready(self) -> bool:
        """The node lists its topics, and each partition has a leader."""
        try:
            topics = self.admin.list_topics(timeout=1.0).topics.values()
        except KafkaException:
            return False
        return all(part.leader >= 0 for topic in topics for part in topic.partitions.values())

    @cached_property
    def admin(self) -> AdminClient:
        """A client for all that has no method here."""
        return AdminClient(self._client(**{"reconnect.backoff.max.ms": "200"}))

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic, wait for its leaders, return its name; `retention_ms` = retention.ms."""
        new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dotted(config))
        self.admin.create_topics([new])[name].result(REQUEST_TIMEOUT_S)
        wait_until(
            lambda: self.is_ready() and len(self.partitions(name)) == partitions,
            deadline_s=REQUEST_TIMEOUT_S,
            what=f"{partitions} partitions of {name}",
        )
        return name

    def partitions(self, topic: str) -> list[int]:
        """The partition numbers of a topic; none if it does not exist."""
        known = self.admin.list_topics(timeout=REQUEST_TIMEOUT_S).topics
        return sorted(known[topic].partitions) if topic in known else []

    def produce(self, topic: str, rows: Iterable[Row], **settings: str) -> None:
        """Write (partition, value, timestamp_ms, key) in order; return when all are stored."""
        producer = self._producer(settings)
        failures: list[KafkaError] = []
        for partition, value, timestamp_ms, key in rows:
            send = {"value": value, "key": key, "partition": partition}
            if timestamp_ms is not None:
                send["timestamp"] = timestamp_ms
            _queue(producer, topic, send, failures)
        producer.flush(REQUEST_TIMEOUT_S)
        if failures or len(producer):
            message = f"{len(failures)} records refused, {len(producer)} not sent: {failures[:1]}"
            raise RuntimeError(message)

    def records(self, topic: str) -> list[Message]:
        """Every committed record of a topic, by partition and offset."""
        settings = {"group.id": "tests", "enable.partition.eof": "true", "fetch.wait.max.ms": "10"}
        with Consumer(self._client(**settings)) as reader:
            parts = self.partitions(topic)
            reader.assign([TopicPartition(topic, part, 0) for part in parts])
            return sorted(
                _to_the_end(reader, len(parts)), key=lambda m: (m.partition(), m.offset())
            )

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """What a group committed, by partition: (offset, metadata); none where no commit is."""
        with Consumer(self._client(**{"group.id": group})) as reader:
            asked = [TopicPartition(topic, part) for part in self.partitions(topic)]
            found = reader.committed(asked, timeout=REQUEST_TIMEOUT_S)
        return {
            part.partition: (part.offset, part.metadata or "")
            for part in found
            if part.offset != OFFSET_INVALID
        }

    def commit_history(self, group: str, topic: str) -> list[Commit]:
        """Every commit of a group for a topic that the broker ever took, in its order."""
        wanted, found = _key_start(group, topic), []
        for record in self.records(OFFSETS_TOPIC):
            key, value = record.key() or b"", record.value()
            if value is not None and key[2:-4] == wanted and key[:2] in OFFSET_KEYS:
                (partition,), (offset,) = (
                    struct.unpack(">i", key[-4:]),
                    struct.unpack(">q", value[2:10]),
                )
                found.append(Commit(record.timestamp()[1] / 1000, partition, offset))
        return found

    def _producer(self, settings: Mapping[str, str]) -> Producer:
        """Keep a producer for each set of settings: an idempotent one needs 1 s to begin."""
        key = frozenset(settings.items())
        if key not in self._producers:
            reliable = {"enable.idempotence": "true", "linger.ms": "5"}
            self._producers[key] = Producer(self._client(**reliable | dotted(settings)))
        return self._producers[key]

    def _client(self, **settings: str) -> dict[str, str]:
        return {"bootstrap.servers": self.bootstrap, "log_level": "0"} | settings

    def _java(self, *arguments: str) -> list[str]:
        return ["java", *self._jvm_options, LOG_LEVEL, "-cp", f"{JARS}/*", *arguments]

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # With "=": an id may begin with a dash.
        storage_tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}"]
        if self._keystore is not None:
            for name, password in self._users.items():
                storage_tool += ["--add-scram", f"{SCRAM}=[name={name},password={password}]"]
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                self._java(*storage_tool, "-c", str(self._config_path)),
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if done.returncode:
            raise RuntimeError(self._failure("the folder could not be formatted"))

    def _addresses(self) -> dict[str, object]:
        public = f"PLAINTEXT://{self.bootstrap}"
        if self.sasl_bootstrap:
            public += f",{'TLS' if self._keystore else 'SASL'}://{self.sasl_bootstrap}"
        behind = f",PROXIED://{LOOPBACK}:{self.proxied_port}" if self._proxy else ""
        return {
            "listeners": f"{public}{behind},CONTROLLER://{self._controller}",
            "advertised.listeners": f"{public},PROXIED://{self._proxy}" if self._proxy else public,
            "controller.quorum.voters": f"1@{self._controller}",
            "log.dirs": self.folder / "data",
        }


def dotted(settings: Mapping[str, str]) -> dict[str, str]:
    """Kafka's own names: `retention_ms` is `retention.ms`."""
    return {key.replace("_", "."): value for key, value in settings.items()}


def _key_start(group: str, topic: str) -> bytes:
    """What stands between the version and the partition in the key of a stored offset."""
    return b"".join(struct.pack(">h", len(name)) + name.encode() for name in (group, topic))


def _access(users: Mapping[str, str], keystore: Path | None) -> dict[str, object]:
    """SASL users need ACLs; whoever comes by the plain listener may do everything."""
    authorizer = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    modules = "org.apache.kafka.common.security"
    if keystore is not None:
        return authorizer | {
            "sasl.enabled.mechanisms": SCRAM,
            "listener.name.tls.scram-sha-512.sasl.jaas.config": (
                f"{modules}.scram.ScramLoginModule required;"
            ),
            "listener.name.tls.ssl.keystore.type": "PEM",
            "listener.name.tls.ssl.keystore.location": keystore,
        }
    accounts = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    return authorizer | {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": (
            f"{modules}.plain.PlainLoginModule required {accounts};"
        ),
    }


def _queue(
    producer: Producer, topic: str, send: dict[str, object], failures: list[KafkaError]
) -> None:
    """Queue one record; a full queue is served until it takes the record."""

    def note(error: KafkaError | None, _record: Message) -> None:
        if error is not None:
            failures.append(error)

    while True:
        try:
            producer.produce(topic, on_delivery=note, **send)
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def _to_the_end(reader: Consumer, n_partitions: int) -> list[Message]:
    """Read until each partition said that it ends."""
    found: list[Message] = []
    n_ended = 0
    while n_ended < n_partitions:
        record = reader.poll(REQUEST_TIMEOUT_S)
        if record is None:
            message = f"no record and no end of partition within {REQUEST_TIMEOUT_S:g} s"
            raise TimeoutError(message)
        error = record.error()
        if error is None:
            found.append(record)
        elif error.code() == KafkaError._PARTITION_EOF:
            n_ended += 1
        else:
            raise KafkaException(error)
    return found
