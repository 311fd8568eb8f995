"""The Kafka source: a static member of a consumer group that sees the whole topic.

One thread owns the consumer. Callbacks only set flags: one that raised would lose the batch that is
being fetched. Whenever the assignment changes, everything restarts from what is committed.
"""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from engine.batch.checkpoint import Checkpoint
from engine.config import BatchConf, KafkaConf
from engine.errors import BotsieveError, PartialViewError
from engine.kafka_client import (
    Start,
    client_properties,
    consumer_properties,
    meaning,
    resolve_starts,
    wait_for_topic,
)
from engine.kafka_commits import Commits
from engine.kafka_records import records_of, without_errors
from engine.membership import InstanceLock, instance_id, refuse_second_engine
from engine.progress import Progress
from engine.sources import Assigned, Batch

log = logging.getLogger(__name__)

TICK_S = 0.2
HOLD_S = 0.2
CLOSE_S = 5.0
CALLBACK_S = 0.01


class KafkaSource:
    """Reads a topic; see `engine.sources.Source` for the contract."""

    def __init__(
        self,
        conf: KafkaConf,
        batch: BatchConf,
        *,
        blank: Checkpoint,
        delay_s: int,
        idle_s: float,
        stopping: threading.Event,
        alone: bool = False,
    ) -> None:
        """Nothing is connected yet. `alone` skips the look at other members of the group."""
        self._conf, self._batch, self._blank = conf, batch, blank
        self._delay_s, self._idle_s, self._alone = delay_s, idle_s, alone
        self._stopping = stopping
        self._instance = instance_id(conf.instance_id)
        self._lock = InstanceLock(
            bootstrap_servers=conf.bootstrap_servers,
            group_id=conf.group_id,
            instance=self._instance,
        )
        self._failure: BotsieveError | None = None
        self._known: set[int] = set()
        self._wanted: list[int] | None = None
        self._partial_since_s: float | None = None
        self._held_whole = self._held = self._restart_wanted = False
        self._stop_at_end, self._targets_wanted = conf.stop_at_end, False
        self.epoch = 0
        self.lag: int | None = None
        self.waited_s = 0.0
        self.last_poll_s = time.monotonic()
        self._commits = Commits(conf.topic)
        self._tick_s = 0.0
        self._reset([])

    def _reset(self, partitions: list[int]) -> None:
        """Begin with these partitions, before their first record."""
        self._progress = Progress(partitions, now_s=time.monotonic())
        self._stash: list[Message] = []

    # -- opening ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the lock, wait for the topic, and join the group."""
        self._lock.take()
        properties = consumer_properties(self._conf, self._instance)
        self._session_s = int(properties["session.timeout.ms"]) / 1000
        callbacks = {"error_cb": self._on_error, "on_commit": self._commits.on_commit}
        self._consumer = Consumer({**properties, **callbacks}, logger=log)
        self._known, waited = wait_for_topic(
            self._consumer,
            self._conf,
            failure=lambda: self._failure,
            stopping=self._stopping.wait,
        )
        if self._stopping.is_set():
            return
        if waited:
            self._known = set()
        if not self._alone:
            admin = AdminClient(client_properties(self._conf), logger=log)
            refuse_second_engine(admin, group_id=self._conf.group_id, instance=self._instance)
        self._consumer.subscribe(
            [self._conf.topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def _on_error(self, error: KafkaError) -> None:
        self._failure = self._failure or meaning(error)
        log.warning("source.bootstrap_servers: %s", error.str())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign([])  # nothing is fetched before `read` has found the start offsets
        self.epoch += 1
        self._wanted = sorted(tp.partition for tp in partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.unassign()
        self.epoch += 1
        self._wanted = None
        self._reset([])

    # -- reading ---------------------------------------------------------------------------------

    def read(self) -> Assigned | Batch | None:
        """Return a new assignment or what came within the linger time."""
        if self._restart_wanted:
            self._read_again()
        if self._wanted is not None:
            return self._assign(self._wanted)
        if self._held:
            self._resume()
        if self._targets_wanted:
            self._find_targets()
        epoch = self.epoch
        messages, self._stash = self._stash + self._consume(), []
        self.last_poll_s = time.monotonic()
        if self._failure is not None:
            raise self._failure
        self._check_view()
        if epoch != self.epoch or not self._progress.partitions:
            return None  # records of two assignments cannot be told apart: read them again
        return self._batch_of(messages)

    def _consume(self) -> list[Message]:
        """Take what comes within the linger time; a batch that is not full has waited for more."""
        begun_s = time.perf_counter()
        messages = self._consumer.consume(self._batch.max_events, self._batch.linger_ms / 1000)
        if len(messages) < self._batch.max_events:
            self.waited_s += time.perf_counter() - begun_s
        return messages

    def _assign(self, partitions: list[int]) -> Assigned | None:
        try:
            if set(partitions) != self._whole_topic():
                self._wanted = None
                self._partial_since_s = self._partial_since_s or time.monotonic()
                return None
            starts = self._resolve(partitions)
        except KafkaException as exception:
            if error := meaning(exception.args[0]):
                raise error from None
            log.warning("source.bootstrap_servers: %s; trying again", exception.args[0].str())
            self._consumer.poll(HOLD_S)  # the group may have given us up meanwhile
            return None
        self._wanted, self._partial_since_s, self._held_whole = None, None, True
        self._reset(partitions)
        self._consumer.assign(
            [TopicPartition(self._conf.topic, p, start.offset) for p, start in starts.items()]
        )
        self._consumer.resume(self._partitions(partitions))  # a pause outlives an assignment
        self._held = False
        for p, start in starts.items():
            self._progress.position[p] = start.offset
        checkpoints = {p: start.checkpoint for p, start in starts.items()}
        return Assigned(self.epoch, len(self._progress.position), checkpoints)

    def _resolve(self, partitions: list[int]) -> dict[int, Start]:
        newer = set(partitions) - self._known
        starts = resolve_starts(
            self._consumer,
            self._conf,
            partitions,
            blank=self._blank,
            complete_from_s=int(np.ceil(time.time())) + self._delay_s,
            from_beginning=newer,
        )
        # a crash before the first close must find the same start again
        new = {p: (start.offset, start.checkpoint) for p, start in starts.items() if start.is_new}
        self._commits.send_now(self._consumer, new)
        return starts

    def _whole_topic(self) -> set[int]:
        """Return all partitions; raise KafkaException where the broker does not say."""
        topics = self._consumer.list_topics(self._conf.topic, timeout=5.0).topics
        topic = topics[self._conf.topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        return set(topic.partitions)

    def _check_view(self) -> None:
        """Leave where another member holds a part of the topic and we never held the whole."""
        if self._partial_since_s is None or self._held_whole:
            return
        if time.monotonic() - self._partial_since_s > self._session_s + 2:
            problem = (
                f"source.group_id: another engine reads a part of '{self._conf.topic}' as "
                f"'{self._conf.group_id}'; one engine must see the whole topic"
            )
            raise PartialViewError(problem)

    def _batch_of(self, messages: list[Message]) -> Batch | None:
        messages, errors = without_errors(messages)
        records = records_of(messages)
        progress, now_s = self._progress, time.monotonic()
        progress.read(records.partition, records.offset, now_s=now_s)
        for message in errors:
            self._on_message_error(message, message.error())
        if self._stop_at_end and not self._targets_wanted and (newly := progress.finish()):
            self._consumer.pause(self._partitions(newly))
        is_tick = now_s - self._tick_s >= TICK_S
        if is_tick:
            self._tick_s = now_s
            self.lag = self._records_behind()
        elif not messages:
            return None
        return Batch(
            self.epoch,
            records,
            progress.position.copy(),
            progress.idle(now_s=now_s, after_s=self._idle_s),
            progress.finished(),
            time.time(),
            ended=not progress.going_on(),
        )

    def _high(self, partition: int) -> int:
        """Return the end of a partition's log as the last fetch has seen it, or -1."""
        tp = TopicPartition(self._conf.topic, partition)
        _, high = self._consumer.get_watermark_offsets(tp, cached=True) or (-1, -1)
        return high

    def _records_behind(self) -> int | None:
        """Return how many offsets are ahead of us, None while that is unknown."""
        position = self._progress.position
        highs = {p: self._high(p) for p in self._progress.partitions}
        if any(high < 0 or position[p] < 0 for p, high in highs.items()):
            return None
        return sum(max(high - int(position[p]), 0) for p, high in highs.items())

    def _on_message_error(self, message: Message, error: KafkaError | None) -> None:
        if error is None:
            return
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            partition, end = message.partition() or 0, message.offset() or 0
            if end >= self._high(partition):  # short of it, an open transaction holds records back
                self._progress.reach_end(partition, end)
        elif problem := meaning(error):
            raise problem
        else:
            log.warning("source.topic: %s", error.str())

    # -- ending, holding, committing -------------------------------------------------------------

    def finish(self) -> None:
        """From now on end as `source.stop_at_end` does: at the present end of each partition."""
        self._stop_at_end = self._targets_wanted = True

    def _find_targets(self) -> None:
        for p in self._progress.partitions:
            tp = TopicPartition(self._conf.topic, p)
            try:
                found = self._consumer.get_watermark_offsets(tp, timeout=1.0)
            except KafkaException:
                return
            self._progress.aim_at(p, found[1] if found else 0)
        self._targets_wanted = not self._progress.partitions

    def hold(self) -> None:
        """Serve heartbeats and callbacks without taking records."""
        if not self._held:
            self._consumer.pause(self._partitions(self._progress.partitions))
            self._held = True
        message = self._consumer.poll(HOLD_S)
        self.last_poll_s = time.monotonic()
        if message is not None:
            self._stash.append(message)

    def _read_again(self) -> None:
        self._restart_wanted = False
        if self._progress.partitions:
            self._consumer.unassign()
            self.epoch += 1
            self._wanted = self._progress.partitions

    def _resume(self) -> None:
        self._consumer.resume(self._partitions(self._progress.going_on()))
        self._progress.wake(now_s=time.monotonic())  # silent because we were paused, not idle
        self._held = False

    def is_current(self, epoch: int) -> bool:
        """Return True while the group must think that this assignment is alive."""
        silent_s = time.monotonic() - self.last_poll_s
        return epoch == self.epoch and silent_s < self._session_s / 2

    def restart(self, epoch: int) -> None:
        """Read again from the commits: a write of this epoch was abandoned."""
        self._restart_wanted = epoch == self.epoch

    def commit(self, epoch: int, checkpoints: dict[int, tuple[int, Checkpoint]]) -> None:
        """Commit restart offsets, unless they are of an assignment that is over."""
        if epoch == self.epoch:
            self._commits.send(self._consumer, checkpoints)

    def _partitions(self, partitions: list[int]) -> list[TopicPartition]:
        return [TopicPartition(self._conf.topic, p) for p in partitions]

    def close(self) -> None:
        """Wait for the commit in flight, leave the client, free the lock."""
        deadline_s = time.monotonic() + CLOSE_S
        while self._commits.in_flight and time.monotonic() < deadline_s:
            self._consumer.poll(CALLBACK_S)
        self._consumer.close()
        self._lock.release()
