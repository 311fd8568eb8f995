"""Doubles for the edges of the engine: a source that hands over given rows in given polls.

Only the edge is doubled: decoding, windows, rules and the order of effects are the engine's own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from engine.batch.checkpoint import Checkpoint
from engine.batch.decode import Records, decode_options
from engine.batch.window import WindowSpec
from engine.config import RuleConf, SinkConf
from engine.detections import Detections
from engine.dead_letter import NoDeadLetter
from engine.metrics import Metrics
from engine.pipeline import Pipeline
from engine.rules import RuleSet, load_rules
from engine.sinks import MemorySink, timing
from engine.sources import Assigned, Batch
from engine.state import State
from engine.writer import Writer
from tests import naive
from tests.naive_config import ModelConfig

SEED = 7


def records_of(rows: Sequence[naive.Row]) -> Records:
    """Return rows as the records that a Kafka source would hand over."""
    sizes = np.array([-1 if row.value is None else len(row.value) for row in rows], np.int64)
    starts = np.concatenate([[0], np.cumsum(np.maximum(sizes, 0))]).astype(np.int64)[: len(rows)]
    joined = b"".join(row.value or b"" for row in rows)
    return Records(
        np.frombuffer(joined or b"\n", np.uint8),
        starts,
        starts + sizes,
        np.array([row.partition for row in rows], np.int32),
        np.array([row.offset for row in rows], np.int64),
        np.array([row.timestamp_ms for row in rows], np.int64),
    )


class RowsSource:
    """Hands over polls of rows, then ends; remembers what was committed."""

    def __init__(
        self,
        polls: Iterable[Sequence[naive.Row]],
        *,
        n_partitions: int,
        checkpoints: dict[int, Checkpoint] | None = None,
        ends: bool = True,
    ) -> None:
        """`ends` False stops short of the end, as a crash does."""
        self._polls, self._ends = iter(polls), ends
        self._n, self._checkpoints = n_partitions, checkpoints or {}
        self._position = np.full(n_partitions, -1, np.int64)
        self._assigned = False
        self.committed: dict[int, tuple[int, Checkpoint]] = {}
        self.stopping = threading.Event()

    def open(self) -> None:
        """Nothing to open."""

    def read(self) -> Assigned | Batch:
        """Return the assignment first, then one poll after the other."""
        if not self._assigned:
            self._assigned = True
            return Assigned(1, self._n, self._checkpoints)
        rows = next(self._polls, None)
        ended = rows is None
        if ended and not self._ends:
            self.stopping.set()
        records = records_of(rows or [])
        self._position[records.partition] = records.offset + 1
        done = np.full(self._n, ended and self._ends)
        return Batch(1, records, self._position.copy(), np.zeros(self._n, np.bool_), done, 0.0, ended)

    def hold(self) -> None:
        """Wait by itself."""

    def is_current(self, epoch: int) -> bool:
        """There is one epoch."""
        return epoch == 1

    def restart(self) -> None:
        """Never needed."""

    def commit(self, epoch: int, checkpoints: dict[int, tuple[int, Checkpoint]]) -> None:
        """Remember the checkpoints."""
        self.committed = dict(checkpoints)

    def close(self) -> None:
        """Nothing to close."""


class Run:
    """The engine over polls of rows, into memory."""

    def __init__(
        self,
        polls: Iterable[Sequence[naive.Row]],
        config: ModelConfig,
        *,
        n_partitions: int,
        checkpoints: dict[int, Checkpoint] | None = None,
        ends: bool = True,
        threads: bool = False,
        seed: int = SEED,
    ) -> None:
        """Run it at once."""
        confs = [
            RuleConf(rule.name, "A rule.", rule.when, rule.ttl_s, rule.mode) for rule in config.rules
        ]
        self.rules = (
            load_rules(confs, default_ttl_s=600, max_categories=config.max_categories)
            if confs
            else RuleSet(())
        )
        self.metrics = Metrics()
        spec = WindowSpec(
            config.length_s,
            config.slide_s or config.length_s,
            config.delay_s,
            10.0,
            10_000_000,
            config.max_categories,
        )
        options = decode_options(
            names=config.fields,
            reject_unknown=config.unknown_type == "reject",
            max_future_s=config.max_future_s,
        )
        times = timing(SinkConf(), self.rules, event_clock=True)
        self.sink = MemorySink(SinkConf(), self.rules, times, seed=np.uint64(seed))
        self.source = RowsSource(
            polls, n_partitions=n_partitions, checkpoints=checkpoints, ends=ends
        )
        writer = Writer(
            self.sink,
            statistics="all",
            enforce_mask=self.rules.enforce_mask,
            clock=lambda: 0.0,
            dead_letter=NoDeadLetter(),
            observe=Detections(
                self.rules, self.metrics, seed=seed, event_clock=True, keep_seen=True
            ),
            metrics=self.metrics,
        )
        pipeline = Pipeline(
            self.source,
            State(options, spec, self.rules, seed=seed, metrics=self.metrics),
            writer,
            stopping=self.source.stopping,
            interval_s=0.0,
            metrics=self.metrics,
        )
        (pipeline.run_in_threads if threads else pipeline.run_in_turn)()
