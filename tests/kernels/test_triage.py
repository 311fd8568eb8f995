"""Triage against the rule as it is written down, one event after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.triage import (
    ACCEPTED,
    LATE,
    LATE_AFTER_IDLE,
    NEVER,
    REPLAYED,
    WindowTimes,
    mark_first,
    triage,
)

pytestmark = pytest.mark.kernels

N_PARTITIONS = 3
times_s = st.integers(1, 80) | st.sampled_from([9, 10, 11, 19, 20, 21, 100_000_000_000])
bounds_s = st.just(NEVER) | st.integers(-20, 60)
windows = st.sampled_from(
    [(10, [(10, 10)]), (5, [(15, 10)]), (5, [(20, 5)]), (1, [(7, 3)]), (5, [(10, 10), (25, 5)])]
)
"""Pane, and length and slide of each kind of window."""


@st.composite
def window_times(draw):
    """Draw the numbers of triage."""
    delay_s = draw(st.sampled_from([0, 5, 10, 1_000_000_000]))
    pane_s, kinds = draw(windows)
    sizes = np.array(kinds, np.int64).T
    return WindowTimes(pane_s, delay_s, draw(bounds_s), draw(bounds_s), *sizes.copy())


def expected(events, times, pmax):
    """Return actions and pmax before each event, and the lateness by partition."""
    rows, late_by_s = [], {}
    for p, time_s in events:
        before_s = pmax[p]
        ends_s = [
            start_s + length_s
            for length_s, slide_s in zip(times.length_s, times.slide_s, strict=True)
            for start_s in range(-length_s, time_s + 1)
            if start_s % slide_s == 0 and start_s <= time_s < start_s + length_s
        ]
        pane_end_s = (time_s // times.pane_s + 1) * times.pane_s
        if before_s != NEVER and pane_end_s <= before_s - times.delay_s:
            action = LATE
            late_by_s.setdefault(p, []).append(before_s - times.delay_s - time_s)
        else:
            pmax[p] = max(before_s, time_s)
            is_over = all(end_s <= times.restored_s for end_s in ends_s)
            late_after_idle = pane_end_s <= times.watermark_s
            action = REPLAYED if is_over else LATE_AFTER_IDLE if late_after_idle else ACCEPTED
        rows.append((action, before_s))
    return rows, late_by_s


@given(
    st.lists(st.tuples(st.integers(0, N_PARTITIONS - 1), st.integers(1, 80)), max_size=30),
    window_times(),
    st.lists(bounds_s, min_size=N_PARTITIONS, max_size=N_PARTITIONS),
)
def test_each_event_is_decided_by_those_before_it_in_its_partition(events, times, pmax):
    partition = np.array([p for p, _ in events], np.int32)
    time = np.array([time_s for _, time_s in events], np.int64)
    moved, lateness = np.array(pmax, np.int64), np.zeros((3, N_PARTITIONS), np.int64)
    result = triage(partition, time, times, moved, lateness)
    rows, late_by_s = expected(events, times, pmax)
    got = zip(result.action.tolist(), result.pmax_before.tolist(), strict=True)
    assert list(got) == rows
    assert moved.tolist() == pmax
    for p in range(N_PARTITIONS):
        by_s = late_by_s.get(p, [])
        assert lateness[:, p].tolist() == [len(by_s), sum(by_s), max(by_s, default=0)]


def test_lateness_adds_up_over_batches():
    ten_s, pmax = np.array([10], np.int64), np.array([100], np.int64)
    times = WindowTimes(10, 0, NEVER, NEVER, ten_s, ten_s)
    lateness = np.zeros((3, 1), np.int64)
    for time_s in (50, 80, 60):
        triage(np.zeros(1, np.int32), np.array([time_s], np.int64), times, pmax, lateness)
    assert lateness[:, 0].tolist() == [3, 50 + 20 + 40, 50]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=10), st.data())
def test_pane_begins_at_its_first_event_in_each_partition(events, data):
    first = {0: 5} if data.draw(st.booleans()) else {}
    offsets, pmaxes = (np.array([first.get(p, -1) for p in range(3)], np.int64) for _ in range(2))
    places = {p: (offset, offset) for p, offset in first.items()}
    for i, (p, pmax_s) in enumerate(events):
        places.setdefault(p, (100 + i, pmax_s))
    mark_first(
        np.array([p for p, _ in events], np.int32),
        np.arange(100, 100 + len(events), dtype=np.int64),
        np.array([pmax_s for _, pmax_s in events], np.int64),
        offsets,
        pmaxes,
    )
    for p in range(3):
        assert (offsets[p], pmaxes[p]) == places.get(p, (-1, -1))
