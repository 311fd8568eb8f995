"""Where each partition is read from: its commit, else what the config says.

The client's own reset policy is never asked, since it would skip records silently.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from engine.batch.checkpoint import Checkpoint, parse_checkpoint
from engine.errors import DataLossError
from engine.source_config import KafkaConf

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 10.0


class Start(NamedTuple):
    """Where a partition is read from, and whether that position must still be committed.

    n_lost: records before it that were never counted and are gone.
    """

    offset: int
    checkpoint: Checkpoint
    is_new: bool
    n_lost: int = 0


def resolve_starts(
    consumer: Consumer,
    conf: KafkaConf,
    partitions: list[int],
    *,
    blank: Checkpoint,
    complete_from_s: int,
    from_beginning: set[int],
    begun: set[int],
) -> dict[int, Start]:
    """Return where each partition is read from: its commit, else what the config says.

    `blank` is the checkpoint of a log that is read from its beginning; `complete_from_s` replaces
    its field where a log is entered in the middle; `from_beginning` are partitions that are newer
    than this engine, `begun` those for which it has found or made a commit: one that is gone is a
    loss, since Kafka forgets the commits of a topic that is deleted. Raises KafkaException where
    the broker does not answer, DataLossError where `source.on_data_loss` is `fail`.
    """
    wanted = [TopicPartition(conf.topic, p) for p in partitions]
    committed = {
        tp.partition: tp
        for tp in consumer.committed(wanted, timeout=REQUEST_TIMEOUT_S)
        if tp.offset >= 0 and (tp.partition in begun or not conf.ignore_commits)
    }
    position = conf.start if not committed else "earliest"
    starts = {}
    for p in partitions:
        low, high = consumer.get_watermark_offsets(
            TopicPartition(conf.topic, p), timeout=REQUEST_TIMEOUT_S
        )
        if p in committed:
            starts[p] = _committed_start(conf, committed[p], low, high, blank, complete_from_s)
            continue
        if p in begun:
            gap = f"partition {p}: its commit is gone, {low} is the first offset"
            starts[p] = _start_after_loss(conf, gap, low, high, blank, complete_from_s)
            continue
        where = "earliest" if p in from_beginning else position
        offset = {"earliest": low, "latest": high}.get(where, -1)
        if offset < 0:
            offset = offset_at(consumer, conf.topic, p, int(where), high)
        checkpoint = blank._replace(complete_from_s=complete_from_s if offset > 0 else 0)
        starts[p] = Start(offset, checkpoint, is_new=True)
    return starts


def _committed_start(
    conf: KafkaConf, commit: TopicPartition, low: int, high: int, blank: Checkpoint, middle_s: int
) -> Start:
    checkpoint = parse_checkpoint(commit.metadata)
    if checkpoint is None:
        log.warning(
            "source.group_id: the commit of partition %d is not ours (%r); going on from it "
            "without its state",
            commit.partition,
            (commit.metadata or "")[:40],
        )
        middle = middle_s if commit.offset > 0 else 0
        checkpoint = blank._replace(complete_from_s=middle)
    if low <= commit.offset <= high:
        return Start(commit.offset, checkpoint, is_new=False)
    gap = f"partition {commit.partition}: offset {commit.offset} was to be read, {low} is the first"
    start = _start_after_loss(conf, gap, low, high, blank, middle_s)
    # behind its end, the log has begun anew, and nobody knows how much of the old one is gone
    return start._replace(n_lost=start.n_lost + max(low - commit.offset, 0))


def _start_after_loss(
    conf: KafkaConf, gap: str, low: int, high: int, blank: Checkpoint, middle_s: int
) -> Start:
    if conf.on_data_loss == "fail":
        problem = (
            f"source.topic: records are lost, {conf.topic} {gap}; set "
            "source.on_data_loss=earliest (or latest) to go on with a gap"
        )
        raise DataLossError(problem)
    log.warning("source.on_data_loss=%s: %s %s", conf.on_data_loss, conf.topic, gap)
    offset = low if conf.on_data_loss == "earliest" else high
    checkpoint = blank._replace(complete_from_s=middle_s)
    return Start(offset, checkpoint, is_new=True, n_lost=offset - low)


def offset_at(consumer: Consumer, topic: str, partition: int, time_s: int, high: int) -> int:
    """Return the first offset whose record is not older than that, `high` where there is none."""
    at = TopicPartition(topic, partition, time_s * 1000)
    found = int(consumer.offsets_for_times([at], timeout=REQUEST_TIMEOUT_S)[0].offset)
    return found if found >= 0 else high
