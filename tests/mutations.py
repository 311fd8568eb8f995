"""Records broken in all ways that a producer, a disk or an attacker may break them.

`mutated` breaks one record, `split_anew` two neighbours. All luck is from the Random that is given.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from random import Random

from tests.records import FRAGMENTS

TOKENS = re.compile(rb'"[^"]*"|[\w.+-]+|.', re.DOTALL)


def mutated(value: bytes, random: Random) -> bytes:
    """Return the value broken in one to three places."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        value = random.choice(MUTATIONS)(value, random)
    return value


def flip(value: bytes, random: Random) -> bytes:
    """Change one byte: one bit of it, or to any other."""
    if not value:
        return value
    at = random.randrange(len(value))
    byte = random.choice((value[at] ^ 1 << random.randrange(8), random.randrange(256)))
    return value[:at] + bytes([byte]) + value[at + 1 :]


def cut(value: bytes, random: Random) -> bytes:
    """Leave out a slice, often all to the end."""
    a, b = sorted(random.randrange(len(value) + 1) for _ in range(2))
    return random.choice((value[:a], value[:a] + value[b:], value[: a + 1] + value[a + 2 :]))


def double(value: bytes, random: Random) -> bytes:
    """Insert a slice of the value again, somewhere."""
    a, b = sorted(random.randrange(len(value) + 1) for _ in range(2))
    at = random.choice((b, random.randrange(len(value) + 1)))
    return value[:at] + value[a:b] + value[at:]


def insert(value: bytes, random: Random) -> bytes:
    """Insert a piece of JSON, or of what is none, somewhere."""
    at = random.randrange(len(value) + 1)
    return value[:at] + random.choice(FRAGMENTS) + value[at:]


def swap(value: bytes, random: Random) -> bytes:
    """Let two tokens change places."""
    tokens = TOKENS.findall(value)
    if not tokens:
        return value
    a, b = (random.randrange(len(tokens)) for _ in range(2))
    tokens[a], tokens[b] = tokens[b], tokens[a]
    return b"".join(tokens)


def escape(value: bytes, random: Random) -> bytes:
    """Write one ASCII letter or digit as an escape, wherever it stands."""
    places = [at for at, byte in enumerate(value) if chr(byte).isalnum() and byte < 0x80]
    if not places:
        return value
    at = random.choice(places)
    return value[:at] + b"\\u%04x" % value[at] + value[at + 1 :]


def join(value: bytes, random: Random) -> bytes:
    """Put two records into one, or a record and a half."""
    other = random.choice((value, value, value[: len(value) // 2], b"{}", b"[]"))
    return value + random.choice((b"", b",", b"\n", b"\r\n", b" ", b"\x00", b"],[")) + other


def encode(value: bytes, random: Random) -> bytes:
    """Encode the text otherwise, put a byte order mark in front, or compress it."""
    text = value.decode("latin-1")
    encodings = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "cp037")
    form = random.randrange(len(encodings) + 1)
    if form == len(encodings):
        return gzip.compress(value, mtime=0)
    return text.encode(encodings[form], "replace")


MUTATIONS: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(flip, flip, cut, cut, double, double, insert, insert, insert, insert),
    *(swap, swap, escape, join, encode),
)


def split_anew(values: list[bytes], random: Random) -> list[bytes]:
    """Return two neighbours with the border between them moved: together they are still the same.

    What a reader gets who glues records together is right in all; each record for itself is broken.
    """
    at = random.randrange(len(values) - 1)
    both = values[at] + values[at + 1]
    border = random.randrange(len(both) + 1)
    return [*values[:at], both[:border], both[border:], *values[at + 2 :]]
