"""A recorded folder read again: the rows of its journal, each batch with the events that it had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from engine.batch.decode import NO_EVENTS
from engine.batch.journal import JOURNAL_SCHEMA, Entry
from engine.errors import UnavailableError
from engine.parquet_source import EVENTS, JOURNAL, frames_of, said_by
from engine.sources import files_of

Pairs = Iterator[tuple[Entry, pl.DataFrame]]
"""Rows of the journal in the order of writing, with the events of a batch."""


def journals_in(folder: str) -> list[Path]:
    """Return the journal's files in the order of writing."""
    found = sorted(path for path in Path(folder).glob(f"*{JOURNAL}") if path.name[0] != ".")
    if not found:
        raise refused(folder, "holds no journal; name the folder that a run has recorded to")
    return found


def refused(path: str | Path, problem: str) -> UnavailableError:
    """Return the error of a journal that cannot be read."""
    return UnavailableError(f"record.path: '{path}' {problem}")


def entries_in(path: Path) -> list[Entry]:
    """Return the rows of one file of the journal."""
    try:
        frame = pl.read_parquet(path, glob=False)
    except (PolarsError, PanicException, OSError) as error:
        raise refused(path, f"cannot be read: {said_by(error)}") from None
    if dict(frame.schema) != JOURNAL_SCHEMA or any(frame.null_count().row(0)):
        raise refused(path, "is no journal of this version")
    return [Entry(*row) for row in frame.iter_rows()]


def journal_entries(folder: str) -> Iterator[Entry]:
    """Yield all rows of the journal."""
    for path in journals_in(folder):
        yield from entries_in(path)


def recorded_pairs(folder: str, events_path: str) -> Pairs:
    """Yield all rows of the journal with the recorded events of `source.path`."""
    events = {Path(path).name: path for path in files_of(events_path)}
    for path in journals_in(folder):
        entries = entries_in(path)
        name = path.name.removesuffix(JOURNAL) + EVENTS
        frame = recorded_events(events.get(name), name, sum(one.n_events for one in entries))
        done = 0
        for entry in entries:
            yield entry, frame.slice(done, entry.n_events)
            done += entry.n_events


def recorded_events(path: str | None, name: str, n_events: int) -> pl.DataFrame:
    """Return the events of a file, of which the journal says how many there are."""
    frame = NO_EVENTS if path is None else pl.concat([NO_EVENTS, *frames_of([path])])
    if len(frame) != n_events:
        problem = f"source.path: '{name}' holds {len(frame)} events, its journal says {n_events}"
        raise UnavailableError(problem)
    return frame
