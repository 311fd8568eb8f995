"""Ranges of addresses, to tell for many addresses at once which of them lie within.

The ranges are disjoint and ascending, so one binary search answers for an address: ten thousand of
them cost 14 steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Bytes, parse_address
from engine.kernels.compiled import kernel
from engine.kernels.frozen import frozen

WORD_BITS = 64
LOW_WORD = (1 << WORD_BITS) - 1


class Ranges(NamedTuple):
    """Ends of ranges, uint64[n] each; both ends belong to their range."""

    first_high: NDArray[np.uint64]
    first_low: NDArray[np.uint64]
    last_high: NDArray[np.uint64]
    last_low: NDArray[np.uint64]


def ranges_of(spans: Iterable[tuple[int, int]]) -> Ranges:
    """Return spans of 128-bit numbers (first, last) as ranges; those that touch become one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    firsts, lasts = [first for first, _ in merged], [last for _, last in merged]
    return Ranges(*words(firsts), *words(lasts))


def words(numbers: Sequence[int]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return 128-bit numbers as their (high, low) words."""
    high = np.array([number >> WORD_BITS for number in numbers], np.uint64)
    low = np.array([number & LOW_WORD for number in numbers], np.uint64)
    return frozen(high), frozen(low)


def within(ranges: Ranges, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return bool[n]: which addresses (uint64[n] words) lie in one of the ranges."""
    found = np.empty(len(high), np.bool_)
    mark_within(ranges, frozen(high), frozen(low), found)
    return found


@kernel
def mark_within(
    ranges: Ranges, high: NDArray[np.uint64], low: NDArray[np.uint64], found: NDArray[np.bool_]
) -> None:
    """Do what `within` says; its input is read-only."""
    for i in range(len(high)):
        begin, end = 0, len(ranges.first_high)
        while begin < end:  # the ranges before `begin` start at or before the address
            middle = (begin + end) // 2
            first = ranges.first_high[middle]
            if first < high[i] or (first == high[i] and ranges.first_low[middle] <= low[i]):
                begin = middle + 1
            else:
                end = middle
        found[i] = False
        if begin > 0:
            last = ranges.last_high[begin - 1]
            found[i] = high[i] < last or (high[i] == last and low[i] <= ranges.last_low[begin - 1])


def parsed(
    texts: Sequence[bytes],
) -> tuple[NDArray[np.bool_], NDArray[np.uint64], NDArray[np.uint64]]:
    """Return for each text: (it is an address, high, low)."""
    n = len(texts)
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    columns = (np.empty(n, np.bool_), np.empty(n, np.uint64), np.empty(n, np.uint64))
    parse_each(frozen(np.frombuffer(b"".join(texts) or b"\n", np.uint8)), frozen(ends), *columns)
    return columns


@kernel
def parse_each(
    buffer: Bytes,
    ends: NDArray[np.int64],
    good: NDArray[np.bool_],
    high: NDArray[np.uint64],
    low: NDArray[np.uint64],
) -> None:
    """Do what `parsed` says of texts that lie end to end; its input is read-only."""
    for i in range(len(ends)):
        start = ends[i - 1] if i > 0 else 0
        good[i], high[i], low[i] = parse_address(buffer, start, ends[i])
