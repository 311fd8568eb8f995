"""Keyed windows: each partition by itself, and any share-out of the partitions over engines.

The model is the one for any log: where an address is in one partition only, its answer is the
answer. Nothing may depend on who reads which partition, or on how far the others are.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.window import KEYED
from engine.errors import ConfigError
from engine.sinks import Write
from tests import logs, naive
from tests.doubles import Commit, Committed, Run
from tests.naive_config import ModelConfig
from tests.naive_events import Event, parse_event
from tests.test_engine_properties import explain
from tests.test_restart import as_read_back, check_writes, rows_from

N_PARTITIONS = 4


def keyed(rows: Sequence[naive.Row]) -> list[naive.Row]:
    """Return the log with each event in the partition of its address."""
    parsed = [parse_event(row.value, row.timestamp_ms, ModelConfig()) for row in rows]
    partitions = [
        zlib.crc32(event.ip.encode()) % N_PARTITIONS
        if isinstance(event, Event)
        else row.partition % N_PARTITIONS
        for event, row in zip(parsed, rows, strict=True)
    ]
    values = [row.value for row in rows]
    return logs.rows_of(list(zip(partitions, values, strict=True)))


@st.composite
def keyed_logs(draw):
    """Draw a config, and a log in any order or within the delay, keyed by address."""
    config = draw(logs.configs())
    rows = draw(st.one_of(logs.logs(), logs.logs_in_time(config.delay_s)))
    return config, keyed(rows)


@settings(max_examples=100)
@given(st.data(), keyed_logs(), st.randoms(use_true_random=False))
def test_keyed_windows_give_the_answer_of_the_model(data, drawn, random):
    config, rows = drawn
    ahead = logs.interleaved(rows, random)
    polls = data.draw(logs.splits(ahead))
    run = Run(polls, config, n_partitions=N_PARTITIONS, mode=KEYED)
    assert explain(run, naive.judge(rows, config)) == ""
    assert run.metrics.records == len(rows)


def test_commits_of_the_other_mode_are_refused_until_accepted():
    rows = [naive.Row(0, 0, logs.value_of(1_000, 7, "192.0.2.1", "click"), logs.TIMESTAMP_MS)]
    first = Run([rows], ModelConfig(), n_partitions=1, ends=False)
    committed = as_read_back(first.commits[-1].committed)
    with pytest.raises(ConfigError, match=r"^source.keyed: .*unkeyed.*accept_state_change=true"):
        Run([], ModelConfig(), n_partitions=1, committed=committed, mode=KEYED)
    again = {"committed": committed, "mode": KEYED, "accept_state_change": True}
    assert Run([], ModelConfig(), n_partitions=1, **again).metrics.records == 0


@settings(max_examples=100)
@given(st.data(), keyed_logs(), st.randoms(use_true_random=False))
def test_engines_that_take_partitions_from_each_other_write_what_one_would(data, drawn, random):
    config, rows = drawn
    committed: Committed = {}
    written: list[Write] = []
    for is_last in (False, False, True):
        owner = data.draw(
            st.lists(st.integers(0, 1), min_size=N_PARTITIONS, max_size=N_PARTITIONS), label="owner"
        )
        for engine in (0, 1):
            own = {p for p in range(N_PARTITIONS) if owner[p] == engine}
            run, kept = _one_engine(
                data, config, rows, random, own, committed, ends=is_last, written=written
            )
            committed |= kept
    check_writes(run, written, naive.judge(rows, config))


def _one_engine(data, config, rows, random, own, committed, *, ends, written):
    """Run an engine over its partitions; return where a crash leaves its commits.

    What it wrote up to the crash is added to `written`; one that reads to the end does not crash.
    """
    start = {p: one for p, one in committed.items() if p in own}
    left = rows_from([row for row in rows if row.partition in own], start)
    polls = data.draw(logs.splits(logs.interleaved(left, random)))
    run = Run(polls, config, n_partitions=N_PARTITIONS, committed=start, ends=ends, mode=KEYED)
    commit, n_written = run.commits[-1], len(run.sink.written)
    if not ends:
        commit = data.draw(st.sampled_from([Commit(start, 0), *run.commits]), label="commit")
        n_written = data.draw(st.integers(commit.n_written, n_written), label="crash")
    written += run.sink.written[:n_written]
    return run, {p: one for p, one in as_read_back(commit.committed).items() if p in own}
