"""How far a group is, as the broker tells it: the condition that most tests wait for.

An engine commits where its oldest open window begins, so a commit at the last record of a partition
says that all before it is counted, closed, written and acknowledged.
"""

from __future__ import annotations

from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.services.kafka import REQUEST_TIMEOUT_S, KafkaBroker
from tests.services.process import wait_until

DEADLINE_S = 60.0
OFTEN = "batch.interval_s=0.1"
"""The override with which a commit follows soon upon what it commits."""


def ends_of(kafka: KafkaBroker, topic: str) -> dict[int, int]:
    """Return the next offset of each partition; of a new topic as soon as the broker has it."""
    found: dict[int, int] = {}
    settings = {"bootstrap.servers": kafka.bootstrap, "group.id": "tests", "log_level": 0}
    with Consumer(settings) as reader:

        def is_known() -> bool:
            with suppress(KafkaException):
                for part in kafka.partitions(topic):
                    asked = TopicPartition(topic, part)
                    found[part] = reader.get_watermark_offsets(asked, REQUEST_TIMEOUT_S)[1]
                return True
            return False

        wait_until(is_known, deadline_s=DEADLINE_S, what=f"the ends of {topic}")
    return found


def wait_for_commit(kafka: KafkaBroker, topic: str, *, n_open: int, group: str = "") -> None:
    """Wait until all but the last `n_open` records of each partition need not be read again."""
    wanted = {partition: end - n_open for partition, end in ends_of(kafka, topic).items()}

    def is_there() -> bool:
        committed = kafka.committed(group or topic, topic)
        return {partition: offset for partition, (offset, _) in committed.items()} == wanted

    wait_until(is_there, deadline_s=DEADLINE_S, what=f"commits of {topic} at {wanted}")
