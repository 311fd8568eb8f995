"""Whether each single write of a peer was right: all commands that Valkey executed are compared.

For few events, since MONITOR slows the server; the timed runs compare totals and final keys.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from benchmarks.peers.truth import COUNTS, decoded, is_flagged, newest
from tests.services.monitor import Command

WRITES = {b"SET", b"SETEX"}
ROW = ("ip", *COUNTS)


def written(commands: Iterable[Command], prefix: str) -> pl.DataFrame:
    """Return the distinct rows that were written under a prefix, without what was not yet final."""
    keys, values = [], []
    for command in commands:
        name, *rest = command.args
        if name.upper() in WRITES and rest[0].startswith(prefix.encode()):
            keys.append(rest[0].decode())
            values.append(next(word.decode() for word in rest[1:] if word.startswith(b"{")))
    final = decoded(keys, values, prefix).filter(pl.col("final").is_null() | pl.col("final"))
    return final.select(ROW).unique()


def wrong_writes(commands: list[Command], right: pl.DataFrame, *, newest_only: bool) -> list[str]:
    """Say what was written and is not right, or was not written; nothing if all is well.

    With `newest_only` older statistics of an address may be left out, as the engine does.
    """
    statistics = written(commands, "stat_")
    needed = newest(right) if newest_only else right
    return [
        *compared("stat_ written", statistics, right, needed=needed),
        *compared("bot_ written", written(commands, "bot_"), right.filter(is_flagged())),
    ]


def compared(
    what: str, found: pl.DataFrame, right: pl.DataFrame, *, needed: pl.DataFrame | None = None
) -> list[str]:
    """Say how many rows are not right, and how many are missing."""
    needed = right if needed is None else needed
    n_wrong = len(found.join(right, on=ROW, how="anti"))
    n_missing = len(needed.join(found, on=ROW, how="anti"))
    return [f"{what}: {n_wrong:,} rows wrong, {n_missing:,} missing"] if n_wrong + n_missing else []
