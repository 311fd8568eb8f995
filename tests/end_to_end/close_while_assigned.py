"""Closes a Kafka source some times, each at the moment at which its group assigns the topic.

    python -m tests.end_to_end.close_while_assigned BOOTSTRAP TOPIC

A process of its own: a client that hangs there holds the interpreter and can only be killed.
"""

from __future__ import annotations

import sys
import threading

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient

from engine.batch.checkpoint import Checkpoint
from engine.config import BatchConf
from engine.kafka.source import KafkaSource
from engine.kernels.triage import NEVER
from engine.source_config import KafkaConf
from tests.services.process import wait_until

N_TIMES = 20
DEADLINE_S = 20.0
BLANK = Checkpoint(NEVER, NEVER, 0, "unkeyed", "10/10", "rules")


def close_once(admin: AdminClient, topic: str, group_id: str) -> None:
    """Join; close when the group's answer is on its way or waits to be served."""

    def is_assigned() -> bool:
        group = admin.describe_consumer_groups([group_id])[group_id].result()
        return bool(group.state == ConsumerGroupState.STABLE)

    conf = KafkaConf(bootstrap_servers=sys.argv[1], topic=topic, group_id=group_id, drain="plain")
    source = KafkaSource(
        conf, BatchConf(), blank=BLANK, delay_s=10, idle_s=10, stopping=threading.Event()
    )
    source.open()
    wait_until(is_assigned, deadline_s=DEADLINE_S, what="a group that is stable")
    source.close()


if __name__ == "__main__":
    client = AdminClient({"bootstrap.servers": sys.argv[1]})
    for k in range(N_TIMES):
        close_once(client, sys.argv[2], f"{sys.argv[2]}-{k}")
