"""The journal: what each micro-batch was given and what it led to, so that it can be done again.

A row is a new assignment (`assigned`, with its checkpoints) or a micro-batch (`batch`). The records
of a batch are told as runs, in their order: what is fetched interleaves the partitions. Decisions
depend on nothing else but the rules and the windows, whose names each row has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.checkpoint import Checkpoint
from engine.batch.verdict import VERDICT_SCHEMA, Verdicts
from engine.batch.window import KEYED, WindowSpec

ASSIGNED, BATCH = "assigned", "batch"
JOURNAL_SCHEMA: dict[str, Any] = {
    "run_id": pl.String,
    "number": pl.Int64,
    "kind": pl.String,
    "epoch": pl.Int64,
    "rules_sha8": pl.String,
    "windows": pl.String,
    "clock_s": pl.Float64,
    "watermark_s": pl.Int64,
    "position": pl.List(pl.Int64),
    "idle": pl.List(pl.Boolean),
    "finished": pl.List(pl.Boolean),
    "partitions": pl.List(pl.Int32),
    "first_offsets": pl.List(pl.Int64),
    "last_offsets": pl.List(pl.Int64),
    "n_records": pl.List(pl.Int64),
    "n_events": pl.Int64,
    "n_late": pl.Int64,
    "n_verdicts": pl.Int64,
    "digest": pl.UInt64,
    "checkpoints": pl.List(pl.String),
}
FACTOR, FINAL_FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
SHIFT = np.uint64(32)
WORD = (1 << 64) - 1


class Entry(NamedTuple):
    """A row of the journal; its fields are those of JOURNAL_SCHEMA, in their order.

    number: counts the rows of a run; the four lists from `partitions` on have one item a run of
    records; digest: of all verdicts, early and final; checkpoints: the text of each partition's,
    empty where it has none, with an `assigned` row only.
    """

    run_id: str
    number: int
    kind: str
    epoch: int
    rules_sha8: str
    windows: str
    clock_s: float = 0.0
    watermark_s: int = 0
    position: list[int] = []
    idle: list[bool] = []
    finished: list[bool] = []
    partitions: list[int] = []
    first_offsets: list[int] = []
    last_offsets: list[int] = []
    n_records: list[int] = []
    n_events: int = 0
    n_late: int = 0
    n_verdicts: int = 0
    digest: int = 0
    checkpoints: list[str] = []


class Step(NamedTuple):
    """What one step was given, and how it left the windows.

    partition, offset: of each record; n_late: late events among them; assigned: the checkpoints of
    the partitions, before the first batch of an assignment only.
    """

    clock_s: float
    watermark_s: int
    position: NDArray[np.int64]
    idle: NDArray[np.bool_]
    finished: NDArray[np.bool_]
    partition: NDArray[np.int32]
    offset: NDArray[np.int64]
    n_late: int
    assigned: list[Checkpoint | None] | None


def journal_of(entries: list[Entry]) -> pl.DataFrame:
    """Return rows of the journal as a frame of JOURNAL_SCHEMA."""
    return pl.DataFrame(entries, schema=JOURNAL_SCHEMA, orient="row")


def settings_of(spec: WindowSpec) -> str:
    """Return the windows in the words of the journal."""
    keyed = ", keyed" if spec.mode == KEYED else ""
    return f"{spec.windows}, delay {spec.delay_s} s{keyed}"


def runs_of(
    partition: NDArray[np.int32], offset: NDArray[np.int64]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return partition, first and last offset and size of each run of records of one partition."""
    if not len(partition):
        return [], [], [], []
    starts = np.flatnonzero(np.diff(partition, prepend=partition[0] - 1))
    ends = np.append(starts[1:], len(partition))
    runs = (partition[starts], offset[starts], offset[ends - 1], ends - starts)
    partitions, firsts, lasts, sizes = (column.tolist() for column in runs)
    return partitions, firsts, lasts, sizes


def digest_of(verdicts: Verdicts) -> int:
    """Return a 64-bit sum over the rows: their order depends on a random seed and says nothing."""
    flags = verdicts.final | verdicts.partial << 1 | verdicts.is_base << 2
    mixed = np.zeros(len(verdicts.frame), np.uint64)
    for value in (verdicts.start_s, verdicts.end_s, flags):
        mixed = mix(mixed, np.uint64(value & WORD))
    for name in VERDICT_SCHEMA:
        mixed = mix(mixed, verdicts.frame[name].to_numpy().astype(np.uint64))
    mixed *= FINAL_FACTOR
    mixed ^= mixed >> SHIFT
    return int(mixed.sum())


def mix(mixed: NDArray[np.uint64], words: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """Return what was mixed so far with one word more of each row."""
    mixed = (mixed ^ words) * FACTOR
    mixed ^= mixed >> SHIFT
    return mixed
