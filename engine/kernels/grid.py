"""Threshold sets as bits: which combinations of a rule flag an address, and whom a set flags.

A combination is a rule with one choice of its thresholds; a set has one combination of each rule.
Bit k % 64 of word k // 64 stands for combination k, or for address k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compiled import kernel

BITS = 64


@kernel
def any_of(
    places: NDArray[np.int64], triples: NDArray[np.int64], bits: NDArray[np.uint64], n: int
) -> NDArray[np.uint64]:
    """Return uint64[n, w]: of each address the combinations that hold in one of its windows.

    places, triples int64[rows]: whose window it was and what was counted in it; bits uint64[t, w]:
    the combinations that hold for each of the t distinct counts.
    """
    out = np.zeros((n, bits.shape[1]), np.uint64)
    for i in range(len(places)):
        for w in range(bits.shape[1]):
            out[places[i], w] |= bits[triples[i], w]
    return out


@kernel
def by_combination(held: NDArray[np.uint64], n_combinations: int) -> NDArray[np.uint64]:
    """Return uint64[n_combinations, words]: the addresses of each; held is what `any_of` says."""
    n = len(held)
    out = np.zeros((n_combinations, (n + BITS - 1) // BITS), np.uint64)
    for place in range(n):
        bit = np.uint64(1) << np.uint64(place % BITS)
        for w in range(held.shape[1]):
            word, k = held[place, w], w * BITS
            while word:
                if word & np.uint64(1) and k < n_combinations:
                    out[k, place // BITS] |= bit
                word >>= np.uint64(1)
                k += 1
    return out


@kernel
def count_bits(word: np.uint64) -> np.int64:
    """Return how many bits are set (Warren, Hacker's Delight, 5-1)."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + (
        (word >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def flagged_by_set(
    sets: NDArray[np.int64], addresses: NDArray[np.uint64], groups: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return int64[n_sets, g]: how many addresses of each group a set flags.

    sets int64[n_sets, n_rules]: rows of `addresses`, one combination for each rule; addresses
    uint64[n, words]; groups uint64[g, words].
    """
    out = np.zeros((len(sets), len(groups)), np.int64)
    for s in range(len(sets)):
        for w in range(addresses.shape[1]):
            word = np.uint64(0)
            for r in range(sets.shape[1]):
                word |= addresses[sets[s, r], w]
            for g in range(len(groups)):
                out[s, g] += count_bits(word & groups[g, w])
    return out
