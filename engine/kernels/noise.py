"""JSON-array noise: the brackets and commas that a JSON array leaves on each of its lines.

A generator that writes one array, one object a line, gives lines like `[{..},`, `{..},`, `{..}]`.
`clean_bounds` is the only place that knows what of such a line is noise; the decode kernel and
`tools/jsonfilter.py` both call it. It moves two bounds and never reads or changes the JSON, so a
line without noise stays as it is, byte for byte.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compiled import kernel

TAB, NEWLINE, RETURN, SPACE, COMMA = 9, 10, 13, 32, 44
OPEN_BRACKET, CLOSE_BRACKET = 91, 93


@kernel
def is_space(byte: int) -> bool:
    """Whether `byte` is JSON whitespace: space, tab, line feed, carriage return."""
    return byte in (SPACE, NEWLINE, RETURN, TAB)


@kernel
def strip_space(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """Bounds of `buffer[start:end]` without outer whitespace; equal when nothing is left."""
    while start < end and is_space(buffer[start]):
        start += 1
    while start < end and is_space(buffer[end - 1]):
        end -= 1
    return start, end


@kernel
def clean_bounds(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """Bounds of `buffer[start:end]` (uint8[:], may be read-only) without array noise; no copy.

    Noise is there when the first byte that is not whitespace is `[`, or the last is `,` or `]`.
    Then outer whitespace, one leading `[`, one trailing `,` or `]`, and whitespace again go.
    """
    first, last = strip_space(buffer, start, end)
    if first == last:
        return start, end
    opened = buffer[first] == OPEN_BRACKET
    closed = buffer[last - 1] == COMMA or buffer[last - 1] == CLOSE_BRACKET
    if not opened and not closed:
        return start, end
    if opened:
        first += 1
    if closed:
        last -= 1
    return strip_space(buffer, first, last)


@kernel
def _clean_block(block: NDArray[np.uint8], cleaned: NDArray[np.uint8]) -> int:
    """Write the cleaned lines of `block` (uint8[n]) to `cleaned` (uint8[n]); return bytes used."""
    n_bytes = len(block)
    line_start = 0
    n_out = 0
    while line_start < n_bytes:
        line_end = line_start
        while line_end < n_bytes and block[line_end] != NEWLINE:
            line_end += 1
        first, last = clean_bounds(block, line_start, line_end)
        cleaned[n_out : n_out + last - first] = block[first:last]
        n_out += last - first
        if line_end < n_bytes:
            cleaned[n_out] = NEWLINE
            n_out += 1
        line_start = line_end + 1
    return n_out


def clean_lines(data: bytes) -> bytes:
    r"""Clean each `\n`-ended line of `data`; empty and clean lines and the last line's end stay."""
    block = np.frombuffer(data, dtype=np.uint8)
    cleaned = np.empty_like(block)
    return cleaned[: _clean_block(block, cleaned)].tobytes()
