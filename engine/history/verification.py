"""Past decisions made again, bit for bit: the batches of a journal through the very code of a run.

A batch gets the clock, the silence and the positions of the day, and its records in their order; an
assignment begins with the checkpoints of the day. What it leads to is compared with the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from engine.batch.checkpoint import Checkpoint, parse_checkpoint
from engine.batch.journal import ASSIGNED, WORD, Entry, digest_of
from engine.errors import UnavailableError
from engine.sources import Assigned, Batch, no_records
from engine.state import State
from engine.terminal.readings import counted, number

N_SHOWN = 5


class Result(NamedTuple):
    """What a batch led to, as far as the journal has it."""

    watermark_s: int
    n_events: int
    n_late: int
    n_verdicts: int
    digest: int


class Verification:
    """Makes decisions again and compares them; `differences` are lines for a person."""

    def __init__(
        self,
        state: State,
        *,
        settings: tuple[str, str],
        say: Callable[[str], None],
    ) -> None:
        """`settings`: the rules' sha8 and the windows of now; `say` is told of others."""
        self._state, self._settings, self._say = state, settings, say
        self._told: set[tuple[str, str]] = {settings}
        self._n_partitions = 0
        self._next: tuple[str, int] | None = None  # run and number of the row that has to follow
        self.n_batches = self.n_events = self.n_verdicts = self.n_skipped = 0
        self.n_differences = 0
        self.differences: list[str] = []

    def verify(self, pairs: Iterable[tuple[Entry, pl.DataFrame]]) -> None:
        """Go through a journal; each row comes with the events of its batch."""
        for entry, events in pairs:
            self._tell_settings(entry)
            follows = self._follows(entry)
            if entry.kind == ASSIGNED:
                self._assign(entry)
            elif follows:
                self._compare(entry, events)
            else:
                self.n_skipped += 1
                continue
            self._next = (entry.run_id, entry.number + 1)

    def _assign(self, entry: Entry) -> None:
        assigned = assigned_of(entry)
        self._state.assign(assigned)
        self._n_partitions = assigned.n_partitions

    def _follows(self, entry: Entry) -> bool:
        """Whether the state is that before this row; rows of a run that are missing are told."""
        if self._next == (entry.run_id, entry.number):
            return True
        if self._next is not None and self._next[0] == entry.run_id:
            missing = f"rows {self._next[1]} to {entry.number - 1} of the journal are not there"
            self._note(f"run {entry.run_id}: {missing}; left out up to the next assignment")
        self._next = None
        return False

    def _tell_settings(self, entry: Entry) -> None:
        was = (entry.rules_sha8, entry.windows)
        if was not in self._told:
            self._told.add(was)
            self._say(
                f"other settings: run {entry.run_id} had rules {was[0]} and windows {was[1]}; "
                f"now rules {self._settings[0]} and windows {self._settings[1]}"
            )

    def _compare(self, entry: Entry, events: pl.DataFrame) -> None:
        check(entry, events, self._n_partitions)
        was = Result(*(getattr(entry, name) for name in Result._fields))
        found, windows = self._made(batch_of(entry, events))
        self.n_batches += 1
        self.n_events += found.n_events
        self.n_verdicts += found.n_verdicts
        if found != was:
            self._note(difference(entry, was, found, windows))

    def _made(self, batch: Batch) -> tuple[Result, list[tuple[int, int]]]:
        """Return what the batch leads to now, and the windows of its verdicts."""
        windows: dict[tuple[int, int], None] = {}
        n_verdicts = digest = n_late = watermark_s = 0
        for outcome in self._state.step(batch):
            for verdicts in outcome.verdicts:
                n_verdicts += len(verdicts.frame)
                digest += digest_of(verdicts)
                windows[verdicts.start_s, verdicts.end_s] = None
            if outcome.step is not None:
                watermark_s, n_late = outcome.step.watermark_s, outcome.step.n_late
        n_events = len(batch.places()[0])
        found = Result(watermark_s, n_events, n_late, n_verdicts, digest & WORD)
        return found, list(windows)

    def _note(self, line: str) -> None:
        self.n_differences += 1
        if len(self.differences) < N_SHOWN:
            self.differences.append(line)

    def lines(self) -> Iterator[str]:
        """Yield the first differences and the result."""
        yield from self.differences
        if self.n_skipped:
            n = counted(self.n_skipped, "batch")
            yield f"left out: {n} whose assignment the journal does not hold"
        if not self.n_batches and not self.n_differences:
            problem = "record.path: the journal holds no batch that can be verified"
            raise UnavailableError(problem)
        yield (
            f"verified: {counted(self.n_batches, 'batch')}, {counted(self.n_events, 'event')}, "
            f"{counted(self.n_verdicts, 'verdict')}: {counted(self.n_differences, 'difference')}"
        )


def assigned_of(entry: Entry) -> Assigned:
    """Return the assignment of a row; raise where its checkpoints are none of this version."""
    found: dict[int, Checkpoint] = {}
    for partition, state in enumerate(entry.checkpoints):
        checkpoint = parse_checkpoint(state)
        if checkpoint is None and state:
            raise refused(entry, f"no checkpoint: {state}")
        if checkpoint is not None:
            found[partition] = checkpoint
    return Assigned(entry.epoch, len(entry.checkpoints), found)


def check(entry: Entry, events: pl.DataFrame, n_partitions: int) -> None:
    """Refuse a row that names partitions which its assignment does not have."""
    sizes = {len(entry.position), len(entry.idle), len(entry.finished)}
    known = events["partition"].is_between(0, n_partitions - 1).all()
    if sizes != {n_partitions} or not known:
        raise refused(entry, f"its partitions are not the {n_partitions} of its assignment")


def refused(entry: Entry, problem: str) -> UnavailableError:
    """Return the error of a row that no run can have written."""
    return UnavailableError(f"record.path: run {entry.run_id}, row {entry.number}: {problem}")


def batch_of(entry: Entry, events: pl.DataFrame) -> Batch:
    """Return the batch of a row."""
    return Batch(
        entry.epoch,
        no_records(),
        np.array(entry.position, np.int64),
        np.array(entry.idle, np.bool_),
        np.array(entry.finished, np.bool_),
        entry.clock_s,
        events=events,
    )


def difference(entry: Entry, was: Result, found: Result, windows: list[tuple[int, int]]) -> str:
    """Return a line on a batch: where it is, what it led to and what it leads to now."""
    pairs = zip(Result._fields, was, found, strict=True)
    changed = [
        f"{name} was {shown(name, a)}, is {shown(name, b)}" for name, a, b in pairs if a != b
    ]
    ranges: dict[int, list[int]] = {}
    for p, first, last in zip(
        entry.partitions, entry.first_offsets, entry.last_offsets, strict=True
    ):
        ranges.setdefault(p, [first, last])[1] = last
    offsets = "; ".join(f"{p}: {first} to {last}" for p, (first, last) in ranges.items())
    closed = ", ".join(f"{start} to {end}" for start, end in windows[:N_SHOWN])
    where = f"run {entry.run_id}, row {entry.number}, offsets {offsets or 'none'}"
    return f"{where}: {'; '.join(changed)}; windows now: {closed or 'none'}"


def shown(name: str, value: int) -> str:
    """Show a figure of a result."""
    return f"{value:016x}" if name == "digest" else number(value) if name[0] == "n" else str(value)
