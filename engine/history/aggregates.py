"""What each address has counted in each of its windows: all that thresholds can be tried on.

Counts are three small numbers, so they are packed into one word; few of them are distinct.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.verdict import Verdicts
from engine.history.tally import Tally
from engine.state import Outcome

COMPACT_ROWS = 4_000_000
ROWS = {"place": pl.Int64, "key": pl.UInt64, "windows": pl.Int64}
ONE = pl.lit(1, pl.Int64)
EVENTS_BIT, CLICKS_BIT, MOST = 40, 16, (1 << 24) - 1


class Counted(NamedTuple):
    """The windows of one kind by place: which of the distinct counts they have, how many do.

    places, triples, windows int64[rows]; events, clicks, categories uint32[n]: the distinct counts.
    """

    places: NDArray[np.int64]
    triples: NDArray[np.int64]
    windows: NDArray[np.int64]
    events: NDArray[np.uint32]
    clicks: NDArray[np.uint32]
    categories: NDArray[np.uint32]


class Aggregates:
    """Listens to outcomes beside a tally, whose places it uses."""

    def __init__(self, tally: Tally) -> None:
        """Begin with nothing heard."""
        self.tally = tally
        self._rows: dict[int, list[pl.DataFrame]] = {}
        self._n_rows: dict[int, int] = {}

    def add(self, outcome: Outcome) -> None:
        """Note the windows that closed."""
        self.tally.add(outcome)
        for verdicts in outcome.verdicts:
            if verdicts.final:
                self._note(verdicts)

    def _note(self, verdicts: Verdicts) -> None:
        length_s, frame = verdicts.end_s - verdicts.start_s, verdicts.frame
        packed = [pl.col(name).cast(pl.UInt64).clip(0, MOST) for name in ("events", "clicks")]
        key = packed[0] * (1 << EVENTS_BIT) + packed[1] * (1 << CLICKS_BIT) + pl.col("categories")
        rows = frame.select(place=pl.Series(self.tally.places(frame)), key=key, windows=ONE)
        parts = self._rows.setdefault(length_s, [])
        parts.append(rows)
        self._n_rows[length_s] = self._n_rows.get(length_s, 0) + len(rows)
        if self._n_rows[length_s] > COMPACT_ROWS:
            parts[:] = [summed(parts)]
            self._n_rows[length_s] = len(parts[0]) // 2  # so that it may grow before the next time

    def counted(self, length_s: int) -> Counted:
        """Return the windows of this length, those of an address with equal counts only once."""
        rows = summed(self._rows.get(length_s, [])).sort("place")
        keys = rows["key"].unique().sort().to_numpy()
        triples = np.searchsorted(keys, rows["key"].to_numpy())
        return Counted(
            rows["place"].to_numpy(),
            triples.astype(np.int64),
            rows["windows"].to_numpy(),
            (keys >> np.uint64(EVENTS_BIT)).astype(np.uint32),
            (keys >> np.uint64(CLICKS_BIT) & np.uint64(MOST)).astype(np.uint32),
            (keys & np.uint64(0xFFFF)).astype(np.uint32),
        )


def summed(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of all parts, those of an address with equal counts as one."""
    rows = pl.concat([pl.DataFrame(schema=ROWS), *parts])
    return rows.group_by("place", "key").agg(pl.sum("windows"))
