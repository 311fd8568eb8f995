"""Rows T1, T5 and T8: event times out of order, on an edge, and none at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import logs, naive
from tests.doubles import Run
from tests.naive import ModelConfig, Row

CONFIG = ModelConfig(rules=logs.MONOTONE + logs.AT_THE_CLOSE)
SLIDING = ModelConfig(length_s=20, slide_s=5, delay_s=3, rules=logs.MONOTONE)
IP, RECORD_MS = "192.0.2.1", 2_000_000_000_000
LAST_S = 100_000_000_000


def run_of(rows: list[Row], config: ModelConfig) -> Run:
    """Return the engine over the rows of one partition, and check it against the model."""
    run = Run([rows[:3], rows[3:]], config, n_partitions=1)
    expected = naive.judge(rows, config)
    assert naive.explain_difference(expected.verdicts, run.verdicts()) == ""
    assert run.metrics.rejected == expected.rejected
    return run


def at(*times_s: int, timestamp_ms: int = RECORD_MS) -> list[Row]:
    """Return an event of one address at each of these times, in this order."""
    values = [logs.value_of(time_s, 7, IP, "view") for time_s in times_s]
    return [Row(0, offset, value, timestamp_ms) for offset, value in enumerate(values)]


def in_order(rows: list[Row]) -> list[Row]:
    """Return the events of a log by ascending time."""
    values = sorted((row.value for row in rows), key=lambda value: json.loads(value)["unix_time"])
    return [Row(0, offset, value, logs.TIMESTAMP_MS) for offset, value in enumerate(values)]


@settings(max_examples=30)
@given(
    st.sampled_from([CONFIG, SLIDING]).flatmap(
        lambda config: st.tuples(
            st.just(config), logs.logs_in_time(config.delay_s, max_partitions=1)
        )
    )
)
def test_t1_events_out_of_order_within_the_delay_give_what_the_sorted_ones_give(drawn):
    config, rows = drawn
    shuffled, ordered = (run_of(log, config) for log in (rows, in_order(rows)))
    assert shuffled.verdicts() == ordered.verdicts()
    assert shuffled.metrics.late == ordered.metrics.late == {}


@pytest.mark.parametrize("delay_s", [0, 1, 10, 3_600])
@pytest.mark.parametrize("past_s", [-1, 0, 1])
def test_t5_event_is_late_from_the_second_in_which_its_window_closes(past_s, delay_s):
    last_s, newest_s = 1_009, 1_010 + delay_s + past_s
    run = run_of(at(newest_s, last_s, newest_s), ModelConfig(delay_s=delay_s))
    late_by_s = newest_s - delay_s - last_s
    assert run.metrics.late == ({0: (1, late_by_s, late_by_s)} if past_s >= 0 else {})
    assert run.metrics.events == 3


@pytest.mark.parametrize("length_s", [1, 7, 10, 86_400])
@pytest.mark.parametrize("n", [1, 2, 1_000_000])
def test_t5_event_on_the_border_of_two_windows_is_in_the_second(n, length_s):
    border_s = n * length_s
    config = ModelConfig(length_s=length_s)
    run = run_of(at(border_s - 1, border_s, timestamp_ms=LAST_S * 1_000), config)
    first, second = (border_s - length_s, border_s, IP), (border_s, border_s + length_s, IP)
    expected = {first: 1, second: 1} if border_s > 1 else {second: 1}
    assert {window: verdict.events for window, verdict in run.verdicts().items()} == expected


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("0", "bad_time"),
        ("-1", "bad_time"),
        ("-9223372036854775808", "bad_time"),
        ("-9223372036854775809", "bad_time"),
        ("9223372036854775808", "bad_time"),
        ("18446744073709551617", "bad_time"),
        ("9223372036854775807", "time_unit"),
        ("1700000000000", "time_unit"),
        ("1700000000000000", "time_unit"),
        ("1700000000000000000", "time_unit"),
        ("100000000001", "time_unit"),
        ('"1700000000"', "bad_time"),
        ("1.7e9", "bad_time"),
        ("1700000000.0", "bad_time"),
        ("true", "bad_time"),
        ("[1700000000]", "bad_time"),
        ("null", "missing_time"),
    ],
)
def test_t8_time_that_is_none_is_refused_for_its_own_reason_and_moves_nothing(time, reason):
    bad = logs.value_of(1, 7, IP, "view").replace(b": 1,", b": %s," % time.encode())
    first, last = at(1_000, 1_001)
    rows = [first, Row(0, 1, bad, RECORD_MS), last._replace(offset=2)]
    run = run_of(rows, ModelConfig(delay_s=0))
    assert run.metrics.rejected == {reason: 1}
    assert run.metrics.late == {}
    assert run.verdicts()[1_000, 1_010, IP].events == 2


@pytest.mark.parametrize("delay_s", [0, 10, 1_000_000_000])
@pytest.mark.parametrize(("length_s", "slide_s"), [(1, None), (86_400, None), (86_400, 43_200)])
def test_t8_first_and_last_time_of_all_overflow_no_window(length_s, slide_s, delay_s):
    config = ModelConfig(length_s=length_s, slide_s=slide_s, delay_s=delay_s)
    run = run_of(at(1, LAST_S, 1, LAST_S, timestamp_ms=LAST_S * 1_000), config)
    assert run.metrics.late[0][:2] == (1, LAST_S - delay_s - 1)
