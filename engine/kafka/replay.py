"""A topic read again from some time to its present end, beside the engine that reads it as a group.

It assigns itself: it joins no group, commits nothing and takes no lock. Unlike a run with
`source.stop_at_end` it closes no window at the end: which ones are over, the watermark says as it
does in the engine beside it, so a partition that has fallen silent is waited for until it is idle.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from confluent_kafka import TopicPartition

from engine.batch.checkpoint import Checkpoint
from engine.config import BatchConf
from engine.kafka.fetch import Taken
from engine.kafka.source import KafkaSource
from engine.kafka.starts import REQUEST_TIMEOUT_S, Start, offset_at
from engine.source_config import KafkaConf
from engine.sources import Batch

log = logging.getLogger(__name__)

PATIENCE_S = 60.0  # for silence, where window.idle_s is longer or for ever


class ReplaySource(KafkaSource):
    """Reads records that are not older than `from_s`; ends where the topic ended when it began."""

    def __init__(self, conf: KafkaConf, batch: BatchConf, *, from_s: int, **parts: Any) -> None:
        """Nothing is connected yet; `parts` are those of a KafkaSource."""
        super().__init__(conf, batch, **parts)
        self._from_s, self._targets_wanted, self._stop_at_end = from_s, True, False

    def open(self) -> None:
        """Wait for the topic, and take all of it."""
        self._wanted = sorted(self._session.find_topic(lock=False)) or None

    def _resolve(self, partitions: list[int]) -> dict[int, Start]:
        return {partition: self._start_of(partition) for partition in partitions}

    def _start_of(self, partition: int) -> Start:
        topic, checkpoint = self._conf.topic, self._blank
        asked = TopicPartition(topic, partition)
        low, high = self._session.consumer.get_watermark_offsets(asked, timeout=REQUEST_TIMEOUT_S)
        offset = offset_at(self._session.consumer, topic, partition, self._from_s, high)
        if 0 < low == offset < high:
            problem = "windows that may miss records are left out"
            log.warning(
                "replay.since_s: partition %d has lost its beginning: %s", partition, problem
            )
            after_s = int(time.time()) + 1 + self._delay_s
            checkpoint = self._blank._replace(complete_from_s=after_s)
        return Start(offset, checkpoint, is_new=False)

    def _batch_of(self, taken: Taken) -> Batch | None:
        batch = super()._batch_of(taken)
        if batch is None or self._targets_wanted:
            return batch
        silent = self._progress.idle(now_s=time.monotonic(), after_s=PATIENCE_S)
        return batch._replace(ended=self._progress.is_past_aim(batch.idle | silent))

    def is_current(self, epoch: int) -> bool:
        """Return True: no group can take anything away."""
        return True

    def commit(self, epoch: int, checkpoints: dict[int, tuple[int, Checkpoint]]) -> None:
        """Leave the commits to the engine of the group."""
