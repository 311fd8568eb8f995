"""The properties of a test node of Kafka: its pace, its replicas, who may do what.

A test waits for conditions and not for Kafka's own pace: records are kept whatever their
timestamp, groups begin at once, and retention is looked at each second.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

FOREVER_MS = 2**63 - 1
SCRAM = "SCRAM-SHA-512"
TLS_HOST = "localhost"

NODE = {
    "process.roles": "broker,controller",
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


REPLICATED = {
    "default.replication.factor": 3,
    "min.insync.replicas": 2,
    "offsets.topic.replication.factor": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "share.coordinator.state.topic.replication.factor": 3,
    "share.coordinator.state.topic.min.isr": 2,
    # A node that is back leads again what it led before: each restart moves leaders twice.
    "leader.imbalance.check.interval.seconds": 1,
}


class Seat(NamedTuple):
    """A node's place among the voters (id: address of the controller) of its cluster."""

    node_id: int
    voters: Mapping[int, str]
    cluster_id: str

    @property
    def controller(self) -> str:
        """Where this node's controller listens."""
        return self.voters[self.node_id]

    def properties(self) -> dict[str, object]:
        """What the node has to be told of it."""
        voters = ",".join(f"{number}@{address}" for number, address in self.voters.items())
        return {"node.id": self.node_id, "controller.quorum.voters": voters}


def new_cluster_id() -> str:
    """Return an id that no other cluster has."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def access(users: Mapping[str, str], keystore: Path | None) -> dict[str, object]:
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
