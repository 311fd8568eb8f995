"""Verdicts: what was counted for each address of one window, and which rules fired.

A `Verdicts` is either final (its window is closed: one row for each address) or early (rows at
which monotone rules crossed their limit). Rendering them is the sinks' work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.kernels.accumulate import Crossings
from engine.kernels.judge import judge_rows
from engine.kernels.pane import Counts, PaneArrays
from engine.rule_programs import Program
from engine.rules import RuleSet

MAX_ROWS = 250_000
VERDICT_SCHEMA = {
    "high": pl.UInt64,
    "low": pl.UInt64,
    "events": pl.UInt32,
    "clicks": pl.UInt32,
    "categories": pl.UInt32,
    "saturated": pl.UInt8,
    "mask": pl.UInt64,
    "new_mask": pl.UInt64,
    "crossed_ms": pl.Int64,
}


class Verdicts(NamedTuple):
    """Verdicts of one window, [start_s, end_s), as a frame of VERDICT_SCHEMA.

    A window that closes with more than MAX_ROWS addresses has several, of which one is the last.
    mask: rules that fired, bit i = rule i; new_mask: those not announced early already;
    crossed_ms: the moment from which the decision could be known, unix ms. is_base: of the window
    that has statistics. Most frames are small, and a plan of Polars takes longer than its work on
    them: rows and masks are chosen by NumPy.
    """

    start_s: int
    end_s: int
    final: bool
    partial: bool
    frame: pl.DataFrame
    last: bool = True
    is_base: bool = True

    def with_only(self, rules_mask: int) -> Verdicts:
        """Return the same rows with only these rules in the masks."""
        only = np.uint64(rules_mask)
        masks = {name: self.frame[name].to_numpy() for name in ("mask", "new_mask")}
        if not any((mask & ~only).any() for mask in masks.values()):
            return self
        kept = {name: pl.Series(mask & only) for name, mask in masks.items()}
        return self._replace(frame=self.frame.with_columns(**kept))

    def flagged(self, rules_mask: int) -> Verdicts:
        """Return the rows where one of these rules fired, with only those rules in the masks.

        Early rows are those at which one fired just now: another rule's crossing adds nothing.
        """
        fired = self.frame["mask" if self.final else "new_mask"].to_numpy()
        rows = np.flatnonzero(fired & np.uint64(rules_mask))
        frame = self.frame if len(rows) == len(self.frame) else self.frame[rows]
        return self._replace(frame=frame).with_only(rules_mask)

    def spared(self, places: NDArray[np.int64]) -> Verdicts:
        """Return the same rows; at these places no rule has fired."""
        masks = {name: self.frame[name].to_numpy().copy() for name in ("mask", "new_mask")}
        for mask in masks.values():
            mask[places] = 0
        return self._replace(frame=self.frame.with_columns(**masks))


def newest_rows(windows: list[Verdicts]) -> list[Verdicts]:
    """Return the windows, oldest first, each without the addresses that a later one has as well."""
    if len({one.end_s for one in windows}) <= 1:  # parts of one window have no address in common
        return windows
    frames = [one.frame.with_columns(window=pl.lit(i)) for i, one in enumerate(windows)]
    newest = pl.concat(frames).unique(subset=("high", "low"), keep="last", maintain_order=True)
    return [
        one._replace(frame=newest.filter(pl.col("window") == i).drop("window"))
        for i, one in enumerate(windows)
    ]


def final_verdicts(
    counts: Counts,
    *,
    window: tuple[int, int],
    rules: RuleSet,
    program: Program,
    partial: bool,
    last: bool,
    is_base: bool,
) -> Verdicts:
    """Judge addresses of a closed window; those of a partial one by its monotone rules only.

    `program` runs the rules of this kind of window.
    """
    n = len(counts.high)
    mask = np.empty(n, np.uint64)
    judge_rows(program, counts.events, counts.clicks, counts.categories, mask)
    if partial:
        mask &= np.uint64(rules.monotone_mask)
    frame = pl.DataFrame(
        [
            *counts[:-1],
            mask,
            mask & ~counts.fired,
            np.full(n, window[1] * 1000, np.int64),
        ],
        schema=VERDICT_SCHEMA,
    )
    return Verdicts(*window, True, partial, frame, last, is_base)


def early_verdicts(
    crossings: Crossings,
    n: int,
    *,
    pane: PaneArrays,
    window: tuple[int, int],
    crossed_ms: pl.Series,
    is_base: bool,
) -> Verdicts:
    """Return the first n crossings of monotone rules in an open window."""
    keys = pane.keys[crossings.key[:n]]
    frame = pl.DataFrame(
        [
            np.ascontiguousarray(keys["high"]),
            np.ascontiguousarray(keys["low"]),
            crossings.events[:n],
            crossings.clicks[:n],
            crossings.categories[:n],
            crossings.saturated[:n],
            crossings.mask[:n],
            crossings.new_mask[:n],
            crossed_ms,
        ],
        schema=VERDICT_SCHEMA,
    )
    return Verdicts(*window, final=False, partial=False, frame=frame, is_base=is_base)
