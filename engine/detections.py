"""What a run has found: flagged addresses, reasons, time to detect, and how it meets the labels.

Only listens to what is written. Addresses are kept in a table of words, as everywhere.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.verdict import Verdicts
from engine.kernels import render as form
from engine.kernels.expiry import FIRST, admit, empty_expiries, make_room
from engine.metrics import Metrics
from engine.rules import RuleSet

N_RECENT = 200
MAX_FLAGGED = 1_000_000  # are told apart in a run; 50 MB, however long it runs
LINES = form.template(form.ADDRESS, b"\n")


class AddressSet:
    """A growing set of addresses, as two columns of words; it grows to about a limit, if any."""

    def __init__(self, seed: np.uint64, limit: int | None = None) -> None:
        """Begin empty."""
        self._seed, self._limit, self._table = seed, limit, empty_expiries()

    def add(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Add the addresses of a VERDICT frame; return which rows are new in the set."""
        if self._limit is not None and len(self) >= self._limit:
            return np.zeros(len(frame), np.bool_)
        make_room(self._table, len(frame), now_s=-1, seed=self._seed)
        words = (frame["high"].to_numpy(), frame["low"].to_numpy())
        forever, action = np.zeros(len(frame), np.int64), np.empty(len(frame), np.uint8)
        admit(self._table, self._seed, *words, forever, action)
        is_new: NDArray[np.bool_] = action == FIRST
        return is_new

    def __len__(self) -> int:
        """Return how many addresses there are."""
        return int(self._table.used[0])

    def texts(self, most: int | None = None) -> list[str]:
        """Return every address, or the first of them."""
        return addresses(self._table.high[: len(self)][:most], self._table.low[: len(self)][:most])


def addresses(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> list[str]:
    """Return the text of addresses."""
    n = len(high)
    no_count, no_mask = np.zeros(n, np.uint32), np.zeros(n, np.uint64)
    words = (np.ascontiguousarray(high), np.ascontiguousarray(low))
    flags, ttl_s = np.zeros(n, np.uint8), np.zeros(n, np.int64)
    rows = form.Rows(*words, no_count, no_count, no_count, flags, no_mask, ttl_s)
    nothing = form.value_form(start_s=0, end_s=0, final=True, reasons=())
    text = form.render(rows, nothing, LINES, form.row_bytes(LINES, nothing))
    lines: list[str] = text.tobytes().decode().splitlines()
    return lines


class Detection(NamedTuple):
    """A decision as a person wants to see it.

    nth: the address is the nth that this run has flagged, 0 where it had flagged it before.
    """

    ip: str
    reasons: tuple[str, ...]
    events: int
    end_s: int
    ttl_s: int
    final: bool
    at_s: float
    expiry_s: int
    nth: int


class Detections:
    """Listens to written verdicts; see `engine.writer.Observer`."""

    def __init__(
        self,
        rules: RuleSet,
        metrics: Metrics,
        *,
        seed: int,
        event_clock: bool,
        keep_seen: bool,
        ttl_event_clock: bool | None = None,
    ) -> None:
        """`keep_seen` keeps every address, seen and flagged, which only labels need.

        `ttl_event_clock` says what TTLs count from where that is another clock than `event_clock`.
        """
        self._rules, self._metrics = rules, metrics
        self._event_clock, self._keep_seen = event_clock, keep_seen
        self._ttl_event_clock = event_clock if ttl_event_clock is None else ttl_event_clock
        limit = None if keep_seen else MAX_FLAGGED
        self.flagged, self.seen = AddressSet(np.uint64(seed), limit), AddressSet(np.uint64(seed))
        self.by_reason = metrics.flagged_by_reason
        self.recent: deque[Detection] = deque(maxlen=N_RECENT)

    def __call__(self, verdicts: Verdicts, *, now_s: float, n_expired: int) -> None:
        """Count verdicts whose decisions are acknowledged."""
        metrics, rules = self._metrics, self._rules
        flagged = verdicts.flagged(rules.enforce_mask).frame
        if verdicts.final:
            metrics.windows += verdicts.last
            metrics.windows_partial += verdicts.last and verdicts.partial
            metrics.verdicts += len(verdicts.frame)
            metrics.flagged += len(flagged)
            if self._keep_seen:
                self.seen.add(verdicts.frame)
        if len(flagged) == 0:
            return
        n_before = len(self.flagged)
        is_first = self.flagged.add(flagged)
        metrics.addresses_flagged = len(self.flagged)
        nth = pl.Series(np.where(is_first, n_before + np.cumsum(is_first), 0))
        # What was known early, but held back by a guard, is new only now.
        masks = (flagged[name].to_numpy() for name in ("mask", "new_mask"))
        new_mask = pl.Series(np.where(is_first, *masks))
        new = flagged.with_columns(nth=nth, new_mask=new_mask).filter(pl.col("new_mask") != 0)
        if self._event_clock and not n_expired:
            waited_ms = now_s * 1000 - new["crossed_ms"].to_numpy()
            metrics.time_to_detect.add(waited_ms / 1000)
        self._note_reasons(new)
        self._note_recent(new, verdicts, now_s)

    def _note_reasons(self, new: pl.DataFrame) -> None:
        for mask, n in new["new_mask"].value_counts().iter_rows():
            for name in self._rules.reasons(mask):
                self.by_reason[name] += n

    def _note_recent(self, new: pl.DataFrame, verdicts: Verdicts, now_s: float) -> None:
        rows = new.tail(N_RECENT)
        names = addresses(rows["high"].to_numpy(), rows["low"].to_numpy())
        start_s = verdicts.end_s if self._ttl_event_clock else math.floor(now_s)
        columns = (rows["mask"], rows["events"], rows["nth"])
        for ip, mask, events, nth in zip(names, *columns, strict=True):
            ttl_s = self._rules.longest_ttl_s(mask)
            detection = Detection(
                ip,
                self._rules.reasons(mask),
                events,
                verdicts.end_s,
                ttl_s,
                verdicts.final,
                now_s,
                start_s + ttl_s,
                nth,
            )
            self.recent.append(detection)
