"""The Kafka source: a static member of a consumer group that sees the whole topic.

One thread owns the consumer. Callbacks only set flags: one that raised would lose the batch that is
being fetched. Whenever the assignment changes, everything restarts from what is committed.
"""

from __future__ import annotations

import logging
import threading
import time

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from engine.batch.checkpoint import Checkpoint
from engine.config import BatchConf, KafkaConf
from engine.errors import BotsieveError
from engine.kafka.client import (
    Reach,
    client_properties,
    consumer_properties,
    meaning,
    wait_for_topic,
)
from engine.kafka.closing import close_within
from engine.kafka.commits import Commits
from engine.kafka.ends import aim_at_present_ends, high_offset, records_behind
from engine.kafka.fetch import Notice, Taken
from engine.kafka.membership import InstanceLock, View, instance_id, refuse_second_engine
from engine.kafka.native import open_fetch
from engine.kafka.starts import Start, resolve_starts
from engine.progress import Progress
from engine.sources import Assigned, Batch, Standing

log = logging.getLogger(__name__)

TICK_S = 0.2
HOLD_S = 0.2
WAIT_S = 0.5
CLOSE_S = 5.0
LEAVE_S = 1.0  # so much of it is left for the client when a commit is not answered
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
        self._restart_wanted = False
        self._stop_at_end, self._targets_wanted = conf.stop_at_end, False
        self.epoch = 0
        self.lag: int | None = None
        self.waited_s = 0.0
        self.standing = Standing(missing="broker", served_s=time.monotonic())
        self._reach = Reach(conf.topic)
        self._commits = Commits(conf.topic)
        self._tick_s = 0.0
        self._progress = Progress([], now_s=self.standing.served_s)

    # -- opening ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the lock, wait for the topic, and join the group."""
        self._lock.take()
        if self._find_topic():
            self._join()

    def _find_topic(self) -> set[int]:
        """Make the client and wait for the topic; return its partitions, none after a stop."""
        properties = consumer_properties(self._conf, self._instance)
        self._session_s = int(properties["session.timeout.ms"]) / 1000
        callbacks = {"error_cb": self._on_error, "on_commit": self._commits.on_commit}
        self._consumer = Consumer({**properties, **callbacks}, logger=log)
        self._fetch = open_fetch(self._consumer, self._conf, self._batch)
        self._view = View(self._conf.topic, self._conf.group_id, patience_s=self._session_s + 2)
        found, waited = wait_for_topic(
            self._consumer,
            self._conf,
            failure=lambda: self._failure,
            wait=self._wait_for,
        )
        self._known = set() if waited else found
        self.standing.missing = "partitions"
        return set() if self._stopping.is_set() else found

    def _wait_for(self, missing: str) -> bool:
        self.standing.missing, self.standing.served_s = missing, time.monotonic()
        return self._stopping.wait(WAIT_S)

    def _join(self) -> None:
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
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._reach.lose()
        log.warning("source.bootstrap_servers: %s", error.str())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign([])  # nothing is fetched before `read` has found the start offsets
        self.epoch += 1
        self._wanted = sorted(tp.partition for tp in partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.unassign()
        self.epoch += 1
        self._wanted = None
        self._begin([])

    def _begin(self, partitions: list[int]) -> None:
        """Begin with these partitions, before their first record."""
        self._progress = Progress(partitions, now_s=time.monotonic())
        self._fetch.forget()

    # -- reading ---------------------------------------------------------------------------------

    def read(self) -> Assigned | Batch | None:
        """Return a new assignment or what came within the linger time."""
        if self._restart_wanted:
            self._read_again()
        if self._wanted is not None:
            return self._assign(self._wanted)
        if self.standing.is_paused:
            self._resume()
        if self._targets_wanted:
            found = aim_at_present_ends(self._consumer, self._conf.topic, self._progress)
            self._targets_wanted = not found
        epoch, taken = self.epoch, self._take()
        if self._failure is not None:
            raise self._failure
        self._view.check()
        if epoch != self.epoch or not self._progress.partitions:
            return None  # records of two assignments cannot be told apart: read them again
        return self._batch_of(taken)

    def _take(self) -> Taken:
        """Take what comes within the linger time; a batch that is not full has waited for more."""
        begun_s = time.perf_counter()
        taken = self._fetch.take(self._batch.linger_ms / 1000)
        if taken.n_messages < self._batch.max_events:
            self.waited_s += time.perf_counter() - begun_s
        self._note_served()
        return taken

    def _note_served(self) -> None:
        """Note that the client was served just now, and how that leaves us."""
        missing = "" if self._progress.partitions else "partitions"
        if not self._reach.is_there(self._consumer):
            missing = "broker"
        self.standing.missing = missing  # in one step: whoever looks must not see it half done
        self.standing.is_partial = self._view.is_partial
        self.standing.served_s = time.monotonic()

    def _assign(self, partitions: list[int]) -> Assigned | None:
        try:
            if not self._view.is_whole(self._consumer, partitions):
                self._wanted = None
                return None
            starts = self._resolve(partitions)
        except KafkaException as exception:
            if error := meaning(exception.args[0]):
                raise error from None
            log.warning("source.bootstrap_servers: %s; trying again", exception.args[0].str())
            self._consumer.poll(HOLD_S)  # the group may have given us up meanwhile
            self._note_served()
            return None
        self._wanted = None
        self._begin(partitions)
        self._fetch.attach(partitions)
        self._consumer.assign(
            [TopicPartition(self._conf.topic, p, start.offset) for p, start in starts.items()]
        )
        self._consumer.resume(self._partitions(partitions))  # a pause outlives an assignment
        self.standing.is_paused = False
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
        self.standing.n_lost += sum(start.n_lost for start in starts.values())
        return starts

    def _batch_of(self, taken: Taken) -> Batch | None:
        records, progress, now_s = taken.records, self._progress, time.monotonic()
        progress.read(records.partition, records.offset, now_s=now_s)
        for notice in taken.notices:
            self._hear(notice)
        if self._stop_at_end and not self._targets_wanted and (newly := progress.finish()):
            self._consumer.pause(self._partitions(newly))
        is_tick = now_s - self._tick_s >= TICK_S
        if is_tick:
            self._tick_s = now_s
            self.lag = records_behind(self._consumer, self._conf.topic, progress)
        elif not taken.n_messages:
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

    def _hear(self, notice: Notice) -> None:
        partition, offset, error = notice
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            # short of the high watermark, an open transaction holds records back
            if offset >= high_offset(self._consumer, self._conf.topic, partition):
                self._progress.reach_end(partition, offset)
        elif problem := meaning(error):
            raise problem
        else:
            log.warning("source.topic: %s", error.str())

    # -- ending, holding, committing -------------------------------------------------------------

    def finish(self) -> None:
        """From now on end as `source.stop_at_end` does: at the present end of each partition."""
        self._stop_at_end = self._targets_wanted = True

    def hold(self) -> None:
        """Serve heartbeats and callbacks without taking records."""
        if not self.standing.is_paused:
            self._consumer.pause(self._partitions(self._progress.partitions))
            self.standing.is_paused = True
        self._fetch.serve(HOLD_S)
        self._note_served()

    def _read_again(self) -> None:
        self._restart_wanted = False
        if self._progress.partitions:
            self._consumer.unassign()
            self.epoch += 1
            self._wanted = self._progress.partitions

    def _resume(self) -> None:
        self._consumer.resume(self._partitions(self._progress.going_on()))
        self._progress.wake(now_s=time.monotonic())  # silent because we were paused, not idle
        self.standing.is_paused = False

    def is_current(self, epoch: int) -> bool:
        """Return True while the group must think that this assignment is alive."""
        silent_s = time.monotonic() - self.standing.served_s
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
        while self._commits.in_flight and time.monotonic() < deadline_s - LEAVE_S:
            self._consumer.poll(CALLBACK_S)
        close_within(deadline_s - time.monotonic(), self._close_client)
        self._lock.release()

    def _close_client(self) -> None:
        self._fetch.close()
        self._consumer.close()
