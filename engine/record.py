"""The history of a run in a folder, as Parquet: the events in the order of counting, the journal.

    00000012.4f1c2a90.events.parquet     what was counted
    00000012.4f1c2a90.journal.parquet    how: `engine.batch.journal`

Both of a number are begun and closed together; a file gets its name when it is whole, the journal
last. What is in no closed file is not acknowledged, so it is read again after a crash and recorded
then. Names sort in the order of writing, over all runs.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import polars as pl

from engine.batch.journal import (
    ASSIGNED,
    BATCH,
    WORD,
    Entry,
    Step,
    digest_of,
    journal_of,
    runs_of,
)
from engine.batch.verdict import Verdicts
from engine.errors import ConfigError, UnavailableError
from engine.failpoints import reach
from engine.parquet_source import EVENTS, JOURNAL
from engine.state import Outcome

UNFINISHED = ".part"
MAX_EVENTS = 1_000_000
ROW_GROUP = 250_000
NUMBERED = re.compile(r"(\d{8,})\.")


class Record(Protocol):
    """The contract: take outcomes in their order, and say when all of them are kept."""

    def write(self, outcome: Outcome) -> None:
        """Take what a batch led to."""

    def is_kept(self) -> bool:
        """Keep what is due; return True where nothing is left that is not kept."""

    def close(self) -> None:
        """Keep all that was taken."""


class NoRecord:
    """Nothing is recorded, so nothing waits for it."""

    def write(self, outcome: Outcome) -> None:
        """Forget it."""

    def is_kept(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Nothing is held."""


class Recorder:
    """Records one run; the thread of the writer owns it."""

    def __init__(
        self,
        path: str,
        *,
        run_id: str,
        rules_sha8: str,
        windows: str,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Refuse a folder that cannot be written. A file is due `interval_s` after its begin."""
        self._folder, self._run_id = Path(path), run_id
        self._settings = (rules_sha8, windows)
        self._interval_s, self._clock = interval_s, clock
        self._entries: list[Entry] = []
        self._events: list[pl.DataFrame] = []
        self._begun_s, self._n_events = 0.0, 0
        self._number = self._n_files = self._n_verdicts = self._digest = 0
        check_folder(self._folder)

    def write(self, outcome: Outcome) -> None:
        """Take an outcome; the last one of a batch makes its row."""
        self._add(outcome.verdicts)
        if outcome.step is None:
            return
        if not self._entries:
            self._begun_s = self._clock()
        if outcome.step.assigned is not None:
            states = ["" if one is None else one.metadata() for one in outcome.step.assigned]
            self._note(self._entry(ASSIGNED, outcome.epoch)._replace(checkpoints=states))
        self._note(self._batch_entry(outcome, outcome.step))
        if len(outcome.events):
            self._events.append(outcome.events)
            self._n_events += len(outcome.events)

    def _add(self, verdicts: list[Verdicts]) -> None:
        self._n_verdicts += sum(len(one.frame) for one in verdicts)
        self._digest = (self._digest + sum(map(digest_of, verdicts))) & WORD

    def _note(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._number += 1

    def _entry(self, kind: str, epoch: int) -> Entry:
        return Entry(self._run_id, self._number, kind, epoch, *self._settings)

    def _batch_entry(self, outcome: Outcome, step: Step) -> Entry:
        partitions, firsts, lasts, sizes = runs_of(step.partition, step.offset)
        n_verdicts, digest = self._n_verdicts, self._digest
        self._n_verdicts = self._digest = 0
        return self._entry(BATCH, outcome.epoch)._replace(
            clock_s=step.clock_s,
            watermark_s=step.watermark_s,
            position=step.position.tolist(),
            idle=step.idle.tolist(),
            finished=step.finished.tolist(),
            partitions=partitions,
            first_offsets=firsts,
            last_offsets=lasts,
            n_records=sizes,
            n_events=len(outcome.events),
            n_late=step.n_late,
            n_verdicts=n_verdicts,
            digest=digest,
        )

    def is_kept(self) -> bool:
        """Close the file that is due; return True where no row is in an open one."""
        is_old = self._clock() - self._begun_s >= self._interval_s
        if self._entries and (is_old or self._n_events >= MAX_EVENTS):
            self.close()
        return not self._entries

    def close(self) -> None:
        """Write what was taken since the last file."""
        if not self._entries:
            return
        self._n_files = self._n_files or next_number(self._folder)
        stem = f"{self._n_files:08}.{self._run_id}"
        if self._events:
            self._keep(pl.concat(self._events), stem + EVENTS)
        self._keep(journal_of(self._entries), stem + JOURNAL)
        reach("recorded")
        self._n_files += 1
        self._entries, self._events, self._n_events = [], [], 0

    def _keep(self, frame: pl.DataFrame, name: str) -> None:
        """Write a file under another name, for sure, and only then give it its own."""
        buffer, unfinished = io.BytesIO(), self._folder / f".{name}{UNFINISHED}"
        frame.write_parquet(buffer, compression="lz4", row_group_size=ROW_GROUP)
        try:
            with unfinished.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self._folder / name)
            sync_folder(self._folder)
        except OSError as error:
            problem = (
                f"record.path: '{self._folder}' takes no more: {error.strerror}; what is not "
                "recorded is not committed: make room and start again"
            )
            raise UnavailableError(problem) from None


def check_folder(folder: Path) -> None:
    """Make the folder; refuse one in which no file can be written."""
    trial = folder / f".trial{UNFINISHED}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # addresses are personal
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        problem = f"'{folder}' cannot be written: {error.strerror}; name a folder of the engine's"
        raise ConfigError(key="record.path", problem=problem) from None


def next_number(folder: Path) -> int:
    """Return a number behind all that are there; delete what a crash has left unfinished."""
    for path in folder.glob(f".*.parquet{UNFINISHED}"):
        path.unlink(missing_ok=True)
    found = (NUMBERED.match(path.name) for path in folder.iterdir())
    return 1 + max((int(match[1]) for match in found if match), default=0)


def sync_folder(folder: Path) -> None:
    """Let the names of files outlive a loss of power, as their contents do."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
