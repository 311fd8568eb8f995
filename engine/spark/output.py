"""From Spark's verdicts to Redis, in the workers, by the engine's own writer and sink.

Key layout, TTLs, allowlist and mass insertion are therefore the same code. A partition has all
windows of its addresses; the writer writes decisions first, then of each address its newest
statistics. Another worker may have written an address before, so its first decision in a batch is
compared with what Redis holds. A batch that Spark repeats writes the same values again, and expiry
counts from their windows.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from engine.allowlist import Allowlist
from engine.assembly import nobody, redis_writer
from engine.batch.decode import NO_REJECTS
from engine.batch.verdict import VERDICT_SCHEMA, Verdicts
from engine.dead_letter import NoDeadLetter
from engine.guards import Guards
from engine.metrics import Metrics
from engine.redis_sink import RedisSink
from engine.rules import RuleSet
from engine.sink_config import SinkConf
from engine.sinks import timing
from engine.spark.events import ArrowMap
from engine.state import Outcome
from engine.writer import Writer

if TYPE_CHECKING:
    import pyarrow as pa

TOTALS = ("verdicts", "flagged", "keys_written", "expired", "suppressed_allowlisted")
WRITTEN = ", ".join(f"{name} LONG" for name in TOTALS)


class Output(NamedTuple):
    """What a worker must know to write."""

    conf: SinkConf
    rules: RuleSet
    event_clock: bool
    allowlist: Allowlist


def writing(output: Output) -> ArrowMap:
    """Return what a worker does with the verdicts of a partition; it yields a row of totals."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa  # noqa: PLC0415 - an extra

        frames = [pl.DataFrame(pl.from_arrow(batch)) for batch in batches]
        verdicts = windows_of(pl.concat(frames), output.rules) if frames else []
        metrics = written(verdicts, output) if verdicts else Metrics()
        yield pa.RecordBatch.from_pylist([{name: getattr(metrics, name) for name in TOTALS}])

    return write


def windows_of(rows: pl.DataFrame, rules: RuleSet) -> list[Verdicts]:
    """Return the verdicts of each window, in the order in which the local engine closes them."""
    ordered = rows.sort("end_s", pl.col("end_s") - pl.col("start_s"), maintain_order=True)
    return [
        Verdicts(start_s, end_s, True, False, frame_of(frame), is_base=is_base)
        for (start_s, end_s), frame in ordered.group_by("start_s", "end_s", maintain_order=True)
        for is_base in [end_s - start_s == rules.base.length_s]
    ]


def frame_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return Spark's rows as a frame of VERDICT_SCHEMA: words and masks get their sign bit back."""
    words = {name: rows[name].to_numpy().view(np.uint64) for name in ("high", "low", "mask")}
    columns = rows.with_columns(
        **{name: pl.Series(word) for name, word in words.items()},
        new_mask=pl.Series(words["mask"]),
        crossed_ms=pl.col("end_s") * 1000,
    )
    return columns.select(pl.col(name).cast(kind) for name, kind in VERDICT_SCHEMA.items())


def written(verdicts: list[Verdicts], output: Output) -> Metrics:
    """Write verdicts; return when all are acknowledged."""
    metrics = Metrics()
    sink = sink_of(output, metrics)
    writer = writer_to(sink, output, metrics)
    try:
        writer.open()
        writer.take(Outcome(0, verdicts, NO_REJECTS, None, ended=True))
        while writer.write_some():
            pass
    finally:
        sink.close()
    return metrics


def sink_of(output: Output, metrics: Metrics) -> RedisSink:
    """Return the engine's sink; a task is ended by Spark, so nothing here stops it."""
    conf, rules = output.conf, output.rules
    return RedisSink(
        conf,
        rules,
        timing(conf, rules, event_clock=output.event_clock),
        writer=redis_writer(conf, rules, metrics, stopping=threading.Event()),
        seed=np.uint64(secrets.randbits(63)),
        stage=metrics.stage,
    )


def writer_to(sink: RedisSink, output: Output, metrics: Metrics) -> Writer:
    """Return the engine's writer, with the guards that need no view of all addresses."""
    conf, mask = output.conf, output.rules.enforce_mask

    def count(verdicts: Verdicts, *, now_s: float, n_expired: int) -> None:
        metrics.verdicts += len(verdicts.frame)
        metrics.flagged += len(verdicts.flagged(mask).frame)

    writer = Writer(
        sink,
        statistics=conf.statistics,
        newest_only=conf.layout != "sets",
        enforce_mask=mask,
        clock=time.time,
        dead_letter=NoDeadLetter(),
        observe=count,
        metrics=metrics,
    )
    guards = Guards(
        output.allowlist, None, enforce_mask=mask, flagged_among=nobody, metrics=metrics
    )
    writer.let_through = guards.let_through
    return writer
