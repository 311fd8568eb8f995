"""From Kafka's records to a stream of events, by the engine's own decoder in Spark's workers.

Each Arrow batch of records is decoded as a micro-batch of the local engine is, so what is an event,
and why something is not, are the same code. An address is its two words as signed numbers: Spark
has no unsigned ones, and only bits count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.batch.decode import DecodedBatch, Records, decode, decode_options
from engine.kernels.decode import REASONS
from engine.kernels.fields import CLICK, UNKNOWN

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

EVENT = "time LONG, category LONG, high LONG, low LONG, is_click BOOLEAN"
DECODED = f"reason TINYINT, is_unknown BOOLEAN, {EVENT}"
OBSERVED = "records"

ArrowMap = Callable[[Iterator["pa.RecordBatch"]], Iterator["pa.RecordBatch"]]


def events_in(records: DataFrame, settings: dict[str, Any]) -> DataFrame:
    """Return the events of a stream of records; what is none is only counted, by its reason."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    columns = records.select("value", "partition", "offset", "timestamp")
    decoded = columns.mapInArrow(decoder(settings), DECODED)
    counts = [f.count_if(f.col("reason") == code) for code in range(len(REASONS))]
    names = [name or "events" for name in REASONS]
    observed = decoded.observe(
        OBSERVED,
        *[count.alias(name) for count, name in zip(counts, names, strict=True)],
        f.count_if("is_unknown").alias("unknown_type"),
        f.max("time").alias("newest_s"),
    )
    return observed.where("reason = 0").drop("reason", "is_unknown")


def decoder(settings: dict[str, Any]) -> ArrowMap:
    """Return what a worker does with Arrow batches of records."""

    def decode_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        options = decode_options(**settings)
        for batch in batches:
            yield from rows_of(decode(records_of(batch), options))

    return decode_batches


def records_of(batch: pa.RecordBatch) -> Records:
    """Return an Arrow batch of Kafka's columns as records; the bytes stay where they are."""
    value, partition, offset, timestamp = (batch.column(i) for i in range(4))
    _, bounds, content = value.buffers()
    edges = np.frombuffer(bounds, np.int32)[value.offset : value.offset + len(value) + 1]
    starts, ends = edges[:-1].astype(np.int64), edges[1:].astype(np.int64)
    ends[~np.asarray(value.is_valid())] = -1
    return Records(
        np.frombuffer(content if content else b"\n", np.uint8),
        starts,
        ends,
        np.asarray(partition, np.int32),
        np.asarray(offset, np.int64),
        np.asarray(timestamp.cast("timestamp[ms]", safe=False).cast("int64")),
    )


def rows_of(decoded: DecodedBatch) -> Iterator[pa.RecordBatch]:
    """Yield the events, then a row for each reject with the number of its reason."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    events = decoded.events
    kind = events["kind"].to_numpy()
    yield row_batch(
        np.zeros(len(events), np.int8),
        kind == UNKNOWN,
        *(events[name].to_numpy() for name in ("time", "category")),
        *(events[name].to_numpy().view(np.int64) for name in ("high", "low")),
        kind == CLICK,
    )
    codes = [REASONS.index(reason) for reason in decoded.rejects["reason"]]
    if codes:
        nothing = pa.nulls(len(codes), pa.int64())
        no = np.zeros(len(codes), np.bool_)
        yield row_batch(np.array(codes, np.int8), no, nothing, nothing, nothing, nothing, no)


def row_batch(*columns: NDArray[Any] | pa.Array) -> pa.RecordBatch:
    """Return columns as an Arrow batch of DECODED."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    names = [column.split()[0] for column in DECODED.split(", ")]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], names)
