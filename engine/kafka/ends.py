"""Where the log of each partition ends, as far as the client knows it."""

from __future__ import annotations

import logging

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from engine.kafka.client import meaning
from engine.kafka.fetch import Notice
from engine.progress import Progress

log = logging.getLogger(__name__)

ASK_S = 1.0


def high_offset(consumer: Consumer, topic: str, partition: int) -> int:
    """Return the end of a partition's log as the last fetch has seen it, or -1."""
    tp = TopicPartition(topic, partition)
    _, high = consumer.get_watermark_offsets(tp, cached=True) or (-1, -1)
    return int(high)


def hear(notice: Notice, consumer: Consumer, topic: str, progress: Progress) -> None:
    """Note the end of a partition; raise where an error does not pass by itself."""
    partition, offset, error = notice
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
        # short of the high watermark, an open transaction holds records back
        if offset >= high_offset(consumer, topic, partition):
            progress.reach_end(partition, offset)
    elif problem := meaning(error):
        raise problem
    else:
        log.warning("source.topic: %s", error.str())


def errors_in(notices: list[Notice]) -> list[Notice]:
    """Return the notices that are of no partition's end: they count without an assignment too."""
    return [n for n in notices if n.error.code() != KafkaError._PARTITION_EOF]  # noqa: SLF001


def records_behind(consumer: Consumer, topic: str, progress: Progress) -> int | None:
    """Return how many offsets are still to be read, None while that is unknown."""
    position = progress.position
    highs = {p: high_offset(consumer, topic, p) for p in progress.partitions}
    if any(high < 0 or position[p] < 0 for p, high in highs.items()):
        return None
    return sum(max(high - int(position[p]), 0) for p, high in highs.items())


def aim_at_present_ends(consumer: Consumer, topic: str, progress: Progress) -> bool:
    """Let each partition finish at its present end; False where the broker did not answer."""
    for p in progress.partitions:
        try:
            found = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=ASK_S)
        except KafkaException:
            return False
        progress.aim_at(p, found[1] if found else 0)
    return bool(progress.partitions)
