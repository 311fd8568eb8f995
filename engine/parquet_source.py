"""Recorded events as a source: Parquet files of EVENT frames, in the order of their names.

What was read again after a restart is in the files twice and comes once: a row whose offset is not
above the highest of its partition is dropped. A thread reads ahead, so that decoding the files and
counting overlap. A partition is finished with its last row, so that it holds nothing back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PanicException, PolarsError

from engine.batch.checkpoint import Checkpoint
from engine.batch.decode import EVENT_SCHEMA, NO_EVENTS
from engine.errors import UnavailableError
from engine.kernels.frozen import frozen
from engine.kernels.newer import mark_newer
from engine.sources import Assigned, Batch, FileSource, Standing, files_of, no_records

PARQUET, EVENTS, JOURNAL = ".parquet", ".events.parquet", ".journal.parquet"
BATCH_ROWS = 250_000
AHEAD_BATCHES = 2
WAIT_S = 0.2
MAX_PARTITIONS = 1_000_000


def file_source(path: str, *, clock_s: float) -> FileSource | ParquetSource:
    """Return the source of what a path names: recorded events, or lines."""
    found = [] if path == "-" else files_of(path)
    n_parquet = sum(one.endswith(PARQUET) for one in found)
    if not n_parquet:
        return FileSource(path, clock_s=clock_s)
    if n_parquet < len(found):
        problem = (
            f"'{path}' holds recorded events and other files; name one kind, as in '*.parquet'"
        )
        raise refused(problem)
    return ParquetSource(events_of(path), clock_s=clock_s)


def events_of(path: str) -> list[str]:
    """Return the files with recorded events that a path names, without those of the journal."""
    found = [one for one in files_of(path) if one.endswith(PARQUET)]
    events = [one for one in found if not one.endswith(JOURNAL)]
    if not events:
        problem = f"'{path}' names no recorded events; they are in files named *{EVENTS}"
        raise refused(problem)
    return events


def refused(problem: str) -> UnavailableError:
    """Return the error of a path that cannot be read."""
    return UnavailableError(f"source.path: {problem}")


def unreadable(path: str, error: BaseException) -> UnavailableError:
    """Return the error of a file that is broken."""
    return refused(f"'{path}' cannot be read: {said_by(error)}")


def said_by(error: BaseException) -> str:
    """Return what an error says, without what Polars adds for its developers."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class ParquetSource:
    """Recorded events; see `engine.sources.Source` for the contract."""

    def __init__(self, paths: list[str], *, clock_s: float) -> None:
        """Nothing is opened yet; `clock_s` is what the clock says at every batch."""
        self._paths, self._clock_s = paths, clock_s
        self._frames: queue.Queue[pl.DataFrame | Exception | None]
        self._frames = queue.Queue(AHEAD_BATCHES)
        self._closing = threading.Event()
        self._ahead = threading.Thread(target=self._read_ahead, name="read ahead", daemon=True)
        self._assigned = False
        self.lag: int | None = None
        self.waited_s = 0.0
        self.n_callback_errors = 0
        self.standing = Standing()

    def open(self) -> None:
        """Look how far each partition goes, and begin to read."""
        self._last = last_offsets(self._paths)
        self._position = np.full(len(self._last), -1, np.int64)
        self._ahead.start()

    def _read_ahead(self) -> None:
        highest = np.full(len(self._last), -1, np.int64)
        try:
            for frame in frames_of(self._paths):
                if not self._put(newer_rows(frame, highest)):
                    return
            self._put(None)
        except Exception as error:  # noqa: BLE001 - raised again by `read`
            self._put(error)

    def _put(self, item: pl.DataFrame | Exception | None) -> bool:
        """Hand over an item; return False where nobody takes any more."""
        while not self._closing.is_set():
            try:
                self._frames.put(item, timeout=WAIT_S)
            except queue.Full:
                continue
            return True
        return False

    def read(self) -> Assigned | Batch | None:
        """Return the next events; the last batch says `ended`."""
        if not self._assigned:
            self._assigned = True
            return Assigned(epoch=1, n_partitions=len(self._last), checkpoints={})
        begun_s = time.perf_counter()
        try:
            item = self._frames.get(timeout=WAIT_S)
        except queue.Empty:
            return None
        finally:
            self.waited_s += time.perf_counter() - begun_s
        if isinstance(item, Exception):
            raise item
        return self._batch(NO_EVENTS if item is None else item, ended=item is None)

    def _batch(self, events: pl.DataFrame, *, ended: bool) -> Batch:
        self._position[events["partition"].to_numpy()] = events["offset"].to_numpy() + 1
        finished = (self._position > self._last) | (self._last < 0)
        idle = np.zeros(len(finished), np.bool_)
        position = self._position.copy()
        return Batch(1, no_records(), position, idle, finished, self._clock_s, ended, events)

    def hold(self) -> None:
        """A file waits by itself."""

    def is_current(self, epoch: int) -> bool:
        """A file is ours alone."""
        return True

    def restart(self, epoch: int) -> None:
        """A write to memory or the console is never abandoned, one to Redis only at a stop."""

    def commit(self, epoch: int, checkpoints: dict[int, tuple[int, Checkpoint]]) -> None:
        """A file is read from its beginning each time."""

    def close(self) -> None:
        """Stop reading ahead."""
        self._closing.set()
        if self._ahead.is_alive():
            self._ahead.join()


def last_offsets(paths: list[str]) -> NDArray[np.int64]:
    """Return the last offset of each partition, -1 where it has none; refuse other Parquet."""
    last = np.full(1, -1, np.int64)
    for path in paths:
        check_schema(path)
        scan = pl.scan_parquet(path, glob=False).select("partition", "offset")
        found = collected(scan.group_by("partition").agg(pl.col("offset").max()), path)
        partition, offset = found["partition"], found["offset"]
        if found.null_count().row(0) != (0, 0) or not partition.is_between(0, MAX_PARTITIONS).all():
            problem = f"'{path}' has no sound partitions and offsets; record it anew"
            raise refused(problem)
        n = max(len(last), int(max(partition, default=0)) + 1)
        last = np.append(last, np.full(n - len(last), -1, np.int64))
        rows = partition.to_numpy()
        last[rows] = np.maximum(last[rows], offset.to_numpy())
    return last


def check_schema(path: str) -> None:
    """Refuse a file whose columns are not those of events."""
    try:
        schema = pl.read_parquet_schema(path)
    except (PolarsError, PanicException, OSError) as error:
        raise unreadable(path, error) from None
    for name, kind in EVENT_SCHEMA.items():
        if schema.get(name) != kind:
            found = schema.get(name, "missing")
            problem = f"'{path}' holds no recorded events: column '{name}' is {found}, not {kind}"
            raise refused(problem)


def frames_of(paths: list[str]) -> Iterator[pl.DataFrame]:
    """Yield the rows of the files as EVENT frames of a batch's size."""
    for path in paths:
        scan = pl.scan_parquet(path, glob=False)
        n_rows = collected(scan.select(pl.len()), path).item()
        for first in range(0, n_rows, BATCH_ROWS):
            frame = collected(scan.slice(first, BATCH_ROWS).select(*EVENT_SCHEMA), path)
            if any(frame.null_count().row(0)):
                problem = f"'{path}' has rows without a value; record it anew"
                raise refused(problem)
            yield frame.rechunk()


def collected(scan: pl.LazyFrame, path: str) -> pl.DataFrame:
    """Return what a scan of a file finds."""
    try:
        return scan.collect()
    except (PolarsError, PanicException, OSError) as error:
        raise unreadable(path, error) from None


def newer_rows(frame: pl.DataFrame, highest: NDArray[np.int64]) -> pl.DataFrame:
    """Return the rows behind the highest offsets, which they raise."""
    newer = np.empty(len(frame), np.bool_)
    partition, offset = frame["partition"].to_numpy(), frame["offset"].to_numpy()
    n_newer = mark_newer(frozen(partition), frozen(offset), highest, newer)
    return frame if n_newer == len(frame) else frame.filter(pl.Series(newer))
