"""librdkafka's own broker, in this process: enough of Kafka to produce to and to read back.

It makes a topic of four partitions when one is first named, and forgets everything at the end.
What needs a real broker belongs to the `kafka` fixture.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    Message,
    Producer,
    TopicPartition,
)

TIMEOUT_S = 20.0
QUIET = {"log_level": 0}


@contextmanager
def mock_kafka() -> Iterator[str]:
    """Run a broker; gives its host:port, for this and other processes."""
    mock = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, **QUIET})
    (broker,) = mock.list_topics(timeout=TIMEOUT_S).brokers.values()
    yield f"{broker.host}:{broker.port}"


def read_topic(bootstrap: str, topic: str) -> list[Message]:
    """All messages of `topic` at this moment, partition by partition."""
    config = {"bootstrap.servers": bootstrap, "group.id": "reader", "enable.partition.eof": True}
    consumer = Consumer({**config, **QUIET})
    try:
        partitions = consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
        return list(_until_ends(consumer, set(partitions)))
    finally:
        consumer.close()


def _until_ends(consumer: Consumer, still_open: set[int]) -> Iterator[Message]:
    deadline_s = time.monotonic() + TIMEOUT_S
    while still_open:
        assert time.monotonic() < deadline_s, "the mock broker fell silent"
        for message in consumer.consume(10_000, timeout=0.05):
            if message.error() is None:
                yield message
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF
                still_open.discard(message.partition())
