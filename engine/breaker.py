"""The breaker: no decision of a window that would newly flag too large a share of its addresses.

It judges closed windows, each by itself, so what is final is a function of the log: of the window,
and of who was flagged by earlier ones. A window that comes in parts is judged part by part. Newly
flagged is who holds no decision of an earlier window that is still alive; after a start that is
everyone. Early decisions are held from a window over the limit until one under it; which ones,
depends on how far the log was read at that moment.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from engine.batch.verdict import Verdicts
from engine.sinks import Timing

ADDRESS = ["high", "low"]
FLAG_SCHEMA = {"high": pl.UInt64, "low": pl.UInt64, "until_s": pl.Int64}
MAX_REMEMBERED = 10_000  # windows; those that are read again are the last few


class Share(NamedTuple):
    """How many of a closed window's addresses it would newly flag; `is_over` the limit."""

    n_new: int
    n_addresses: int
    limit: float
    is_over: bool


class Breaker:
    """Judges closed windows, oldest first; `is_open` holds early decisions."""

    def __init__(
        self, *, max_share: float, min_addresses: int, enforce_mask: int, times: Timing
    ) -> None:
        """Begin closed, with nobody flagged. `times` counts TTLs from the window's end."""
        self._max_share, self._min_addresses = max_share, min_addresses
        self._enforce_mask, self._times = enforce_mask, times
        self._flags = pl.DataFrame(schema=FLAG_SCHEMA)
        self._judged: dict[tuple[int, int, int], Share] = {}
        self._part, self._is_last = (0, 0, 0), True  # (start and end of the window, nth part)
        self.is_open = False

    def judge(self, verdicts: Verdicts) -> Share:
        """Judge a closed window; one that is read again is judged as it was the first time."""
        *window, nth = self._part
        goes_on = window == [verdicts.start_s, verdicts.end_s] and not self._is_last
        self._part = (verdicts.start_s, verdicts.end_s, nth + 1 if goes_on else 0)
        self._is_last = verdicts.last
        share = self._judged.get(self._part) or self._judge_first(verdicts)
        self._judged[self._part] = share
        if len(self._judged) > MAX_REMEMBERED:
            del self._judged[next(iter(self._judged))]
        if share.n_addresses >= self._min_addresses:
            self.is_open = share.is_over
        return share

    def _judge_first(self, verdicts: Verdicts) -> Share:
        found, n = self._flags_of(verdicts), len(verdicts.frame)
        alive = self._flags.filter(pl.col("until_s") >= verdicts.end_s)
        n_new = len(found.join(alive, on=ADDRESS, how="anti"))
        is_over = n >= self._min_addresses and n_new / n > self._max_share
        if not is_over:
            both = pl.concat([alive, found])
            self._flags = both.group_by(ADDRESS).agg(pl.col("until_s").max())
        return Share(n_new, n, self._max_share, is_over)

    def _flags_of(self, verdicts: Verdicts) -> pl.DataFrame:
        """Return the flags that the window would set."""
        flagged = verdicts.flagged(self._enforce_mask)
        until_s = self._times.expiry(flagged, flagged.frame["mask"], now_s=0.0)
        return flagged.frame.select(*ADDRESS, until_s=pl.Series(until_s, dtype=pl.Int64))
