"""A topic copied to one that is keyed by address, each record exactly once.

    1 fetch     as the engine does, from the group's commits
    2 merge     several partitions become one order in which nothing is late that was not
    3 produce   with the address as key, in a transaction
    4 commit    the offsets of what was produced, in the same transaction

A transaction that does not end takes its offsets with it, so after a crash both are done again.
Records that are no events are copied without a key: whoever reads the copy refuses them as well.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
import polars as pl
from confluent_kafka import KafkaException, Producer, TopicPartition
from numpy.typing import NDArray

from engine.batch.checkpoint import Checkpoint
from engine.batch.decode import DecodeOptions, Records, decode
from engine.batch.merge import Merge
from engine.errors import BotsieveError, FencedError, UnavailableError
from engine.failpoints import reach
from engine.kafka.client import client_properties, meaning
from engine.kafka.membership import instance_id
from engine.kafka.produce import open_produce
from engine.kafka.source import KafkaSource
from engine.metrics import Metrics
from engine.source_config import KafkaConf
from engine.sources import Assigned, Batch

log = logging.getLogger(__name__)

ANSWER_S = 30.0
MAX_HELD = 500_000  # records of a partition that is ahead: with their values some 100 MB
NOBODY = -1


class Rekey:
    """Copies until the source ends or `stopping` is set; one thread does it all."""

    def __init__(
        self,
        conf: KafkaConf,
        source: KafkaSource,
        *,
        topic: str,
        interval_s: float,
        options: DecodeOptions,
        blank: Checkpoint,
        metrics: Metrics,
    ) -> None:
        """Nothing is connected yet. A transaction is committed every `interval_s`."""
        self._conf, self._source, self._topic = conf, source, topic
        self._interval_s, self._options, self._metrics = interval_s, options, metrics
        self._metadata = blank.metadata()
        self._merge, self._epoch = Merge(0), NOBODY
        self._position = np.zeros(0, np.int64)
        self._blocks: dict[int, NDArray[np.uint8]] = {}  # buffers of records that are held back
        self._n_blocks = 0
        self._committed: dict[int, int] = {}
        self._is_open = False  # a transaction
        self._due_s = 0.0

    def run(self, *, is_stopping: Any) -> None:
        """Copy; what is produced when it is to stop is committed."""
        self._connect()
        self._source.open()
        ended = False
        try:
            while not ended and not is_stopping():
                ended = self._step(self._source.read())
                if ended or time.monotonic() >= self._due_s:
                    self._commit()
            self._commit()
        finally:
            self._abort()
            self._produce.close()
            self._source.close()

    def _connect(self) -> None:
        """Make the producer, and end what an earlier run under our name has left open."""
        name = f"botsieve-rekey-{self._conf.group_id}-{instance_id(self._conf.instance_id)}"
        own = {
            "transactional.id": name,
            "partitioner": "murmur2_random",  # an address goes where a Java producer puts it
            "compression.type": "lz4",
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
        self._producer = Producer(client_properties(self._conf) | own, logger=log)
        try:
            self._producer.init_transactions(self._conf.startup_timeout_s)
            known = self._producer.list_topics(self._topic, ANSWER_S).topics[self._topic]
        except KafkaException as exception:
            raise self._told(exception) from None
        if known.error is not None:
            problem = f"rekey.topic: '{self._topic}': {known.error.str()}; make it first"
            raise UnavailableError(problem)
        self._produce = open_produce(self._producer, self._topic, drain=self._conf.drain)

    def _step(self, item: Assigned | Batch | None) -> bool:
        """Take what the source hands over; return True at its end."""
        match item:
            case Assigned():
                self._abort()
                self._merge, self._epoch = Merge(item.n_partitions), item.epoch
                self._blocks, self._committed = {}, {}
            case Batch() if item.epoch == self._epoch:
                self._copy(item)
                return item.ended
        return False

    def _copy(self, batch: Batch) -> None:
        if len(batch.records.offset):
            if self._metrics.first_fetch_s is None:
                self._metrics.first_fetch_s = time.monotonic()
            self._take(batch.records)
        self._position = batch.position
        self._send(self._merge.take(~(batch.idle | batch.finished)))
        self._source.let_run(np.flatnonzero(self._merge.n_held() < MAX_HELD).tolist())

    def _take(self, records: Records) -> None:
        """Merge the records of a batch, whose values stay in its buffer."""
        decoded, metrics = decode(records, self._options), self._metrics
        metrics.records += len(records.offset)
        metrics.events += len(decoded.events)
        metrics.rejected.update(decoded.rejects["reason"].to_list())
        self._n_blocks += 1
        self._blocks[self._n_blocks] = records.buffer
        rows = rows_of(records, decoded.events, block=self._n_blocks)
        self._merge.add(rows, rows["time"].to_numpy())

    def _send(self, rows: pl.DataFrame) -> None:
        """Produce rows, and let the buffers go that nothing is held back from."""
        if len(rows):
            self._begin()
            self._produce.send(rows, self._blocks)
            reach("produced")
        held = self._merge.blocks()
        self._blocks = {name: block for name, block in self._blocks.items() if name in held}

    def _begin(self) -> None:
        if not self._is_open:
            self._producer.begin_transaction()
            self._is_open = True

    def _commit(self) -> None:
        """Commit what was produced and the offsets up to which it was read, or neither."""
        self._due_s = time.monotonic() + self._interval_s
        if self._epoch == NOBODY:
            return
        offsets = self._merge.restart_offsets(self._position)
        if offsets == self._committed:
            return
        if not self._source.is_current(self._epoch):
            self._read_again()
            return
        self._begin()
        try:
            self._end(offsets)
        except KafkaException as exception:
            if not exception.args[0].txn_requires_abort():
                raise self._told(exception) from None
            log.warning("rekey.topic: %s; reading again", exception.args[0].str())
            self._read_again()
            return
        self._is_open, self._committed = False, offsets
        self._metrics.last_ack_s = time.monotonic()

    def _end(self, offsets: dict[int, int]) -> None:
        source = self._conf.topic
        wanted = [TopicPartition(source, p, at, self._metadata) for p, at in offsets.items()]
        producer = self._producer
        producer.send_offsets_to_transaction(wanted, self._source.group_metadata(), ANSWER_S)
        reach("rekeyed")
        producer.commit_transaction(ANSWER_S)

    def _read_again(self) -> None:
        """Take everything back that is not committed."""
        self._abort()
        self._source.restart(self._epoch)
        self._epoch = NOBODY

    def _abort(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._producer.abort_transaction(ANSWER_S)
        except KafkaException as exception:
            raise self._told(exception) from None

    def _told(self, exception: KafkaException) -> BotsieveError:
        """Return what a failure of the producer means for the user."""
        error = exception.args[0]
        if error.fatal():
            problem = "source.instance_id: another rekey runs under our name, or the broker took"
            return FencedError(f"{problem} it for dead ({error.str()}); start it again")
        return meaning(error) or UnavailableError(f"rekey.topic: {error.str()}; start it again")


def rows_of(records: Records, events: pl.DataFrame, *, block: int) -> pl.DataFrame:
    """Return records as rows to merge, with their time; those that are no events have none."""
    columns = {
        "partition": records.partition,
        "offset": records.offset,
        "timestamp_ms": records.timestamp_ms,
        "start": records.starts,
        "end": records.ends,
    }
    said = events.select("partition", "offset", "time", "high", "low", is_event=pl.lit(value=True))
    rows = pl.DataFrame(columns)
    if len(events) == len(rows):
        rows = rows.hstack(said.drop("partition", "offset"))
    else:
        places = ["partition", "offset"]
        rows = rows.join(said, on=places, how="left", maintain_order="left")
    return rows.with_columns(
        pl.col("time", "high", "low").fill_null(0),
        pl.col("is_event").fill_null(value=False),
        block=pl.lit(block, pl.Int64),
        pmax_s=pl.lit(0, pl.Int64),
    )
