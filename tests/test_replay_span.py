"""A replay begins in the middle of any log, and yet its windows are those of the whole log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.checkpoint import Checkpoint
from engine.kernels.triage import NEVER
from engine.rule_windows import replay_span
from tests import logs, naive
from tests.doubles import Committed, Run, window_spec
from tests.naive import ModelConfig, Row


def begins(rows: Sequence[Row], from_s: int) -> dict[int, int]:
    """Return the first offset of each partition whose record is not older, else its end."""
    found = {row.partition: row.offset + 1 for row in rows}
    for row in reversed(rows):
        if row.timestamp_ms >= from_s * 1000:
            found[row.partition] = row.offset
    return found


def committed_for(rows: Sequence[Row], since_s: int, config: ModelConfig) -> Committed:
    """Return what a replay begins with instead of commits."""
    from_s, closed_s = replay_span(since_s, window_spec(config), max_future_s=config.max_future_s)
    start = Checkpoint(NEVER, closed_s, 0, "unkeyed", window_spec(config).windows, "rules")
    return {partition: (offset, start) for partition, offset in begins(rows, from_s).items()}


@st.composite
def logs_around(draw, since_s: int, config: ModelConfig):
    """Draw a log around the begin of a replay; an event may be ahead of its record, or too far."""
    first_s, partitions = since_s - config.length_s, st.integers(0, 2)
    times_s = st.integers(first_s - config.delay_s - 5, since_s + 15)
    lags_s = st.integers(-config.max_future_s - 1, config.length_s)
    entries = st.tuples(partitions, times_s, lags_s, st.sampled_from(logs.ADDRESSES[:2]))
    drawn = draw(logs.lists(entries, 20))
    rows = logs.rows_of([(p, logs.value_of(time_s, 1, ip, "click")) for p, time_s, _, ip in drawn])
    return [
        row._replace(timestamp_ms=(time_s + lag_s) * 1000)
        for row, (_, time_s, lag_s, _) in zip(rows, drawn, strict=True)
    ]


@settings(max_examples=300)
@given(st.data())
def test_r10_a_replay_judges_each_window_that_ended_since_then_as_the_whole_log_does(data):
    config = replace(data.draw(logs.configs()), max_future_s=data.draw(st.sampled_from([0, 5, 60])))
    since_s = data.draw(st.integers(logs.FIRST_S, logs.FIRST_S + 60), label="since")
    rows = data.draw(logs_around(since_s, config))
    committed = committed_for(rows, since_s, config)
    read = [row for row in rows if row.offset >= committed[row.partition][0]]
    run = Run(
        data.draw(logs.splits(read)),
        config,
        n_partitions=logs.n_partitions(rows),
        committed=committed,
    )
    judgement = naive.judge(rows, config)
    for whole, got in ((judgement.counted, run.verdicts()), (judgement.flagged, run.flagged())):
        expected = {window: found for window, found in whole.items() if window[1] >= since_s}
        assert naive.explain_difference(expected, got) == ""
    assert run.metrics.windows_partial == 0
