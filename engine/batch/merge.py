"""The records of several partitions as one order in which none is later than it was.

Lateness is decided by the log of a partition: an event is late when the greatest event time before
it (`pmax`) has passed its window by the delay. Where records of several partitions become the log
of one, in the order of their pmax (that of their own partition, the record included), the greatest
time before a record is never above its own pmax. So what was not late is not late there.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.kernels.triage import NEVER

ROWS = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "timestamp_ms": pl.Int64,
    "pmax_s": pl.Int64,
    "block": pl.Int64,
    "start": pl.Int64,
    "end": pl.Int64,
    "high": pl.UInt64,
    "low": pl.UInt64,
    "is_event": pl.Boolean,
}
"""A record: its value is block[start:end], null where end < start; its address is high and low."""


class Merge:
    """Holds back records of partitions that are ahead of those which have more to be read."""

    def __init__(self, n_partitions: int) -> None:
        """Hold nothing."""
        self._pmax_s = np.full(n_partitions, NEVER, np.int64)
        self._held = pl.DataFrame(schema=ROWS)

    def add(self, rows: pl.DataFrame, time_s: NDArray[np.int64]) -> None:
        """Take rows of ROWS, each partition in its order; `time_s` counts where it is an event.

        Their pmax_s is set here.
        """
        partition = rows["partition"].to_numpy()
        time_s = np.where(rows["is_event"].to_numpy(), time_s, NEVER)
        pmax_s = np.empty(len(rows), np.int64)
        for p in np.unique(partition):
            where = partition == p
            pmax_s[where] = np.maximum.accumulate(np.maximum(time_s[where], self._pmax_s[p]))
            self._pmax_s[p] = pmax_s[where][-1]
        rows = rows.with_columns(pmax_s=pl.Series(pmax_s))
        self._held = pl.concat([self._held, rows.select(*ROWS)])

    def blocks(self) -> set[int]:
        """Return the blocks in which there are values of records that are held back."""
        return set(self._held["block"].unique().to_list())

    def take(self, waiting: NDArray[np.bool_]) -> pl.DataFrame:
        """Return what may go on, in its order; `waiting`: partitions with more to be read at once.

        What such a partition will bring is at its pmax or above it.
        """
        limit_s = self._pmax_s[waiting].min() if waiting.any() else np.iinfo(np.int64).max
        may_go = self._held["pmax_s"] <= limit_s
        gone = self._held.filter(may_go).sort("pmax_s", maintain_order=True)
        self._held = self._held.filter(~may_go)
        return gone

    def n_held(self) -> NDArray[np.int64]:
        """Return how many records of each partition are held back."""
        return np.bincount(self._held["partition"].to_numpy(), minlength=len(self._pmax_s))

    def restart_offsets(self, position: NDArray[np.int64]) -> dict[int, int]:
        """Return where each partition that is read goes on: at what is held, else at `position`."""
        found = {int(p): int(position[p]) for p in np.flatnonzero(position >= 0)}
        first = self._held.group_by("partition").agg(pl.min("offset"))
        return found | dict(first.iter_rows())
