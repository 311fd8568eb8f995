"""All that a range holds of one address: its events with their places, and its windows.

Memory grows with the events and windows of this address alone.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from engine.batch.decode import Records
from engine.batch.verdict import Verdicts
from engine.kernels.fields import CLICK
from engine.networks import spans_of
from engine.rule_trees import COUNTS
from engine.state import Outcome

PLACE = ("partition", "offset")
WORD_BITS = 64


class Event(NamedTuple):
    """One event of the address; `raw` as it came, None from a source that keeps decoded ones."""

    partition: int
    offset: int
    time: int
    category: int
    is_click: bool
    raw: bytes | None


class WindowOf(NamedTuple):
    """A closed window of the address: what was counted, and the rules that no guard held back."""

    start_s: int
    end_s: int
    counts: dict[str, int]
    mask: int


class Trail:
    """Listens to the outcomes of a range for one address; looked at when the range is over."""

    def __init__(self, address: str) -> None:
        """Begin with nothing heard."""
        value = spans_of(address)[0][0]
        self.high, self.low = value >> WORD_BITS, value & (1 << WORD_BITS) - 1
        self.events: list[Event] = []
        self.n_uncounted = 0
        self.windows: list[WindowOf] = []
        self._early: dict[tuple[int, int], int] = {}

    def add(self, outcome: Outcome, records: Records) -> None:
        """Note what a batch of records held of the address and what it led to."""
        for verdicts in outcome.verdicts:
            for row in self._mine(verdicts.frame).rows(named=True):
                self._note(verdicts, row)
        if len(outcome.events):
            accepted = pl.Series(outcome.accepted)
            self._take(self._mine(outcome.events.with_columns(accepted=accepted)), records)

    def _mine(self, frame: pl.DataFrame) -> pl.DataFrame:
        words = (("high", self.high), ("low", self.low))
        return frame.filter(*(pl.col(name) == pl.lit(word, pl.UInt64) for name, word in words))

    def _note(self, verdicts: Verdicts, row: dict[str, Any]) -> None:
        window = (verdicts.start_s, verdicts.end_s)
        if verdicts.final:
            row["views"] = row["events"] - row["clicks"]
            counts = {name: row[name] for name in COUNTS}
            self.windows.append(WindowOf(*window, counts, row["mask"]))
        else:
            self._early[window] = self._early.get(window, 0) | row["new_mask"]

    def _take(self, mine: pl.DataFrame, records: Records) -> None:
        if len(mine) == 0:
            return
        counted = mine.filter("accepted")
        self.n_uncounted += len(mine) - len(counted)
        places = pl.DataFrame({name: getattr(records, name) for name in PLACE})
        found = counted.join(
            places.with_row_index("row"), on=PLACE, how="left", maintain_order="left"
        )
        for one in found.rows(named=True):
            said = (one["time"], one["category"], one["kind"] == CLICK)
            raw = None if one["row"] is None else records.value(one["row"])
            self.events.append(Event(one["partition"], one["offset"], *said, raw))

    def early_mask(self, window: WindowOf) -> int:
        """Return the rules that decided before the window closed."""
        return self._early.get((window.start_s, window.end_s), 0)

    def events_in(self, window: WindowOf) -> list[Event]:
        """Return the events that a window counts, in the order in which they came."""
        times_s, places = self._by_time
        first, last = (bisect_left(times_s, at) for at in (window.start_s, window.end_s))
        return [self.events[i] for i in sorted(places[first:last])]

    @cached_property
    def _by_time(self) -> tuple[list[int], list[int]]:
        """The times of all events in their order, and the place of each among them."""
        places = sorted(range(len(self.events)), key=lambda i: self.events[i].time)
        return [self.events[i].time for i in places], places
