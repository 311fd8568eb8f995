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

    Panes that end by `watermark_s` are closed; `restored_s` is the end of the last window that an
    earlier run has acknowledged.
    """

    pane_s: int
    length_s: int
    slide_s: int
    delay_s: int
    watermark_s: int
    restored_s: int


class Triage(NamedTuple):
    """One entry an event: action uint8, pane int64 (start / pane_s), pmax before it int64."""

    action: NDArray[np.uint8]
    pane: NDArray[np.int64]
    pmax_before: NDArray[np.int64]


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
    action, pane = np.empty(n, np.uint8), np.empty(n, np.int64)
    pmax_before = np.empty(n, np.int64)
    for i in range(n):
        p = partition[i]
        seen = pmax[p]
        pane[i] = time[i] // times.pane_s
        pmax_before[i] = seen
        pane_end = (pane[i] + 1) * times.pane_s
        last_start = pane[i] * times.pane_s // times.slide_s * times.slide_s
        if seen != NEVER and pane_end <= seen - times.delay_s:
            action[i] = LATE
            late_by_s = seen - times.delay_s - time[i]
            lateness[N_LATE, p] += 1
            lateness[LATE_BY_SUM_S, p] += late_by_s
            lateness[LATE_BY_MAX_S, p] = max(lateness[LATE_BY_MAX_S, p], late_by_s)
            continue
        pmax[p] = max(seen, time[i])
        if last_start + times.length_s <= times.restored_s:
            action[i] = REPLAYED
        elif pane_end <= times.watermark_s:
            action[i] = LATE_AFTER_IDLE
        else:
            action[i] = ACCEPTED
    return Triage(action, pane, pmax_before)


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
