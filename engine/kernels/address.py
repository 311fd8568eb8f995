"""Addresses as two unsigned 64-bit words: parsed once from text, rendered once for the sink.

An IPv4 address is its IPv4-mapped IPv6 form, so `::ffff:1.2.3.4` and `1.2.3.4` are one key and a
prefix is arithmetic on the words. Text is canonical: dotted for IPv4, RFC 5952 for IPv6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compiled import kernel

Bytes = NDArray[np.uint8]
Int = int | np.int64  # what a kernel takes for a whole number
Words = tuple[bool, np.uint64, np.uint64]

MAX_TEXT_BYTES = 45
MAPPED = np.uint64(0xFFFF00000000)
NO_WORDS: Words = (False, np.uint64(0), np.uint64(0))

_DOT, _COLON, _ZERO, _NINE = 46, 58, 48, 57


@kernel
def scan_v4(buffer: Bytes, i: int, end: int) -> tuple[int, Int]:
    """Return (position after, 32-bit value) of a dotted quad at i, or (-1, 0); no leading zeros."""
    value: Int = 0
    for n_octets in range(4):
        if n_octets > 0:
            if i >= end or buffer[i] != _DOT:
                return -1, 0
            i += 1
        first, octet = i, np.int64(0)
        while i < end and i < first + 3 and _ZERO <= buffer[i] <= _NINE:
            octet = octet * 10 + (np.int64(buffer[i]) - _ZERO)
            i += 1
        n_digits = i - first
        if n_digits == 0 or octet > 255 or (n_digits > 1 and buffer[first] == _ZERO):
            return -1, 0
        value = value * 256 + octet
    return i, value


@kernel
def parse_v4(buffer: Bytes, start: int, end: int) -> tuple[bool, Int]:
    """Return (ok, 32-bit value) of the dotted quad buffer[start:end]."""
    after, value = scan_v4(buffer, start, end)
    return after == end, value


@kernel
def hex_digit(byte: Int) -> Int:
    """Return the value of an ASCII hex digit, or -1."""
    if _ZERO <= byte <= _NINE:
        return byte - _ZERO
    lower = byte | 0x20
    return lower - 87 if 97 <= lower <= 102 else -1


@kernel
def parse_v6(buffer: Bytes, start: int, end: int) -> Words:
    """Return (ok, high, low) of the IPv6 text buffer[start:end] (RFC 4291, 2.2; no zone)."""
    before_h, before_l = np.uint64(0), np.uint64(0)
    after_h, after_l = np.uint64(0), np.uint64(0)
    n_before, n_after, gap = 0, 0, False
    i = start
    while i < end:
        if buffer[i] == _COLON and i + 1 < end and buffer[i + 1] == _COLON:
            if gap:
                return NO_WORDS
            gap = True
            i += 2
            if i == end:
                break
        elif i > start:
            if buffer[i] != _COLON:
                return NO_WORDS
            i += 1
        group: Int = np.int64(0)
        n_digits, first = 0, i
        while i < end and n_digits <= 4:
            digit = hex_digit(np.int64(buffer[i]))
            if digit < 0:
                break
            group = group * 16 + digit
            n_digits += 1
            i += 1
        if n_digits == 0 or n_digits > 4:
            return NO_WORDS
        n_groups, bits = 1, np.uint64(16)
        if i < end and buffer[i] == _DOT:
            ok, group = parse_v4(buffer, first, end)
            if not ok:
                return NO_WORDS
            i, n_groups, bits = end, 2, np.uint64(32)
        back = np.uint64(64) - bits
        if gap:
            after_h = (after_h << bits) | (after_l >> back)
            after_l = (after_l << bits) | np.uint64(group)
            n_after += n_groups
        else:
            before_h = (before_h << bits) | (before_l >> back)
            before_l = (before_l << bits) | np.uint64(group)
            n_before += n_groups
        if n_before + n_after > 8:
            return NO_WORDS
    if not gap:
        return n_before == 8, before_h, before_l
    if n_before + n_after > 7:
        return NO_WORDS
    shift = 16 * (8 - n_before)
    high, low = shift_left(before_h, before_l, shift)
    return True, high | after_h, low | after_l


@kernel
def shift_left(high: np.uint64, low: np.uint64, n_bits: int) -> tuple[np.uint64, np.uint64]:
    """Return the 128-bit word shifted left by a multiple of 16, from 16 to 128."""
    if n_bits >= 128:
        return np.uint64(0), np.uint64(0)
    if n_bits >= 64:
        return low << np.uint64(n_bits - 64), np.uint64(0)
    bits = np.uint64(n_bits)
    return (high << bits) | (low >> (np.uint64(64) - bits)), low << bits


@kernel
def parse_address(buffer: Bytes, start: int, end: int) -> Words:
    """Return (ok, high, low) of the address text buffer[start:end], IPv4 as mapped."""
    if end - start > MAX_TEXT_BYTES:
        return NO_WORDS
    for i in range(start, min(end, start + 5)):
        if buffer[i] == _COLON:
            return parse_v6(buffer, start, end)
        if buffer[i] == _DOT:
            break
    ok, value = parse_v4(buffer, start, end)
    return ok, np.uint64(0), MAPPED | np.uint64(value)


@kernel
def put_int(out: Bytes, at: int, value: Int) -> int:
    """Write a non-negative or negative int64 in decimal at out[at:]; return the end."""
    if value < 0:
        out[at] = 45
        at += 1
        value = -value
    width, rest = 1, value // 10
    while rest > 0:
        rest //= 10
        width += 1
    for i in range(at + width - 1, at - 1, -1):
        out[i] = _ZERO + value % 10
        value //= 10
    return at + width


@kernel
def put_v4(out: Bytes, at: int, value: Int) -> int:
    """Write the 32-bit value as a dotted quad at out[at:]; return the end."""
    for shift in (24, 16, 8, 0):
        at = put_int(out, at, (value >> shift) & 255)
        if shift > 0:
            out[at] = _DOT
            at += 1
    return at


@kernel
def group_of(high: np.uint64, low: np.uint64, i: int) -> Int:
    """Return the i-th of the eight 16-bit groups."""
    word = high if i < 4 else low
    return np.int64((word >> np.uint64(16 * (3 - i % 4))) & np.uint64(0xFFFF))


@kernel
def longest_zero_run(high: np.uint64, low: np.uint64) -> tuple[int, int]:
    """Return (first, length) of the longest run of two or more zero groups, the first of equals."""
    best, best_length, i = 8, 1, 0
    while i < 8:
        first = i
        while i < 8 and group_of(high, low, i) == 0:
            i += 1
        if i - first > best_length:
            best, best_length = first, i - first
        i += 1
    return best, best_length if best < 8 else 0


@kernel
def put_v6(out: Bytes, at: int, high: np.uint64, low: np.uint64) -> int:
    """Write RFC 5952 text at out[at:]; return the end."""
    gap, gap_length = longest_zero_run(high, low)
    i = 0
    while i < 8:
        if i == gap:
            out[at] = _COLON
            out[at + 1] = _COLON
            at += 2
            i += gap_length
            continue
        if i > 0 and i != gap + gap_length:
            out[at] = _COLON
            at += 1
        group, started = group_of(high, low, i), False
        for shift in (12, 8, 4, 0):
            digit = (group >> shift) & 15
            if digit > 0 or started or shift == 0:
                out[at] = digit + (_ZERO if digit < 10 else 87)
                at += 1
                started = True
        i += 1
    return at


@kernel
def put_address(out: Bytes, at: int, high: np.uint64, low: np.uint64) -> int:
    """Write the canonical text of an address at out[at:] (45 bytes at most); return the end."""
    if high == np.uint64(0) and (low >> np.uint64(32)) == np.uint64(0xFFFF):
        return put_v4(out, at, np.int64(low & np.uint64(0xFFFFFFFF)))
    return put_v6(out, at, high, low)
