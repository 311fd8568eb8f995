"""The hash slots of a Redis Cluster, for a whole block of rendered commands at once.

A slot is CRC16 of the key, modulo 16,384. The CRC is the one that the cluster specification calls
XMODEM (Redis: "Redis cluster specification", appendix A; ITU-T V.41): polynomial 0x1021, begun with
0, neither reflected nor inverted. Keys are read off the commands, so nothing here knows what a
command says; a key's `{hash tag}` stands for all of it, as the servers have it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Bytes
from engine.kernels.compiled import kernel
from engine.kernels.frozen import frozen

N_SLOTS = 16_384
POLYNOMIAL = 0x1021
_OPEN, _CLOSE, _RETURN = ord("{"), ord("}"), ord("\r")
_E, _V = ord("E"), ord("V")


def crc_table() -> NDArray[np.int64]:
    """Return what each byte makes of a CRC (int64[256])."""
    rest = np.arange(256, dtype=np.int64) << 8
    for _ in range(8):
        rest = np.where(rest & 0x8000, rest << 1 ^ POLYNOMIAL, rest << 1) & 0xFFFF
    return rest


TABLE = crc_table()


@kernel
def crc16(text: Bytes, start: int, end: int) -> int:
    """Return the CRC of text[start:end]."""
    crc = int(np.int64(0))
    for i in range(start, end):
        crc = ((crc << 8) & 0xFFFF) ^ int(TABLE[(crc >> 8) ^ int(text[i])])
    return crc


@kernel
def slot_of(text: Bytes, start: int, end: int) -> int:
    """Return the slot of the key text[start:end].

    Only what is between the first `{` and the next `}` counts, unless that is nothing.
    """
    for i in range(start, end):
        if text[i] == _OPEN:
            for k in range(i + 1, end):
                if text[k] == _CLOSE:
                    if k > i + 1:
                        return crc16(text, i + 1, k) & (N_SLOTS - 1)
                    break
            break
    return crc16(text, start, end) & (N_SLOTS - 1)


@kernel
def number_at(text: Bytes, at: int) -> tuple[int, int]:
    """Return the number behind the mark at text[at], and where the next line begins."""
    value = int(np.int64(0))
    at += 1
    while text[at] != _RETURN:
        value = value * 10 + int(text[at]) - 48
        at += 1
    return value, at + 2


class Place(NamedTuple):
    """Where each command of a block ends, and the slot of its key (int64[n] each)."""

    ends: NDArray[np.int64]
    slots: NDArray[np.int64]


def places(block: Bytes, n: int) -> Place:
    """Return where the n commands of a block belong.

    The key is the first word behind the command's name; a script's, the first behind its number of
    keys.
    """
    return Place(*find_places(frozen(block), n))


@kernel
def find_places(block: Bytes, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Do what `places` says; the block is read-only."""
    ends, slots = np.empty(n, np.int64), np.empty(n, np.int64)
    at = int(np.int64(0))
    for row in range(n):
        n_words, at = number_at(block, at)
        key = 1
        for word in range(n_words):
            size, at = number_at(block, at)
            if word == 0 and block[at] == _E and block[at + 1] == _V:  # EVALSHA
                key = 3
            if word == key:
                slots[row] = slot_of(block, at, at + size)
            at += size + 2
        ends[row] = at
    return ends, slots


def some_of(block: Bytes, ends: NDArray[np.int64], rows: NDArray[np.int64], before: Bytes) -> Bytes:
    """Return some commands of a block (uint8), each with the bytes `before` ahead of it."""
    return copy_some(frozen(block), frozen(ends), frozen(rows), frozen(before))


@kernel
def copy_some(
    block: Bytes, ends: NDArray[np.int64], rows: NDArray[np.int64], before: Bytes
) -> Bytes:
    """Do what `some_of` says; all arrays are read-only."""
    size = len(rows) * len(before)
    for row in rows:
        size += ends[row] - (ends[row - 1] if row > 0 else 0)
    out, at = np.empty(size, np.uint8), 0
    for row in rows:
        out[at : at + len(before)] = before
        at += len(before)
        begin = ends[row - 1] if row > 0 else 0
        n_bytes = ends[row] - begin
        out[at : at + n_bytes] = block[begin : begin + n_bytes]
        at += n_bytes
    return out
