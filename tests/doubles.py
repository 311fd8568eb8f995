"""Doubles for the edges of the engine: a source that hands over given rows in given polls.

Only the edge is doubled: decoding, windows, rules and the order of effects are the engine's own.
`Run` is the engine over such polls into memory, and shows what it wrote in the model's words.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from engine.batch.checkpoint import Checkpoint
from engine.batch.decode import DecodeOptions, Records, decode_options
from engine.batch.verdict import Verdicts
from engine.batch.window import UNKEYED, WindowSpec
from engine.config import RuleConf
from engine.dead_letter import NoDeadLetter
from engine.detections import Detections, addresses
from engine.guards import Guards
from engine.metrics import Metrics
from engine.pipeline import Pipeline
from engine.record import Record
from engine.rules import RuleSet, load_rules
from engine.sink_config import SinkConf
from engine.sinks import MemorySink, timing
from engine.sources import Assigned, Batch
from engine.state import State
from engine.windows import Window
from engine.writer import Writer
from tests import naive
from tests.naive_config import ModelConfig

SEED = 7
IDLE_S = 10.0

Committed = dict[int, tuple[int, Checkpoint]]


class Poll(NamedTuple):
    """What one read hands over; `idle` are the partitions that are at their end and silent."""

    rows: Sequence[naive.Row]
    idle: frozenset[int] = frozenset()
    clock_s: float | None = None
    """The wall clock; where it is not given, the number of the poll."""


class Rebalance(NamedTuple):
    """A new assignment: the rows that follow begin at these offsets."""

    committed: Committed


Polls = Iterable[Sequence[naive.Row] | Poll | Rebalance]


class Commit(NamedTuple):
    """A commit, and how many writes the sink had acknowledged before it."""

    committed: Committed
    n_written: int


class Early(NamedTuple):
    """An early decision as it was written."""

    ip: str
    value: bytes
    crossed_ms: int
    new_reasons: tuple[str, ...]


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
        self, polls: Polls, *, n_partitions: int, committed: Committed | None = None, ends: bool
    ) -> None:
        """`ends` False stops short of the end, as a crash does."""
        self._polls, self._ends = iter(polls), ends
        self._n, self._start = n_partitions, committed or {}
        self._epoch = self._n_polls = 0
        self.lag: int | None = None
        self.waited_s = 0.0
        self.n_callback_errors = 0
        self.committed: Committed = {}
        self.stopping = threading.Event()

    def open(self) -> None:
        """Nothing to open."""

    def read(self) -> Assigned | Batch:
        """Return the assignment first, then one poll after the other."""
        if self._epoch == 0:
            return self._assign(self._start)
        item = next(self._polls, None)
        if isinstance(item, Rebalance):
            return self._assign(item.committed)
        if item is None and not self._ends:
            self.stopping.set()
        return self._batch(item if isinstance(item, Poll) else Poll(item or []), ended=item is None)

    def _assign(self, committed: Committed) -> Assigned:
        self._epoch += 1
        self._position = np.zeros(self._n, np.int64)
        for partition, (offset, _) in committed.items():
            self._position[partition] = offset
        checkpoints = {partition: checkpoint for partition, (_, checkpoint) in committed.items()}
        return Assigned(self._epoch, self._n, checkpoints)

    def _batch(self, poll: Poll, *, ended: bool) -> Batch:
        self._n_polls += 1
        records = records_of(poll.rows)
        self._position[records.partition] = records.offset + 1
        idle = np.isin(np.arange(self._n), list(poll.idle))
        finished = np.full(self._n, ended and self._ends)
        clock_s = self._n_polls if poll.clock_s is None else poll.clock_s
        position = self._position.copy()
        return Batch(self._epoch, records, position, idle, finished, float(clock_s), ended)

    def hold(self) -> None:
        """Wait by itself."""

    def is_current(self, epoch: int) -> bool:
        """Whether this is the epoch of the last assignment."""
        return epoch == self._epoch

    def restart(self, epoch: int) -> None:
        """Never needed."""

    def commit(self, epoch: int, checkpoints: Committed) -> None:
        """Remember the checkpoints, unless they are of an earlier assignment."""
        if epoch == self._epoch:
            self.committed = dict(checkpoints)

    def close(self) -> None:
        """Nothing to close."""


class NotingSource(RowsSource):
    """A source that notes with every commit what the sink held by then."""

    sink: MemorySink
    commits: list[Commit]

    def commit(self, epoch: int, checkpoints: Committed) -> None:
        """Remember the checkpoints, and that they came now."""
        super().commit(epoch, checkpoints)
        self.commits.append(Commit(self.committed, len(self.sink.written)))


class Run:
    """The engine over polls of rows, into memory; all of it has run when it is made."""

    def __init__(
        self,
        polls: Polls,
        config: ModelConfig,
        *,
        n_partitions: int,
        committed: Committed | None = None,
        ends: bool = True,
        threads: bool = False,
        seed: int = SEED,
        max_keys: int = 10_000_000,
        commits: list[Commit] | None = None,
        accept_state_change: bool = False,
        guards: Callable[[RuleSet, Metrics], Guards] | None = None,
        record: Record | None = None,
        mode: str = UNKEYED,
    ) -> None:
        """`commits` gets every commit appended as it happens, so that lazy polls can look at it."""
        self.config, self.rules = config, rule_set(config)
        self.metrics = Metrics()
        times = timing(
            SinkConf(statistics_ttl_s=config.statistics_ttl_s), self.rules, event_clock=True
        )
        self.sink = MemorySink(SinkConf(), self.rules, times, seed=np.uint64(seed))
        self.commits = [] if commits is None else commits
        source = NotingSource(polls, n_partitions=n_partitions, committed=committed, ends=ends)
        source.sink, source.commits = self.sink, self.commits
        self.detections = Detections(
            self.rules, self.metrics, seed=seed, event_clock=True, keep_seen=True
        )
        writer = Writer(
            self.sink,
            statistics="all",
            newest_only=False,
            enforce_mask=self.rules.enforce_mask,
            clock=lambda: 0.0,
            dead_letter=NoDeadLetter(),
            observe=self.detections,
            metrics=self.metrics,
        )
        if record is not None:
            writer.record = record
        if guards is not None:
            guard = guards(self.rules, self.metrics)
            writer.before_batch, writer.let_through = guard.before_batch, guard.let_through
        spec = window_spec(config, max_keys=max_keys)._replace(mode=mode)
        pipeline = Pipeline(
            source,
            State(
                options_of(config),
                spec,
                self.rules,
                seed=seed,
                metrics=self.metrics,
                accept_state_change=accept_state_change,
            ),
            writer,
            stopping=source.stopping,
            interval_s=0.0,
            metrics=self.metrics,
        )
        (pipeline.run_in_threads if threads else pipeline.run_in_turn)()

    def verdicts(self) -> dict[naive.Window, naive.Verdict]:
        """Return every verdict whose statistics were written; none may be written twice."""
        found: dict[naive.Window, naive.Verdict] = {}
        for write in self.sink.written:
            if write.decides:
                continue
            for window, verdict in model_verdicts(write.verdicts, self.rules):
                assert window not in found, f"{window} was written twice"
                found[window] = verdict
        return found

    def flagged(self) -> dict[naive.Window, tuple[str, ...]]:
        """Return the reasons of each closed window that flags, of every kind."""
        return {
            window: verdict.reasons
            for write in self.sink.written
            if write.decides and write.verdicts.final
            for window, verdict in model_verdicts(write.verdicts, self.rules)
            if verdict.reasons
        }

    def early(self) -> list[Early]:
        """Return every early decision of an enforced rule, in the order of the writes."""
        return [
            Early(ip, value, crossed_ms, self.rules.reasons(new_mask))
            for write in self.sink.written
            if write.decides and not write.verdicts.final
            for rows in [write.verdicts.flagged(self.rules.enforce_mask)]
            for (ip, value), crossed_ms, new_mask in zip(
                self.sink.values(rows),
                rows.frame["crossed_ms"],
                rows.frame["new_mask"],
                strict=True,
            )
        ]


def rule_set(config: ModelConfig) -> RuleSet:
    """Return the engine's rules for the model's."""
    base = Window(config.length_s, config.step_s)
    confs = [
        RuleConf(
            rule.name, "A rule.", rule.when, rule.ttl_s, rule.mode, rule.window_s, rule.slide_s
        )
        for rule in config.rules
    ]
    if not confs:
        return RuleSet((), base)
    return load_rules(confs, base=base, default_ttl_s=600, max_categories=config.max_categories)


def window_spec(config: ModelConfig, *, max_keys: int = 10_000_000) -> WindowSpec:
    """Return the engine's windows for the model's."""
    kinds = rule_set(config).windows
    return WindowSpec(kinds, config.delay_s, IDLE_S, max_keys, config.max_categories)


def options_of(config: ModelConfig) -> DecodeOptions:
    """Return the engine's decode options for the model's."""
    return decode_options(
        names=config.fields,
        reject_unknown=config.unknown_type == "reject",
        max_future_s=config.max_future_s,
    )


def model_verdicts(
    verdicts: Verdicts, rules: RuleSet
) -> Iterator[tuple[naive.Window, naive.Verdict]]:
    """Yield the rows of a VERDICT frame in the model's words."""
    frame = verdicts.frame
    names = addresses(frame["high"].to_numpy(), frame["low"].to_numpy())
    columns = ("events", "clicks", "categories", "saturated", "mask")
    for ip, row in zip(names, frame.select(columns).iter_rows(), strict=True):
        events, clicks, categories, saturated, mask = row
        yield (
            (verdicts.start_s, verdicts.end_s, ip),
            naive.Verdict(
                events,
                clicks,
                events - clicks,
                categories,
                bool(saturated),
                rules.reasons(mask & rules.enforce_mask),
                rules.reasons(mask & rules.shadow_mask),
            ),
        )
