"""The rows of a journal in pieces that fit into memory, and the records that they name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from engine.batch.journal import ASSIGNED, Entry

CHUNK_RECORDS, CHUNK_ROWS = 500_000, 10_000
Places = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Partition and offset of each record or event."""


class Index:
    """Finds the rows of a range of offsets; the rows of a partition are in their order."""

    def __init__(self, partition: NDArray[np.int32], offset: NDArray[np.int64]) -> None:
        """Sort once, by partition."""
        self._rows = {p: np.flatnonzero(partition == p) for p in np.unique(partition).tolist()}
        self._offsets = {p: offset[rows] for p, rows in self._rows.items()}

    def rows(self, partition: int, first: int, last: int) -> NDArray[np.intp]:
        """Return the rows of these offsets of a partition."""
        if partition not in self._rows:
            return np.empty(0, np.intp)
        begin, end = np.searchsorted(self._offsets[partition], [first, last + 1])
        return self._rows[partition][begin:end]


def joined(places: list[Places]) -> Places:
    """Return all places as one pair of columns."""
    partitions, offsets = zip(*places, strict=True)
    return np.concatenate(partitions), np.concatenate(offsets)


def chunks_of(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield rows of one assignment: some thousands, with some hundred thousand records."""
    chunk: list[Entry] = []
    n_records = 0
    for entry in entries:
        is_full = n_records >= CHUNK_RECORDS or len(chunk) >= CHUNK_ROWS
        if chunk and (entry.kind == ASSIGNED or is_full):
            yield chunk
            chunk, n_records = [], 0
        chunk.append(entry)
        n_records += sum(entry.n_records)
    if chunk:
        yield chunk


def starts_of(chunk: list[Entry]) -> dict[int, int]:
    """Return where each partition of an assignment was begun: what its first batch says."""
    batch = next((entry for entry in chunk if entry.kind != ASSIGNED), chunk[0])
    starts = {p: offset for p, offset in enumerate(batch.position) if offset >= 0}
    firsts = zip(reversed(batch.partitions), reversed(batch.first_offsets), strict=True)
    return starts | dict(firsts)


def last_offsets(chunk: list[Entry]) -> dict[int, int]:
    """Return the last offset of each partition that some rows name."""
    found: dict[int, int] = {}
    for entry in chunk:
        for p, offset in zip(entry.partitions, entry.last_offsets, strict=True):
            found[p] = max(found.get(p, -1), offset)
    return found
