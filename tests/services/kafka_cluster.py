"""Three nodes of Kafka that replicate: each may go while the other two carry on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.services.kafka import KafkaBroker
from tests.services.kafka_client import KafkaClient
from tests.services.kafka_node import REPLICATED, Seat, new_cluster_id
from tests.services.process import LOOPBACK, free_port, wait_until

NODE_IDS = (1, 2, 3)
WHOLE_DEADLINE_S = 60.0


class KafkaCluster(KafkaClient):
    """Every topic is on all three nodes; what is acknowledged to `acks=all` is on two at least."""

    def __init__(self, folder: Path) -> None:
        """Choose the ports; nothing runs until `start`."""
        voters = {number: f"{LOOPBACK}:{free_port()}" for number in NODE_IDS}
        cluster_id = new_cluster_id()
        self.nodes = [
            KafkaBroker(
                folder / f"node-{number}",
                properties=REPLICATED,
                seat=Seat(number, voters, cluster_id),
            )
            for number in NODE_IDS
        ]
        super().__init__(",".join(node.bootstrap for node in self.nodes))

    def __enter__(self) -> Self:
        """Start all before any is waited for: a single one has no quorum."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait()
        return self

    def __exit__(self, *_exc: object) -> None:
        """Kill them: the last would wait in vain for a quorum to end politely."""
        for node in self.nodes:
            node.kill()

    def start_again(self, node: KafkaBroker) -> None:
        """Start a node that has ended; return when it misses nothing and leads what it led."""
        node.launch().wait()
        wait_until(lambda: is_whole(node), deadline_s=WHOLE_DEADLINE_S, what="a whole cluster")


def is_whole(node: KafkaBroker) -> bool:
    """Whether this very node says that all replicas are in sync and the preferred ones lead.

    The client is new: one that knows the other nodes might ask one that has not missed it yet.
    """
    with suppress(KafkaException):
        known = AdminClient({"bootstrap.servers": node.bootstrap, "log_level": 0})
        metadata = known.list_topics(timeout=1.0)
        parts = [part for topic in metadata.topics.values() for part in topic.partitions.values()]
        return len(metadata.brokers) == len(NODE_IDS) and all(
            part.leader == part.replicas[0] and set(part.isrs) == set(NODE_IDS) for part in parts
        )
    return False
