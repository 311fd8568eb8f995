"""Codes of categories: the first 64 that a run sees have a bit each, so most sets are one word.

A list of an address's categories costs a cache miss an entry, and nearly all of them are among the
few that everybody looks at. Codes are never given back; what they are decides no result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.kernels.address import Int
from engine.kernels.compiled import kernel
from engine.kernels.table import EMPTY

N_CODES, N_SLOTS = 64, 256
FOLD = 0x9E3779B97F4A7C15
"""2^64 / golden ratio: its high bits spread neighbouring numbers (Knuth, TAOCP 3, 6.4)."""


class Codes(NamedTuple):
    """slots int8[256] -> values int64[64], of which used int64[1] have a code."""

    slots: NDArray[np.int8]
    values: NDArray[np.int64]
    used: NDArray[np.int64]


def empty_codes() -> Codes:
    """Return codes for nothing yet."""
    return Codes(
        np.full(N_SLOTS, EMPTY, np.int8), np.zeros(N_CODES, np.int64), np.zeros(1, np.int64)
    )


@kernel
def code_of(codes: Codes, value: Int) -> Int:
    """Return the code of a category, a new one while there are any, else EMPTY."""
    at = np.uint64(value) * np.uint64(FOLD) >> np.uint64(56)
    while codes.slots[at] != EMPTY:
        code: Int = codes.slots[at]
        if codes.values[code] == value:
            return code
        at = (at + np.uint64(1)) & np.uint64(N_SLOTS - 1)
    new: Int = codes.used[0]
    if new == N_CODES:
        return EMPTY
    codes.slots[at], codes.values[new] = new, value
    codes.used[0] += 1
    return new
