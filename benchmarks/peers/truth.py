"""What the right rows are, by one Polars group-by over the same traffic; whether Redis has them.

Shares nothing with the engine or a peer. A strict watermark engine leaves the windows open that end
after the newest event less the lateness; for it only the closed ones are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import polars as pl
import redis

WINDOW_S, DELAY_S = 10, 10
EVENT = {"unix_time": pl.Int64, "category_id": pl.Int64, "ip": pl.String, "type": pl.String}
COUNTS = ("window_start", "window_end", "events", "clicks", "views", "categories")
VALUE = pl.Struct(dict.fromkeys(COUNTS, pl.Int64) | {"final": pl.Boolean})
KEYS_PER_CALL = 10_000


class Truth(NamedTuple):
    """Totals over all rows, and of each address the newest row and the newest flagged one."""

    rows: int
    flagged: int
    counted: int
    statistics: pl.DataFrame
    decisions: pl.DataFrame

    @classmethod
    def of(cls, rows: pl.DataFrame) -> Self:
        """Sum up the rows of (address, window)."""
        flagged = rows.filter(is_flagged())
        n_counted = int(rows["events"].sum())
        return cls(len(rows), len(flagged), n_counted, newest(rows), newest(flagged))


def is_flagged() -> pl.Expr:
    """Return the rules of `rules=seed`."""
    events, clicks, views, categories = (pl.col(name) for name in COUNTS[2:])
    return (events > 10) | (views == 0) | (clicks // views > 3) | (categories > 10)


def newest(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the row of the last window of each address, by address."""
    last = pl.col("window_start") == pl.col("window_start").max().over("ip")
    return rows.filter(last).select("ip", *COUNTS).sort("ip")


def right_rows(path: Path) -> dict[str, pl.DataFrame]:
    """Return the rows of `all` windows and of the `closed` ones, from a file of JSON lines."""
    rows = counted(path)
    watermark_s = newest_event_s(path) - DELAY_S
    return {"all": rows, "closed": rows.filter(pl.col("window_end") <= watermark_s)}


def counted(path: Path) -> pl.DataFrame:
    """Return the counts of each address in each window."""
    start = pl.col("unix_time") // WINDOW_S * WINDOW_S
    kind = pl.col("type")
    return (
        pl.scan_ndjson(path, schema=EVENT)
        .group_by("ip", window_start=start)
        .agg(
            events=pl.len().cast(pl.Int64),
            clicks=(kind == "click").sum().cast(pl.Int64),
            views=(kind == "view").sum().cast(pl.Int64),
            categories=pl.col("category_id").n_unique().cast(pl.Int64),
        )
        .with_columns(window_end=pl.col("window_start") + WINDOW_S)
        .collect(engine="streaming")
    )


def newest_event_s(path: Path) -> int:
    """Return the time of the newest event."""
    newest_s = pl.scan_ndjson(path, schema=EVENT).select(pl.col("unix_time").max())
    return int(newest_s.collect(engine="streaming").item())


def stored(client: redis.Redis, prefix: str) -> pl.DataFrame:
    """Return what Redis holds under a prefix, by address."""
    keys = sorted(client.scan_iter(match=f"{prefix}*", count=KEYS_PER_CALL))
    values = [value for part in parts(keys) for value in client.mget(part)]
    return decoded(keys, values, prefix).select("ip", *COUNTS).sort("ip")


def decoded(keys: Sequence[str], values: Sequence[str | None], prefix: str) -> pl.DataFrame:
    """Return what the values of some keys say; `final` is null but in the engine's decisions."""
    schema = {"ip": pl.String, "value": pl.String}
    frame = pl.DataFrame({"ip": keys, "value": values}, schema=schema)
    frame = frame.with_columns(pl.col("value").str.json_decode(VALUE)).unnest("value")
    return frame.with_columns(pl.col("ip").str.strip_prefix(prefix))


def parts(keys: list[Any]) -> Iterable[list[Any]]:
    """Yield the keys, a call's worth at a time."""
    for i in range(0, len(keys), KEYS_PER_CALL):
        yield keys[i : i + KEYS_PER_CALL]


def differences(truth: Truth, told: dict[str, Any], client: redis.Redis) -> list[str]:
    """Say what is not as it should be; nothing if all is."""
    wrong = [
        f"{name} {told[name]:,} instead of {getattr(truth, name):,}"
        for name in ("rows", "flagged", "counted")
        if told[name] != getattr(truth, name)
    ]
    for prefix, right in (("stat_", truth.statistics), ("bot_", truth.decisions)):
        found = stored(client, prefix)
        if not found.equals(right):
            n_right = len(found.join(right, on=found.columns))
            wrong.append(f"{prefix}: {n_right:,} of {len(right):,} right, {len(found):,} there")
    return wrong
