"""The loop that one writes by hand: confluent-kafka, orjson, dictionaries, a pipeline of redis-py.

Tuned as far as it goes without leaving Python objects: fetches wait 5 ms instead of 1 s when the
queue is full, messages come 10,000 at a time, hiredis is there, and SETEX goes by
`execute_command`, which is faster than `set(ex=)`. Windows close by the slowest partition, as in an
engine: one clock for all would drop events as late where partitions are read unevenly.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import defaultdict

import orjson
import redis
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

WINDOW_S, DELAY_S, TTL_S = 10, 10, 600
LIMIT, CLICKS_PER_VIEW = 10, 3
BATCH, PIPELINE_COMMANDS = 10_000, 5_000
TIMEOUT_S = 10.0
FOREVER_S = 1 << 62
SETTINGS = {
    "group.id": "loop",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "fetch.queue.backoff.ms": 5,
}

# Events, clicks, views, categories of each address in a window.
Counts = dict[str, tuple[list[int], set[int]]]


class Windows:
    """The open windows of all partitions, counted event by event."""

    def __init__(self, partitions: list[int]) -> None:
        """Nothing is counted yet."""
        self.late = 0
        self._open: dict[int, Counts] = defaultdict(dict)
        self._newest_s = dict.fromkeys(partitions, 0)
        self._closed_until_s = 0

    def add(self, messages: list[Message]) -> None:
        """Count the events of a batch."""
        newest_s, closed_until_s, windows = self._newest_s, self._closed_until_s, self._open
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            event = orjson.loads(message.value())
            time_s, partition = event["unix_time"], message.partition()
            if time_s > newest_s[partition]:  # noqa: PLR1730 (max() is a call for each event)
                newest_s[partition] = time_s
            start_s = time_s - time_s % WINDOW_S
            if start_s < closed_until_s:
                self.late += 1
                continue
            counts, ip = windows[start_s], event["ip"]
            found = counts.get(ip)
            if found is None:
                found = counts[ip] = ([0, 0, 0], set())
            numbers, categories = found
            numbers[0] += 1
            if event["type"] == "click":
                numbers[1] += 1
            elif event["type"] == "view":
                numbers[2] += 1
            categories.add(event["category_id"])

    def closed(self, watermark_s: int | None = None) -> list[tuple[int, Counts]]:
        """Take out what the watermark has passed, in the order of time."""
        if watermark_s is None:
            watermark_s = min(self._newest_s.values()) - DELAY_S
        over = sorted(start_s for start_s in self._open if start_s + WINDOW_S <= watermark_s)
        if over:
            self._closed_until_s = over[-1] + WINDOW_S
        return [(start_s, self._open.pop(start_s)) for start_s in over]


class Writer:
    """Writes closed windows, and counts what it wrote."""

    def __init__(self, url: str) -> None:
        """Connect at the first window."""
        self.rows = self.flagged = self.counted = 0
        self.ended_s = 0.0
        self._pipeline = redis.Redis.from_url(url).pipeline(transaction=False)

    def write(self, start_s: int, counts: Counts) -> None:
        """Write statistics of each address, and the decision of the flagged."""
        queue = self._pipeline.execute_command
        ends = f'{{"window_start":{start_s},"window_end":{start_s + WINDOW_S},"events":'
        for ip, ((events, clicks, views), categories) in counts.items():
            distinct = len(categories)
            value = f'{ends}{events},"clicks":{clicks},"views":{views},"categories":{distinct}}}'
            queue("SETEX", f"stat_{ip}", TTL_S, value)
            many = events > LIMIT or distinct > LIMIT
            if many or views == 0 or clicks // views > CLICKS_PER_VIEW:
                queue("SETEX", f"bot_{ip}", TTL_S, value)
                self.flagged += 1
            self.counted += events
            if len(self._pipeline) >= PIPELINE_COMMANDS:
                self._pipeline.execute()
        self._pipeline.execute()
        self.rows += len(counts)
        self.ended_s = time.time()


def assigned(consumer: Consumer, topic: str) -> dict[int, int]:
    """Read every partition from its beginning; return how many events each has."""
    known = consumer.list_topics(topic, TIMEOUT_S).topics[topic].partitions
    bounds = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), TIMEOUT_S) for p in known}
    consumer.assign([TopicPartition(topic, p, first) for p, (first, _) in bounds.items()])
    return {p: end - first for p, (first, end) in bounds.items()}


def main() -> None:
    """Read the topic to its present end."""
    gc.disable()  # there are no cycles, and looking for them took a third of the time
    bootstrap, topic, url = sys.argv[1:]
    consumer = Consumer({"bootstrap.servers": bootstrap, **SETTINGS})
    n_events = assigned(consumer, topic)
    windows, writer, n_left = Windows(list(n_events)), Writer(url), sum(n_events.values())
    while n_left:
        messages = consumer.consume(BATCH, timeout=0.05)
        n_left -= len(messages)
        windows.add(messages)
        for start_s, counts in windows.closed():
            writer.write(start_s, counts)
    for start_s, counts in windows.closed(FOREVER_S):
        writer.write(start_s, counts)
    consumer.close()
    told = ("rows", "flagged", "counted", "ended_s")
    print(json.dumps({name: getattr(writer, name) for name in told} | {"late": windows.late}))


if __name__ == "__main__":
    main()
