"""Small logs: the bytes of events, event times near now, and a topic as the model reads it.

Event times lie in the recent past, so that no key is over before it is written. The model judges
what the broker holds, timestamps and offsets included, not what a test meant to produce.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests import naive
from tests.naive_config import ModelConfig, ModelRule
from tests.services.kafka_client import REQUEST_TIMEOUT_S, KafkaClient, Row
from tests.services.process import wait_until

IP = "192.0.2.1"
CLOSER = "198.51.100.1"
WINDOW_S = 10
EVENT_RATE = ModelRule("event_rate", "events > 10")
CATEGORIES_RATE = ModelRule("categories_rate", "categories > 10")
FAST_RULES = (
    EVENT_RATE,
    ModelRule("click_view_rate", "events >= 5 and clicks / max(views, 1) > 3"),
    CATEGORIES_RATE,
)
SEED_RULES = (
    EVENT_RATE,
    ModelRule("click_view_rate", "views == 0 or clicks // views > 3"),
    CATEGORIES_RATE,
)
FAST = ModelConfig(rules=FAST_RULES)
SEED = ModelConfig(rules=SEED_RULES)


def window_ago(seconds: int) -> int:
    """Return the start of the window that was this long ago."""
    return (int(time.time()) - seconds) // WINDOW_S * WINDOW_S


def event(time_s: int, ip: str = IP, *, kind: str = "view", category: int = 1) -> bytes:
    """Return the record of an event."""
    members = {"unix_time": time_s, "category_id": category, "ip": ip, "type": kind}
    return json.dumps(members).encode()


def burst(start_s: int, ip: str = IP, *, n: int = 20) -> list[bytes]:
    """Return so many clicks of one address within a window, more than a person makes."""
    return [event(start_s + k % WINDOW_S, ip, kind="click", category=k % 12) for k in range(n)]


def on(partition: int, values: Iterable[bytes | None]) -> list[Row]:
    """Return these values as records of one partition, to be produced."""
    return [(partition, value, None, None) for value in values]


def closing(kafka: KafkaClient, topic: str, time_s: int) -> list[Row]:
    """Return one event for each partition whose time closes every window that is older."""
    value = event(time_s, CLOSER)
    return [(partition, value, None, None) for partition in kafka.partitions(topic)]


def log_in(kafka: KafkaClient, topic: str) -> list[naive.Row]:
    """Return all that the topic holds, as the model takes it; without what only closes windows."""
    rows = [
        naive.Row(record.partition(), record.offset(), record.value(), record.timestamp()[1])
        for record in kafka.records(topic)
    ]
    return [row for row in rows if row.value is None or CLOSER.encode() not in row.value]


def ends_of(kafka: KafkaClient, topic: str) -> dict[int, int]:
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

        wait_until(is_known, deadline_s=REQUEST_TIMEOUT_S, what=f"the ends of {topic}")
    return found
