"""Which events count: the late test, per partition and in offset order, before pmax moves.

The result of a row depends on the rows before it in its own partition only, never on how the log
was cut into micro-batches, so a replay decides the same. Times are whole seconds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compiled import kernel

NEVER = -(1 << 62)
ACCEPTED, LATE, LATE_AFTER_IDLE, REPLAYED = 0, 1, 2, 3
N_LATE, LATE_BY_SUM_S, LATE_BY_MAX_S = 0, 1, 2


class WindowTimes(NamedTuple):
    """The numbers of triage.

    Panes that end by `watermark_s` are closed; windows that end by `restored_s` were acknowledged
    by an earlier run. length_s and slide_s are int64[n_kinds], of each kind of window.
    """

    pane_s: int
    delay_s: int
    watermark_s: int
    restored_s: int
    length_s: NDArray[np.int64]
    slide_s: NDArray[np.int64]


class Triage(NamedTuple):
    """One entry an event: action uint8, pmax before it int64."""

    action: NDArray[np.uint8]
    pmax_before: NDArray[np.int64]


@kernel
def last_end(time: int, length_s: NDArray[np.int64], slide_s: NDArray[np.int64]) -> int:
    """Return the end of the last window of any kind that holds this moment."""
    last = time + 1
    for kind in range(len(length_s)):
        last = max(last, time // slide_s[kind] * slide_s[kind] + length_s[kind])
    return last


@kernel
def triage(
    partition: NDArray[np.int32],
    time: NDArray[np.int64],
    times: WindowTimes,
    pmax: NDArray[np.int64],
    lateness: NDArray[np.int64],
) -> Triage:
    """Decide each event's action and move pmax (int64[n_partitions], NEVER where none) by it.

    partition int32[n], time int64[n]; lateness int64[3, n_partitions] gets the late events added.
    """
    n = len(time)
    action, pmax_before = np.empty(n, np.uint8), np.empty(n, np.int64)
    for i in range(n):
        p = partition[i]
        seen = pmax[p]
        pmax_before[i] = seen
        pane_end = (time[i] // times.pane_s + 1) * times.pane_s
        if seen != NEVER and pane_end <= seen - times.delay_s:
            action[i] = LATE
            late_by_s = seen - times.delay_s - time[i]
            lateness[N_LATE, p] += 1
            lateness[LATE_BY_SUM_S, p] += late_by_s
            lateness[LATE_BY_MAX_S, p] = max(lateness[LATE_BY_MAX_S, p], late_by_s)
            continue
        pmax[p] = max(seen, time[i])
        replayed = pane_end <= times.restored_s
        if replayed and last_end(time[i], times.length_s, times.slide_s) <= times.restored_s:
            action[i] = REPLAYED
        elif pane_end <= times.watermark_s:
            action[i] = LATE_AFTER_IDLE
        else:
            action[i] = ACCEPTED
    return Triage(action, pmax_before)


@kernel
def mark_first(
    partition: NDArray[np.int32],
    offset: NDArray[np.int64],
    pmax_before: NDArray[np.int64],
    first_offset: NDArray[np.int64],
    first_pmax: NDArray[np.int64],
) -> None:
    """Note where a pane begins in each partition: int64[n_partitions] each, offset -1 where not."""
    for i in range(len(offset)):
        p = partition[i]
        if first_offset[p] < 0:
            first_offset[p] = offset[i]
            first_pmax[p] = pmax_before[i]
