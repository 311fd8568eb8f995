"""The Kafka source: a static member of a consumer group that sees the whole topic, or its share.

One thread owns the consumer. Callbacks only set flags: one that raised would lose the batch that is
being fetched. Whenever the assignment changes, everything restarts from what is committed.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition

from engine.batch.checkpoint import Checkpoint
from engine.config import BatchConf
from engine.errors import BotsieveError, DataLossError, FencedError
from engine.kafka.client import meaning
from engine.kafka.ends import aim_at_present_ends, errors_in, hear, records_behind
from engine.kafka.fetch import Notice, Taken
from engine.kafka.session import Session
from engine.kafka.starts import Start, resolve_starts
from engine.progress import Progress
from engine.source_config import KafkaConf
from engine.sources import Assigned, Batch

log = logging.getLogger(__name__)

TICK_S = 0.2
HOLD_S = 0.2


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
        """Nothing is connected yet. `alone` skips the look at other members of the group.

        Those of a keyed topic are welcome: each has its share of the addresses.
        """
        self._conf, self._batch, self._blank = conf, batch, blank
        self._delay_s, self._idle_s = delay_s, idle_s
        self._alone = alone or conf.keyed
        self._session = Session(conf, batch, stopping=stopping)
        self._wanted: list[int] | None = None
        self._restart_wanted = False
        self._stop_at_end, self._targets_wanted = conf.stop_at_end, False
        self.epoch = 0
        self.lag: int | None = None
        self.waited_s = 0.0
        self.standing = self._session.standing
        self._tick_s = 0.0
        self._progress = Progress([], now_s=self.standing.served_s)
        self._held_back: set[int] = set()  # by `let_run`

    # -- opening ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the lock, wait for the topic, and join the group."""
        if self._session.find_topic(lock=True):
            self._join()

    def _join(self) -> None:
        self._session.join(self._on_assign, self._on_revoke, self._on_lost, alone=self._alone)

    @property
    def n_callback_errors(self) -> int:
        """Failures of our own callbacks; none of them stopped anything."""
        return self._session.callbacks.n_failed

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.epoch += 1
        self._wanted = sorted(tp.partition for tp in partitions)
        consumer.assign([])  # nothing is fetched before `read` has found the start offsets

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.epoch += 1
        self._wanted = None
        self._begin([])
        consumer.unassign()

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._session.view.lose()
        self._on_revoke(consumer, partitions)

    def _begin(self, partitions: list[int]) -> None:
        """Begin with these partitions, before their first record."""
        self._progress = Progress(partitions, now_s=time.monotonic())
        self._session.fetch.forget()
        self._held_back = set()

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
            found = aim_at_present_ends(self._session.consumer, self._conf.topic, self._progress)
            self._targets_wanted = not found
        epoch, taken = self.epoch, self._take()
        if self._session.failure is not None:
            self._join_again(self._session.failure)
            return None
        self._session.view.check()
        if epoch != self.epoch or not self._progress.partitions:
            self._hear(errors_in(taken.notices))
            return None  # records of two assignments cannot be told apart: read them again
        return self._batch_of(taken)

    def _join_again(self, failure: BotsieveError) -> None:
        """Come back into a group that has given our place to nobody; raise any other failure."""
        if not isinstance(failure, FencedError):
            raise failure
        self.epoch += 1
        self._wanted = None
        self._begin([])
        self._session.connect_again(failure)
        self._join()

    def _take(self) -> Taken:
        """Take what comes within the linger time; a batch that is not full has waited for more."""
        begun_s = time.perf_counter()
        taken = self._session.fetch.take(self._batch.linger_ms / 1000)
        if taken.n_messages < self._batch.max_events:
            self.waited_s += time.perf_counter() - begun_s
        self._session.note_served(self._progress.partitions)
        return taken

    def _assign(self, partitions: list[int]) -> Assigned | None:
        try:
            if not self._is_enough(partitions):
                self._wanted = None
                return None
            starts = self._resolve(partitions)
        except KafkaException as exception:
            if error := meaning(exception.args[0]):
                raise error from None
            log.warning("source.bootstrap_servers: %s; trying again", exception.args[0].str())
            self._session.consumer.poll(HOLD_S)  # the group may have given us up meanwhile
            self._session.note_served(self._progress.partitions)
            return None
        self._wanted = None
        self._begin(partitions)
        self._session.fetch.attach(partitions)
        self._session.consumer.assign(
            [TopicPartition(self._conf.topic, p, start.offset) for p, start in starts.items()]
        )
        self._session.consumer.resume(
            self._partitions(partitions)
        )  # a pause outlives an assignment
        self.standing.is_paused = False
        for p, start in starts.items():
            self._progress.position[p] = start.offset
        where = ", ".join(f"{p} from {start.offset}" for p, start in starts.items())
        log.info("source.topic: reading '%s', partition %s", self._conf.topic, where)
        checkpoints = {p: start.checkpoint for p, start in starts.items()}
        return Assigned(self.epoch, len(self._progress.position), checkpoints)

    def _is_enough(self, partitions: list[int]) -> bool:
        """Whether verdicts can be made of these partitions alone."""
        return self._conf.keyed or self._session.view.is_whole(self._session.consumer, partitions)

    def _resolve(self, partitions: list[int]) -> dict[int, Start]:
        starts = resolve_starts(
            self._session.consumer,
            self._conf,
            partitions,
            blank=self._blank,
            complete_from_s=int(np.ceil(time.time())) + self._delay_s,
            from_beginning=set(partitions) - self._session.known,
            begun=self._session.begun,
        )
        # a crash before the first close must find the same start again
        new = {p: (start.offset, start.checkpoint) for p, start in starts.items() if start.is_new}
        self._session.commits.send_now(self._session.consumer, new)
        self._session.begun.update(partitions)
        self.standing.n_lost += sum(start.n_lost for start in starts.values())
        return starts

    def _batch_of(self, taken: Taken) -> Batch | None:
        records, progress, now_s = taken.records, self._progress, time.monotonic()
        progress.read(records.partition, records.offset, now_s=now_s)
        self._hear(taken.notices)
        if self._stop_at_end and not self._targets_wanted and (newly := progress.finish()):
            self._session.consumer.pause(self._partitions(newly))
        is_tick = now_s - self._tick_s >= TICK_S
        if is_tick:
            self._tick_s = now_s
            self.lag = records_behind(self._session.consumer, self._conf.topic, progress)
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

    def _hear(self, notices: list[Notice]) -> None:
        try:
            for notice in notices:
                hear(notice, self._session.consumer, self._conf.topic, self._progress)
        except FencedError as fenced:
            self._session.failure = fenced  # the next read joins again
        except DataLossError:
            if self._conf.on_data_loss == "fail":
                raise
            self._restart_wanted = True  # the start offsets will tell of the gap

    # -- ending, holding, committing -------------------------------------------------------------

    def finish(self) -> None:
        """From now on end as `source.stop_at_end` does: at the present end of each partition."""
        self._stop_at_end = self._targets_wanted = True

    def hold(self) -> None:
        """Serve heartbeats and callbacks without taking records."""
        if not self.standing.is_paused:
            self._session.consumer.pause(self._partitions(self._progress.partitions))
            self.standing.is_paused = True
        self._session.fetch.serve(HOLD_S)
        self._session.note_served(self._progress.partitions)

    def let_run(self, partitions: list[int]) -> None:
        """Take records of these partitions only, until it is said otherwise."""
        going_on = set(self._progress.going_on())
        held_back = going_on - set(partitions)
        if held_back != self._held_back:
            consumer = self._session.consumer
            consumer.pause(self._partitions(sorted(held_back - self._held_back)))
            consumer.resume(self._partitions(sorted(going_on & self._held_back - held_back)))
            self._held_back = held_back

    def group_metadata(self) -> Any:
        """Return what tells a broker on whose behalf offsets are sent in a transaction."""
        return self._session.consumer.consumer_group_metadata()

    def _read_again(self) -> None:
        self._restart_wanted = False
        if self._progress.partitions:
            self._session.consumer.unassign()
            self.epoch += 1
            self._wanted = self._progress.partitions

    def _resume(self) -> None:
        self._session.consumer.resume(self._partitions(self._progress.going_on()))
        self._progress.wake(now_s=time.monotonic())  # silent because we were paused, not idle
        self.standing.is_paused = False

    def is_current(self, epoch: int) -> bool:
        """Return True while the group must think that this assignment is alive."""
        silent_s = time.monotonic() - self.standing.served_s
        return epoch == self.epoch and silent_s < self._session.timeout_s / 2

    def restart(self, epoch: int) -> None:
        """Read again from the commits: a write of this epoch was abandoned."""
        self._restart_wanted = epoch == self.epoch

    def commit(self, epoch: int, checkpoints: dict[int, tuple[int, Checkpoint]]) -> None:
        """Commit restart offsets, unless they are of an assignment that is over."""
        if epoch == self.epoch:
            self._session.commits.send(self._session.consumer, checkpoints)

    def _partitions(self, partitions: list[int]) -> list[TopicPartition]:
        return [TopicPartition(self._conf.topic, p) for p in partitions]

    def close(self) -> None:
        """Wait for the commit in flight, end the clients, free the lock."""
        self._session.close()
