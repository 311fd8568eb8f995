"""Several partitions merged into one order: whatever their reading, nothing becomes late by it."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.merge import ROWS, Merge
from tests import logs, naive
from tests.naive_config import ModelConfig
from tests.naive_events import Event, parse_event
from tests.test_keyed import N_PARTITIONS, keyed

CONFIG = ModelConfig()


def parsed(row: naive.Row) -> Event | None:
    """Return the event of a row, if it is one."""
    event = parse_event(row.value, row.timestamp_ms, CONFIG)
    return event if isinstance(event, Event) else None


def merged(polls: list[list[naive.Row]], rows: list[naive.Row]) -> list[naive.Row]:
    """Return the rows as the copy has them, before they are keyed."""
    n, n_left = logs.n_partitions(rows), defaultdict(int)
    for row in rows:
        n_left[row.partition] += 1
    merge, position, order = Merge(n), np.full(n, -1, np.int64), []
    for poll in polls:
        said = [parsed(row) for row in poll]
        zeros = np.zeros(len(poll), np.int64)
        columns = {
            "partition": [row.partition for row in poll],
            "offset": [row.offset for row in poll],
            "is_event": [event is not None for event in said],
        }
        frame = pl.DataFrame({name: columns.get(name, zeros) for name in ROWS}, schema=ROWS)
        times = [event.time_s if event else 0 for event in said]
        merge.add(frame, np.array(times, np.int64))
        for row in poll:
            n_left[row.partition] -= 1
            position[row.partition] = row.offset + 1
        waiting = np.array([n_left[p] > 0 for p in range(n)])
        order += merge.take(waiting).select("partition", "offset").rows()
        check_restart(merge.restart_offsets(position), order, rows, position)
    assert merge.n_held().sum() == 0
    by_place = {(row.partition, row.offset): row for row in rows}
    assert len(order) == len(set(order)) == len(rows)
    return [by_place[place] for place in order]


def check_restart(
    found: dict[int, int], order: list[tuple[int, int]], rows: list[naive.Row], position: np.ndarray
) -> None:
    """Check that what went on is exactly what lies before the restart offsets."""
    gone = {(row.partition, row.offset) for row in rows if row.offset < found.get(row.partition, 0)}
    assert set(order) == gone
    assert found.keys() == set(np.flatnonzero(position >= 0).tolist())


@settings(max_examples=150)
@given(st.data(), st.one_of(logs.logs(), logs.logs_in_time(10)), st.randoms(use_true_random=False))
def test_what_was_not_late_is_not_late_in_the_copy(data, rows, random):
    polls = data.draw(logs.splits(logs.interleaved(rows, random)))
    copy = keyed(merged(polls, rows))
    source, target = naive.judge(rows, CONFIG), naive.judge(copy, CONFIG)
    assert target.rejected == source.rejected
    assert target.accepted >= source.accepted
    if not source.late:
        assert naive.explain_difference(source.verdicts, target.verdicts) == ""
    assert {row.partition for row in copy} <= set(range(N_PARTITIONS))
