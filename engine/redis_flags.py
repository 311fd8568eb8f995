"""Looks through Redis for addresses that hold a decision, without KEYS and within a bound.

Each layout has its own cursor command; a step looks at about a thousand entries. Redis is busy with
one step for less than a millisecond, so that whoever else uses it does not notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from engine.sink_config import SinkConf

STEP = 1_000
MAX_LOOKED_AT = 1_000_000
COUNT = ("COUNT", str(STEP))

Ask = Callable[..., Any]
Pick = Callable[[list[bytes]], list[bytes]]


class Scan(NamedTuple):
    """How to go through what holds decisions: a command around its cursor, and entry to address."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    address: Callable[[bytes], bytes]

    @property
    def key(self) -> str | None:
        """The one key that holds all decisions, if it is one."""
        return self.before[1] if len(self.before) > 1 else None


class Found(NamedTuple):
    """What was picked; `whole` where nothing was left unseen."""

    addresses: list[bytes]
    whole: bool


def scan_of(conf: SinkConf) -> Scan:
    """Return how to go through the decisions of a layout."""
    if conf.layout == "hash":
        return Scan(("HSCAN", "bots"), (*COUNT, "NOVALUES"), lambda field: field)
    if conf.layout == "sets":
        return Scan(("SSCAN", "bots"), COUNT, address_of_member)
    prefix = conf.prefix.decision
    match = ("MATCH", f"{glob(prefix)}*", *COUNT)
    return Scan(("SCAN",), match, lambda key: key.removeprefix(prefix.encode()))


def address_of_member(member: bytes) -> bytes:
    """Return the address in `ip: 192.0.2.1, event rate: ...`."""
    return member.removeprefix(b"ip: ").partition(b",")[0]


def look(asks: list[Ask], scan: Scan, pick: Pick) -> Found | None:
    """Return which addresses with a decision `pick` takes; None where Redis went away."""
    found, whole = set[bytes](), True
    for ask in asks:
        seen = look_at(ask, scan, pick, most=MAX_LOOKED_AT // len(asks))
        if seen is None:
            return None
        found.update(seen.addresses)
        whole &= seen.whole
    return Found(sorted(found), whole) if asks else None


def look_at(ask: Ask, scan: Scan, pick: Pick, *, most: int) -> Found | None:
    """Look through one server."""
    cursor, found, n_looked_at = "0", set[bytes](), 0
    while n_looked_at < most:
        reply = ask(*scan.before, cursor, *scan.after)
        if reply is None:
            return None
        cursor, entries = reply[0].decode(), reply[1]
        found.update(pick([scan.address(entry) for entry in entries]))
        n_looked_at += STEP
        if cursor == "0":
            break
    return Found(list(found), whole=cursor == "0")


def glob(text: str) -> str:
    """Return a pattern that matches this text only."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", text)
