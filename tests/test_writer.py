"""The writer's groups: what is written of several outcomes, in which order, and what is acked when.

The sink is in memory and takes as long as the test wants: each write is a step that the test sees.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import writer as writer_module
from engine.batch.checkpoint import Checkpoint
from engine.batch.verdict import VERDICT_SCHEMA, Verdicts, newest_rows
from engine.dead_letter import NoDeadLetter
from engine.metrics import Metrics
from engine.sink_config import SinkConf
from engine.sinks import KeyValue, MemorySink, Written, timing
from engine.state import Outcome
from engine.writer import Writer
from tests.doubles import rule_set
from tests.naive import ModelConfig, ModelRule

LENGTH_S = 10
RULES = rule_set(
    ModelConfig(
        rules=(ModelRule("many", "events > 3"), ModelRule("watched", "events > 1", mode="shadow"))
    )
)
MANY, WATCHED = 1, 2

Rows = dict[int, int]
"""Events of each address in one window."""


def mask_of(n_events: int) -> int:
    """Return the rules that fire."""
    return MANY * (n_events > 3) | WATCHED * (n_events > 1)


def window(number: int, rows: Rows, *, final: bool = True, partial: bool = False) -> Verdicts:
    """Return the verdicts of one window."""
    masks = [mask_of(n_events) for n_events in rows.values()]
    columns = {name: [0] * len(rows) for name in VERDICT_SCHEMA} | {
        "low": list(rows),
        "events": list(rows.values()),
        "mask": masks,
        "new_mask": masks,
    }
    frame = pl.DataFrame(columns, schema=VERDICT_SCHEMA)
    return Verdicts(number * LENGTH_S, (number + 1) * LENGTH_S, final, partial, frame)


def outcome(
    *windows: Verdicts, epoch: int = 1, offset: int | None = None, ended: bool = False
) -> Outcome:
    """Return an outcome; `offset` is what may be committed of partition 0."""
    checkpoint = Checkpoint(0, 0, 0, "log", "10/10", RULES.sha8)
    checkpoints = None if offset is None else {0: (offset, checkpoint)}
    return Outcome(epoch, list(windows), pl.DataFrame(), checkpoints, ended)


def rows_of(verdicts: Verdicts) -> Rows:
    """Return the events of each address."""
    return dict(verdicts.frame.select("low", "events").iter_rows())


class Bench:
    """A writer into memory, whose epochs may be over and whose writes may fail."""

    def __init__(self, *, statistics: str = "all", newest_only: bool = True) -> None:
        """Begin with nothing written."""
        times = timing(SinkConf(), RULES, event_clock=True)
        self.sink = MemorySink(SinkConf(), RULES, times, seed=np.uint64(1))
        self.over: set[int] = set()
        self.abandoned: list[int] = []
        self.observed: list[Verdicts] = []
        self.writer = Writer(
            self.sink,
            statistics=statistics,
            newest_only=newest_only,
            enforce_mask=RULES.enforce_mask,
            clock=lambda: 0.0,
            dead_letter=NoDeadLetter(),
            observe=self._observe,
            metrics=Metrics(),
        )
        self.writer.may_write = lambda epoch: epoch not in self.over
        self.writer.on_abandoned = self.abandoned.append

    def _observe(self, verdicts: Verdicts, *, now_s: float, n_expired: int) -> None:
        self.observed.append(verdicts)

    def take(self, *outcomes: Outcome) -> None:
        """Take outcomes, as they come while nothing else is written."""
        for one in outcomes:
            self.writer.take(one)

    def finish(self) -> None:
        """Write all that waits."""
        while self.writer.write_some():
            pass

    @property
    def statistics(self) -> list[tuple[int, Rows]]:
        """Window starts and rows, in the order in which they were written."""
        return [
            (one.verdicts.start_s, rows_of(one.verdicts))
            for one in self.sink.written
            if not one.decides
        ]

    @property
    def offset(self) -> int | None:
        """What is acked of partition 0."""
        return None if self.writer.acked is None else self.writer.acked[1][0][0]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two rows be a chunk, so that a few rows are several steps."""
    monkeypatch.setattr(writer_module, "CHUNK_ROWS", 2)


# -- the newest row of each address ----------------------------------------------------------------

words = st.sampled_from([0, 1, 2, 2**63, 2**64 - 1])
frames = st.dictionaries(st.tuples(words, words), st.integers(1, 9), max_size=8)


@given(st.lists(frames, max_size=6))
def test_newest_rows_are_those_of_a_dictionary(tables):
    windows = [window(i, {}) for i in range(len(tables))]
    for i, table in enumerate(tables):
        columns = {name: [7] * len(table) for name in VERDICT_SCHEMA} | {
            "high": [high for high, _ in table],
            "low": [low for _, low in table],
            "events": list(table.values()),
        }
        windows[i] = windows[i]._replace(frame=pl.DataFrame(columns, schema=VERDICT_SCHEMA))
    expected = {key: (i, table[key]) for i, table in enumerate(tables) for key in table}
    found = newest_rows(windows)
    got = {
        (high, low): (i, n)
        for i, one in enumerate(found)
        for high, low, n in one.frame.select("high", "low", "events").iter_rows()
    }
    assert got == expected
    assert sum(len(one.frame) for one in found) == len(expected)
    assert all(one.frame.schema == VERDICT_SCHEMA for one in found)
    found, windows = ([one._replace(frame=None) for one in ones] for ones in (found, windows))
    assert found == windows


def test_newest_rows_keep_the_order_of_their_windows():
    first, second = newest_rows([window(0, {5: 1, 3: 1, 9: 1, 1: 1}), window(1, {3: 2, 7: 2})])
    assert list(rows_of(first)) == [5, 9, 1]
    assert list(rows_of(second)) == [3, 7]


# -- keys are the same whether older rows are written or not ---------------------------------------

tables = st.dictionaries(st.integers(0, 5), st.integers(1, 6), max_size=5)
batches = st.lists(st.lists(tables, max_size=3), max_size=5)


def outcomes_of(batches: Sequence[Sequence[Rows]]) -> Iterator[Outcome]:
    """Yield an outcome for each batch of windows, numbered as they come."""
    numbers = itertools.count()
    for offset, batch in enumerate(batches):
        yield outcome(*[window(next(numbers), rows) for rows in batch], offset=offset)


def keys_after(
    batches: Sequence[Sequence[Rows]], statistics: str, *, newest_only: bool, n_between: int
) -> tuple[dict[str, KeyValue], dict[str, KeyValue], int | None]:
    """Return statistics, decisions and the acked offset; so many steps lie between two outcomes."""
    bench = Bench(statistics=statistics, newest_only=newest_only)
    for one in outcomes_of(batches):
        bench.take(one)
        for _ in range(n_between):
            bench.writer.write_some()
    bench.finish()
    return bench.sink.statistics(), bench.sink.decisions(), bench.offset


@settings(max_examples=60)
@given(batches, st.sampled_from(["all", "flagged", "none"]), st.integers(0, 3))
def test_keys_are_those_of_writing_every_row(batches, statistics, n_between):
    every = keys_after(batches, statistics, newest_only=False, n_between=9)
    assert keys_after(batches, statistics, newest_only=True, n_between=n_between) == every
    assert every[2] == (len(batches) - 1 if batches else None)


def test_of_what_waits_only_the_newest_rows_are_written():
    bench = Bench()
    bench.take(
        outcome(window(0, {1: 1, 2: 1}), window(1, {1: 2})), outcome(window(2, {1: 3, 3: 1}))
    )
    bench.finish()
    assert bench.statistics == [(0, {2: 1}), (20, {1: 3, 3: 1})]


def test_where_rows_do_not_replace_one_another_all_are_written():
    bench = Bench(newest_only=False)
    bench.take(
        outcome(window(0, {1: 1, 2: 1}), window(1, {1: 2})), outcome(window(2, {1: 3, 3: 1}))
    )
    bench.finish()
    assert bench.statistics == [(0, {1: 1, 2: 1}), (10, {1: 2}), (20, {1: 3, 3: 1})]


def test_flagged_statistics_are_of_the_newest_window_that_flags():
    bench = Bench(statistics="flagged")
    bench.take(outcome(window(0, {1: 4, 2: 9})), outcome(window(1, {1: 5})))
    bench.take(outcome(window(2, {1: 2, 2: 1, 3: 3})))
    bench.finish()
    assert bench.statistics == [(0, {2: 9}), (10, {1: 5})]
    masks = [one.verdicts.frame["mask"].to_list() for one in bench.sink.written if not one.decides]
    assert masks == [[MANY], [MANY]]


@pytest.mark.parametrize("newest_only", [True, False])
@pytest.mark.parametrize("statistics", ["all", "flagged"])
def test_partial_and_open_windows_have_no_statistics(newest_only, statistics):
    bench = Bench(statistics=statistics, newest_only=newest_only)
    early, partial = window(0, {1: 4}, final=False), window(1, {1: 5}, partial=True)
    bench.take(outcome(window(0, {1: 4})), outcome(early, partial, offset=7))
    bench.finish()
    assert bench.statistics == [(0, {1: 4})]
    assert [one.verdicts.start_s for one in bench.sink.written if one.decides] == [0, 0, 10]
    assert bench.offset == 7


# -- when a checkpoint is acked --------------------------------------------------------------------


def test_checkpoint_is_acked_after_the_last_row_of_its_group():
    bench, n_rows = Bench(), 0
    bench.take(outcome(window(0, {1: 1, 2: 1, 3: 1}), offset=5))
    bench.take(outcome(window(1, {4: 1, 5: 1, 6: 1, 7: 1}), offset=6))
    steps = []
    while bench.writer.write_some():
        n_rows = sum(len(rows) for _, rows in bench.statistics)
        steps.append((n_rows, bench.offset, bench.writer.n_pending))
    assert steps == [(2, None, 2), (3, None, 2), (5, None, 2), (7, None, 2), (7, 6, 0)]


def test_outcome_that_comes_later_is_no_part_of_the_group():
    bench = Bench()
    bench.take(outcome(window(0, {1: 1, 2: 1, 3: 1}), offset=5))
    assert bench.writer.write_some()
    bench.take(outcome(window(1, {3: 2}), offset=6))
    assert (bench.writer.n_pending, bench.writer.n_waiting) == (2, 1)
    while bench.offset is None:
        assert bench.writer.write_some()
    assert (bench.offset, bench.statistics) == (5, [(0, {1: 1, 2: 1}), (0, {3: 1})])
    bench.finish()
    assert (bench.offset, bench.statistics[2:]) == (6, [(10, {3: 2})])


def test_outcome_without_a_checkpoint_leaves_that_of_an_earlier_one():
    bench = Bench()
    bench.take(outcome(window(0, {1: 1}), offset=5), outcome(window(1, {1: 2}), ended=True))
    assert not bench.writer.ended
    bench.finish()
    assert (bench.offset, bench.writer.ended) == (5, True)


def test_nothing_to_write_is_acked_as_well():
    bench = Bench()
    assert not bench.writer.write_some()
    bench.take(outcome(offset=5), outcome(window(0, {}), offset=6))
    bench.finish()
    assert (bench.offset, bench.statistics, bench.writer.n_pending) == (6, [], 0)


def test_decisions_overtake_the_rest_of_a_group():
    bench = Bench()
    bench.take(outcome(window(0, {1: 1, 2: 1, 3: 1}), offset=5))
    assert bench.writer.write_some()
    bench.take(outcome(window(1, {4: 9}), offset=6))
    bench.finish()
    order = [(one.decides, one.verdicts.start_s) for one in bench.sink.written]
    assert order == [(True, 0), (False, 0), (True, 10), (False, 0), (False, 10)]
    assert [verdicts.start_s for verdicts in bench.observed] == [0, 10]


# -- epochs ----------------------------------------------------------------------------------------


def test_two_epochs_never_share_a_group():
    bench = Bench()
    bench.take(outcome(window(0, {1: 1, 2: 1}), offset=5), outcome(window(1, {1: 2}), offset=6))
    bench.take(outcome(window(0, {1: 1, 2: 1}), epoch=2, offset=5))
    while bench.offset is None:
        assert bench.writer.write_some()
    assert bench.writer.acked is not None
    assert (bench.writer.acked[0], bench.offset, bench.writer.n_waiting) == (1, 6, 1)
    assert bench.statistics == [(0, {2: 1}), (10, {1: 2})]
    bench.finish()
    assert (bench.writer.acked[0], bench.offset) == (2, 5)
    assert bench.statistics[2:] == [(0, {1: 1, 2: 1})]


def test_group_that_is_abandoned_in_the_middle_acks_nothing_and_says_so_once():
    bench = Bench()
    bench.take(outcome(window(0, {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}), offset=5))
    bench.take(outcome(window(1, {6: 1, 7: 1, 8: 1}), offset=6, ended=True))
    assert bench.writer.write_some()
    bench.over.add(1)
    bench.finish()
    bench.take(outcome(window(2, {9: 9}), offset=7))
    bench.finish()
    assert (bench.offset, bench.writer.ended, bench.abandoned) == (None, False, [1])
    assert bench.statistics == [(0, {1: 1, 2: 1})]
    assert [one.verdicts.start_s for one in bench.sink.written if one.decides] == [0, 10]


def test_epoch_after_an_abandoned_one_is_written_and_acked():
    bench = Bench()
    bench.take(outcome(window(0, {1: 1, 2: 1, 3: 1}), offset=5))
    assert bench.writer.write_some()
    bench.over.add(1)
    bench.take(outcome(window(0, {1: 1, 2: 1, 3: 1}), epoch=2, offset=5, ended=True))
    bench.finish()
    assert bench.writer.acked is not None
    assert (bench.writer.acked[0], bench.offset, bench.writer.ended) == (2, 5, True)
    assert bench.abandoned == [1]
    assert bench.statistics == [(0, {1: 1, 2: 1}), (0, {1: 1, 2: 1}), (0, {3: 1})]


def test_decision_that_is_refused_abandons_its_epoch_as_well():
    bench = Bench()
    bench.over.add(1)
    bench.take(outcome(window(0, {1: 9}), window(1, {1: 9}), offset=5))
    bench.finish()
    assert (bench.offset, bench.abandoned) == (None, [1])
    assert bench.sink.written == bench.observed == []


def test_epoch_before_an_abandoned_one_is_over_and_hides_nothing_of_it():
    bench = Bench()
    bench.take(outcome(window(0, {1: 1, 2: 1, 3: 1}), offset=5))
    assert bench.writer.write_some()
    bench.over |= {1, 2}
    bench.take(outcome(window(0, {1: 9}, final=False), epoch=2, offset=4))
    bench.finish()
    bench.over.remove(2)  # as when its source was silent only for a while
    bench.take(outcome(window(0, {1: 9, 2: 1}), epoch=2, offset=6))
    bench.finish()
    assert (bench.offset, bench.abandoned) == (None, [2])
    assert bench.statistics == [(0, {1: 1, 2: 1})]


@pytest.mark.parametrize("refused", ["write_statistics", "write_decisions"])
def test_write_that_is_not_complete_abandons_its_epoch(refused, monkeypatch):
    bench = Bench()
    monkeypatch.setattr(bench.sink, refused, incomplete())
    bench.take(outcome(window(0, {1: 9, 2: 9, 3: 9}), offset=5))
    bench.finish()
    assert (bench.offset, bench.abandoned) == (None, [1])
    assert len(bench.observed) == (refused == "write_statistics")


def incomplete() -> Callable[..., Written]:
    """Return a write that is given up."""
    return lambda verdicts, *, now_s: Written(0, 0, complete=False)
