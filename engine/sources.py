"""Where records come from: the contract of a source, and files. Kafka is `engine.kafka.source`.

A source hands over records in the order of each partition with its place in them, never blocks for
longer than 200 ms, does not retry and does not judge. A file is one partition; its record
timestamps are the clock at the start, so that one line of the future is refused as in Kafka.
"""

from __future__ import annotations

import glob
import gzip
import math
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
import polars as pl
import zstandard
from numpy.typing import NDArray

from engine.batch.checkpoint import Checkpoint
from engine.batch.decode import Records
from engine.errors import UnavailableError

BLOCK_BYTES = 8 << 20
NEWLINE = 10


class Assigned(NamedTuple):
    """A new assignment: all that was known of the partitions is void, go on from these."""

    epoch: int
    n_partitions: int
    checkpoints: dict[int, Checkpoint]


class Batch(NamedTuple):
    """A micro-batch and how far each partition is: arrays have one entry a partition.

    position: the next offset (-1 where unknown); idle: at the end and silent; finished: read no
    further; ended: nothing more will come; clock_s: the wall clock when it was read. events: an
    EVENT frame in the place of records, from a source that keeps decoded ones.
    """

    epoch: int
    records: Records
    position: NDArray[np.int64]
    idle: NDArray[np.bool_]
    finished: NDArray[np.bool_]
    clock_s: float
    ended: bool = False
    events: pl.DataFrame | None = None

    def places(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the partition and the offset of each record, or of each event."""
        if self.events is None:
            return self.records.partition, self.records.offset
        return self.events["partition"].to_numpy(), self.events["offset"].to_numpy()


@dataclass
class Standing:
    """How a source stands, written by the thread that owns it for whoever watches.

    missing: `broker`, `topic` or `partitions`, whichever it waits for, else nothing; is_partial:
    another engine holds a part of the topic; n_lost: records that were gone before they were
    counted; served_s: when it was last served, monotonic, infinity where a read may last.
    """

    missing: str = ""
    is_paused: bool = False
    is_partial: bool = False
    n_lost: int = 0
    served_s: float = math.inf


class Source(Protocol):
    """The contract of a source. One thread owns it.

    lag: records ahead, None if unknown; waited_s: time in `read` in which there was nothing to do.
    """

    lag: int | None
    waited_s: float

    @property
    def n_callback_errors(self) -> int:
        """Failures of our own callbacks; none of them stopped anything."""

    def open(self) -> None:
        """Connect, or raise what a user can act on."""

    def read(self) -> Assigned | Batch | None:
        """Return what came, or None where nothing did."""

    def hold(self) -> None:
        """Serve the source while nothing more can be taken."""

    def is_current(self, epoch: int) -> bool:
        """Return True while what was read in this epoch may be written."""

    def restart(self, epoch: int) -> None:
        """Read again what this epoch has not committed."""

    def commit(self, epoch: int, checkpoints: dict[int, tuple[int, Checkpoint]]) -> None:
        """Note that everything before these restart offsets is written."""

    def close(self) -> None:
        """Wait for the commit in flight and let go."""


def no_records() -> Records:
    """Return an empty batch of records."""
    return records_of(b"", np.empty(0, np.int64), np.empty(0, np.int64), 0, 0)


def records_of(
    buffer: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], first: int, clock_ms: int
) -> Records:
    """Return lines of a file as the records of partition 0 from offset `first` on."""
    n = len(starts)
    return Records(
        np.frombuffer(buffer or b"\n", np.uint8),
        starts,
        ends,
        np.zeros(n, np.int32),
        np.arange(first, first + n, dtype=np.int64),
        np.full(n, clock_ms, np.int64),
    )


class FileSource:
    """Lines of a file, of the files of a directory or glob in the order of names, or of stdin."""

    def __init__(self, path: str, *, clock_s: float, block_bytes: int = BLOCK_BYTES) -> None:
        """Nothing is opened yet; `clock_s` stands in for the records' timestamps."""
        self._path, self._clock_s, self._block_bytes = path, clock_s, block_bytes
        self._blocks: Iterator[bytes] = iter(())
        self._n_lines = 0
        self.lag: int | None = None
        self.waited_s = 0.0
        self.n_callback_errors = 0
        self.standing = Standing()
        self._assigned = False

    def open(self) -> None:
        """Find the files."""
        paths = ["-"] if self._path == "-" else files_of(self._path)
        self._blocks = (block for path in paths for block in self._blocks_of(path))

    def _blocks_of(self, path: str) -> Iterator[bytes]:
        try:
            with open_file(path) as stream:
                parts = iter(partial(stream.read, self._block_bytes), b"")
                yield from whole_lines(decompressed(parts) if path.endswith(".zst") else parts)
        except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
            problem = f"source.path: '{path}' cannot be read: {error}"
            raise UnavailableError(problem) from None

    def read(self) -> Assigned | Batch:
        """Return the next block of lines; the last one says `ended`."""
        if not self._assigned:
            self._assigned = True
            return Assigned(epoch=1, n_partitions=1, checkpoints={})
        block = next(self._blocks, None)
        if block is None:
            return self._batch(no_records(), ended=True)
        starts, ends = line_bounds(block)
        records = records_of(block, starts, ends, self._n_lines, int(self._clock_s * 1000))
        self._n_lines += len(starts)
        return self._batch(records, ended=False)

    def _batch(self, records: Records, *, ended: bool) -> Batch:
        finished = np.array([ended])
        position = np.array([self._n_lines], np.int64)
        return Batch(1, records, position, np.array([False]), finished, self._clock_s, ended)

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
        """Close the file that is open, if any."""
        self._blocks = iter(())


def files_of(path: str) -> list[str]:
    """Return the files that a path, a directory or a glob names, in the order of names."""
    if Path(path).is_dir():
        found = [str(p) for p in Path(path).iterdir() if p.is_file() and p.name[0] != "."]
    else:
        found = [path] if Path(path).is_file() else glob.glob(path)
        found = [one for one in found if not Path(one).is_dir()]
    if not found:
        problem = f"source.path: '{path}' names no file; give a file, a directory, a glob or '-'"
        raise UnavailableError(problem)
    return sorted(found)


def open_file(path: str) -> BinaryIO:
    """Open a file for reading; `-` is stdin, and what is named .gz is decompressed."""
    if path == "-":
        return open(sys.stdin.fileno(), "rb", closefd=False)
    if path.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return open(path, "rb")


def decompressed(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what Zstandard frames hold; unlike the library's reader, tell a file that is cut."""
    frame = None
    for part in parts:
        rest = part
        while rest:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(rest)
            rest, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        message = "it ends in the middle of a frame"
        raise EOFError(message)


def whole_lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes in blocks that end with a line."""
    held: list[bytes] = []
    for part in parts:
        end = part.rfind(b"\n") + 1
        if end:
            yield b"".join([*held, part[:end]])
            held = []
        held.append(part[end:])
    if rest := b"".join(held):
        yield rest


def line_bounds(block: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each line of the block begins and ends, its line break left out."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == NEWLINE).astype(np.int64)
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])[: len(ends)]
    return starts, ends
