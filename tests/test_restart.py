"""A crash or a new assignment at any moment: together, all runs wrote what the model says.

A crash is a prefix of what the sink has acknowledged; the next run begins with some commit that
came before it, as text, and reads the log on from there, in other polls and another interleaving.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.checkpoint import parse_checkpoint
from engine.errors import ConfigError
from engine.metrics import Metrics
from engine.sinks import Write
from engine.state import State
from tests import logs, naive
from tests.doubles import (
    SEED,
    Commit,
    Committed,
    Rebalance,
    RowsSource,
    Run,
    model_verdicts,
    options_of,
    rule_set,
    window_spec,
)
from tests.naive import ModelConfig, ModelRule, Row

MAX_METADATA_BYTES = 200


def rows_from(rows: Sequence[Row], committed: Committed) -> list[Row]:
    """Return the rows that the committed offsets leave to be read."""
    start = {partition: offset for partition, (offset, _) in committed.items()}
    return [row for row in rows if row.offset >= start.get(row.partition, 0)]


def as_read_back(committed: Committed) -> Committed:
    """Return what the broker gives back for a commit: its metadata is text."""
    found = {}
    for partition, (offset, checkpoint) in committed.items():
        metadata = checkpoint.metadata()
        assert len(metadata) < MAX_METADATA_BYTES
        read_back = parse_checkpoint(metadata)
        assert read_back == checkpoint
        found[partition] = (offset, read_back)
    return found


def check_writes(run: Run, written: list[Write], judgement: naive.Judgement) -> None:
    """Check that every write is a value of the model, and that all together are its answer."""
    sink, rules = run.sink, run.rules
    verdicts, decided = {}, {}
    for write in written:
        found = dict(model_verdicts(write.verdicts, rules))
        if not write.verdicts.final:
            values = sink.values(write.verdicts.flagged(rules.enforce_mask))
            assert all(naive.allowed_early(value, judgement, ip=ip) for ip, value in values)
            continue
        assert found.items() <= judgement.verdicts.items()
        (decided if write.decides else verdicts).update(found)
    assert naive.explain_difference(judgement.counted, verdicts) == ""
    reasons = {window: found.reasons for window, found in decided.items() if found.reasons}
    assert naive.explain_difference(judgement.flagged, reasons) == ""
    sink.written = written
    statistics = {ip: kept.value for ip, kept in sink.statistics().items()}
    assert naive.explain_difference(judgement.statistics, statistics) == ""
    assert naive.explain_difference(judgement.decisions, sink.decisions()) == ""
    assert naive.explain_difference(judgement.shadows, sink.decisions(shadow=True)) == ""


@settings(max_examples=150)
@given(st.data())
def test_crashes_lose_nothing_and_change_nothing(data):
    config = data.draw(logs.configs())
    in_time = logs.logs_in_time(config.delay_s)
    rows = data.draw(st.one_of(logs.logs(), in_time))
    n_partitions = logs.n_partitions(rows)
    random = data.draw(st.randoms(use_true_random=False))
    committed: Committed = {}
    written: list[Write] = []
    for _ in range(data.draw(st.integers(1, 3), label="crashes")):
        ahead = logs.interleaved(rows_from(rows, committed), random)
        polls = data.draw(logs.splits(ahead))
        run = Run(polls, config, n_partitions=n_partitions, committed=committed, ends=False)
        before = Commit(committed, 0)
        commit = data.draw(st.sampled_from([before, *run.commits]), label="commit")
        n_written = data.draw(st.integers(commit.n_written, len(run.sink.written)), label="crash")
        written += run.sink.written[:n_written]
        committed = as_read_back(commit.committed)
    ahead = logs.interleaved(rows_from(rows, committed), random)
    polls = data.draw(logs.splits(ahead))
    run = Run(polls, config, n_partitions=n_partitions, committed=committed)
    check_writes(run, written + run.sink.written, naive.judge(rows, config))


@settings(max_examples=40)
@given(st.data(), st.booleans())
def test_new_assignments_lose_nothing_and_change_nothing(data, threads):
    config = data.draw(logs.configs())
    rows = data.draw(st.one_of(logs.logs(), logs.logs_in_time(config.delay_s)))
    sizes = data.draw(st.lists(st.integers(0, 10), max_size=4), label="polls before each")
    commits: list[Commit] = []

    def polls() -> Iterator[list[Row] | Rebalance]:
        committed: Committed = {}
        for size in sizes:
            ahead = rows_from(rows, committed)
            yield from (ahead[i : i + 7] for i in range(0, 7 * size, 7))
            committed = commits[-1].committed if commits else {}
            yield Rebalance(as_read_back(committed))
        yield rows_from(rows, committed)

    run = Run(
        polls(), config, n_partitions=logs.n_partitions(rows), threads=threads, commits=commits
    )
    check_writes(run, run.sink.written, naive.judge(rows, config))


@settings(max_examples=40)
@given(st.data())
def test_restart_at_the_end_of_the_log_writes_nothing_again(data):
    config = data.draw(logs.configs())
    rows = data.draw(logs.logs())
    n_partitions = logs.n_partitions(rows)
    first = Run([rows], config, n_partitions=n_partitions)
    committed = first.commits[-1].committed
    assert rows_from(rows, committed) == []
    second = Run([], config, n_partitions=n_partitions, committed=as_read_back(committed))
    assert second.sink.written == []


def burst(time_s: int, n: int, *, offset: int = 0, ip: str = "192.0.2.1") -> list[Row]:
    """Return n clicks of one address in one second of partition 0."""
    value = logs.value_of(time_s, 7, ip, "click")
    return [Row(0, offset + i, value, logs.TIMESTAMP_MS) for i in range(n)]


def test_events_of_acknowledged_windows_are_replayed_silently():
    config = ModelConfig(rules=(ModelRule("many", "events > 3"),))
    rows = [*burst(1_015, 1), *burst(1_005, 4, offset=1), *burst(1_020, 1, offset=5)]
    first = Run([rows], config, n_partitions=1, ends=False)
    committed = first.commits[-1].committed
    assert committed[0][0] == 0, "[1010, 1020) is open, and begins with the first record"
    assert list(first.verdicts()) == [(1_000, 1_010, "192.0.2.1")]
    second = Run([rows], config, n_partitions=1, committed=as_read_back(committed))
    assert second.metrics.replayed == 4
    assert list(second.verdicts()) == [(1_010, 1_020, "192.0.2.1"), (1_020, 1_030, "192.0.2.1")]


def test_commits_never_pass_the_first_record_of_an_open_window():
    config = ModelConfig(length_s=10, delay_s=10)
    polls = [burst(1_000, 3), burst(1_010, 3, offset=3), burst(1_020, 3, offset=6)]
    run = Run(polls, config, n_partitions=1, ends=False)
    assert [commit.committed[0][0] for commit in run.commits[:3]] == [0, 0, 3]


def test_f4_changed_rules_judge_the_windows_that_are_open():
    rows = burst(1_000, 3)
    before = ModelConfig(rules=(ModelRule("many", "events > 3"),))
    after = ModelConfig(rules=(ModelRule("some", "events > 2"),))
    first = Run([rows], before, n_partitions=1, ends=False)
    committed = as_read_back(first.commits[-1].committed)
    second = Run([rows], after, n_partitions=1, committed=committed)
    assert second.sink.decisions() == naive.judge(rows, after).decisions
    assert second.sink.decisions() != {}


def test_changed_window_is_refused_until_it_is_accepted():
    first = Run([burst(1_000, 3)], ModelConfig(), n_partitions=1, ends=False)
    committed = as_read_back(first.commits[-1].committed)
    longer = ModelConfig(length_s=20)
    with pytest.raises(ConfigError, match=r"10/10.*20/20.*accept_state_change"):
        Run([], longer, n_partitions=1, committed=committed)


@pytest.mark.parametrize("own", [False, True])
def test_windows_that_are_accepted_and_miss_records_are_judged_as_far_as_these_cannot_matter(own):
    """What was committed is past three clicks of the minute from 960 on, so it may not be quiet."""
    rows = [*burst(1_000, 3), *burst(1_015, 1, offset=3), *burst(1_021, 1, offset=4)]
    quiet = ModelRule("quiet", "events < 4", window_s=60 if own else None)
    many = ModelRule("many", "events > 0", window_s=60 if own else None)
    first = Run([rows], ModelConfig(), n_partitions=1, ends=False)
    committed = as_read_back(first.commits[-1].committed)
    assert committed[0][0] == 3
    after = ModelConfig(length_s=10 if own else 60, rules=(quiet, many))
    second = Run([rows[3:]], after, n_partitions=1, committed=committed, accept_state_change=True)
    minutes = {window: names for window, names in second.flagged().items() if window[0] % 60 == 0}
    assert minutes == {
        (960, 1_020, "192.0.2.1"): ("many",),
        (1_020, 1_080, "192.0.2.1"): ("quiet", "many"),
    }


def test_g4_batch_of_an_earlier_assignment_counts_nothing():
    config, metrics = ModelConfig(), Metrics()
    source = RowsSource([burst(1_000, 3), Rebalance({})], n_partitions=1, ends=True)
    state = State(
        options_of(config), window_spec(config), rule_set(config), seed=SEED, metrics=metrics
    )
    first, batch, second = source.read(), source.read(), source.read()
    state.assign(first)
    state.assign(second)
    (outcome,) = state.step(batch)
    assert (outcome.epoch, outcome.verdicts, outcome.checkpoints) == (1, [], None)
    assert metrics.records == 0
    assert [outcome.verdicts for outcome in state.step(source.read())] == [[]]
