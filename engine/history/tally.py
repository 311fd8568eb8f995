"""What a range held, by address: how it acted, how many windows it had, which rules fired when.

Memory grows with the addresses and with those that were flagged, not with the events.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.verdict import Verdicts
from engine.history.span import SEED
from engine.kernels.watch import UNSEEN_S, WATCHED, nobody_watched, places_of, watch
from engine.rules import RuleSet
from engine.state import Outcome

COMPACT_ROWS = 1_000_000
FIRED = {
    "place": pl.Int64,
    "kind": pl.UInt8,
    "mask": pl.UInt64,
    "windows": pl.UInt32,
    "new_mask": pl.UInt64,
    "crossed_s": pl.Int64,
    "decided_s": pl.Int64,
}


class Tally:
    """Listens to the outcomes of a range; `place` numbers the addresses as they appear."""

    def __init__(self, rules: RuleSet, *, delay_s: int) -> None:
        """Begin with nothing heard; a window closes `delay_s` after its end."""
        self.rules, self._delay_s = rules, delay_s
        self._kinds = {window.length_s: kind for kind, window in enumerate(rules.windows)}
        self._seed, self._watched = np.uint64(SEED), nobody_watched()
        self._windows = [np.zeros(0, np.int64) for _ in rules.windows]
        self._fired: list[pl.DataFrame] = [pl.DataFrame(schema=FIRED)]
        self._n_fired_rows = 0
        self.n_windows = 0

    def add(self, outcome: Outcome) -> None:
        """Note what a batch held and what it led to."""
        for verdicts in outcome.verdicts:
            self._note(verdicts)
        events = outcome.events
        words = (events["high"].to_numpy(), events["low"].to_numpy())
        watch(self._watched, self._seed, *words, events["time"].to_numpy())

    def _note(self, verdicts: Verdicts) -> None:
        kind = self._kinds[verdicts.end_s - verdicts.start_s]
        if verdicts.final:
            self.n_windows += verdicts.last
            self._count_windows(kind, self.places(verdicts.frame))
        fired = verdicts.frame.filter(pl.col("mask") != 0)
        if len(fired) == 0:
            return
        crossed_s = pl.col("crossed_ms") // 1000
        decided_s = pl.lit(verdicts.end_s + self._delay_s) if verdicts.final else crossed_s
        self._fired.append(
            fired.select(
                place=pl.Series(self.places(fired)),
                kind=pl.lit(kind, pl.UInt8),
                mask="mask",
                windows=pl.lit(int(verdicts.final), pl.UInt32),
                new_mask="new_mask",
                crossed_s=crossed_s,
                decided_s=decided_s.cast(pl.Int64),
            )
        )
        self._n_fired_rows += len(fired)
        if self._n_fired_rows > COMPACT_ROWS:
            self._compact()

    def _compact(self) -> None:
        self._fired = [self.fired()]
        self._n_fired_rows = 0

    def places(self, frame: pl.DataFrame) -> NDArray[np.int64]:
        """Return the place of each row's address."""
        words = (frame["high"].to_numpy(), frame["low"].to_numpy())
        return places_of(self._watched, self._seed, *words)

    def _count_windows(self, kind: int, places: NDArray[np.int64]) -> None:
        n = int(self._watched.used[0])
        counted = np.bincount(places, minlength=n)
        counted[: len(self._windows[kind])] += self._windows[kind]
        self._windows[kind] = counted

    def fired(self) -> pl.DataFrame:
        """Return FIRED rows, one for each address, kind of window and set of rules.

        windows: closed windows whose rules `mask` fired; crossed_s, decided_s: when the rules
        `new_mask` were first crossed, and when that was first known, in event time.
        """
        return (
            pl.concat(self._fired)
            .group_by("place", "kind", "mask", "new_mask")
            .agg(pl.sum("windows"), pl.min("crossed_s"), pl.min("decided_s"))
            .select(list(FIRED))
            .sort("place", "kind", "mask", "new_mask")
        )

    def addresses(self) -> pl.DataFrame:
        """Return a row for each place: how the address acted, and windows_<kind> of each kind.

        high, low uint64; events; first_s (null where only windows are known of it); rate_per_s and
        gap_cv, the standard deviation of the gaps between events over their mean, from 3 events on.
        """
        n = int(self._watched.used[0])
        rows = self._watched.rows[:n]
        frame = pl.DataFrame(
            {name: np.ascontiguousarray(rows[name]) for name in WATCHED.names or ()}
        )
        n_gaps, active_s = pl.col("events") - 1, pl.col("last_s") - pl.col("first_s")
        mean_s = active_s / n_gaps
        variance_s2 = (pl.col("squared_gaps_s2") / n_gaps - mean_s**2).clip(0)
        has_gaps = (n_gaps > 1) & (active_s > 0)
        counted = {f"windows_{kind}": padded(w, n) for kind, w in enumerate(self._windows)}
        return frame.select(
            "high",
            "low",
            "events",
            pl.when(pl.col("first_s") != UNSEEN_S).then("first_s").alias("first_s"),
            pl.when(has_gaps).then(n_gaps / active_s).alias("rate_per_s"),
            pl.when(has_gaps).then(variance_s2.sqrt() / mean_s).alias("gap_cv"),
            **counted,
        )


def padded(column: NDArray[np.int64], n: int) -> pl.Series:
    """Return the column with zeros up to n."""
    return pl.Series(np.concatenate([column, np.zeros(n - len(column), np.int64)]))
