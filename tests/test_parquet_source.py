"""Recorded events as a source: every row once and in order, whatever was read again and how cut."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import parquet_source
from engine.batch.decode import EVENT_SCHEMA, NO_EVENTS
from engine.errors import UnavailableError
from engine.parquet_source import ParquetSource, file_source
from engine.record import NUMBERED
from engine.sources import Assigned, Batch, FileSource
from tests import logs

CLOCK_S = 1_700_000_000.5
Place = tuple[int, int]


def events_at(places: list[Place]) -> pl.DataFrame:
    """Return an event for each partition and offset, whose columns tell them."""
    rows = [(p, o, 1_000 * o, o, p, p << 40, o, o % 3) for p, o in places]
    return pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")


def write(folder: Path, *files: list[Place]) -> Path:
    """Write each list of places as a recorded file."""
    for i, places in enumerate(files):
        path = folder / f"{i:08}.r.events.parquet"
        assert NUMBERED.match(path.name)
        events_at(places).write_parquet(path)
    return folder


def batches_of(path: Path | str) -> tuple[Assigned, list[Batch]]:
    """Return all that the source hands over."""
    source = file_source(str(path), clock_s=CLOCK_S)
    assert isinstance(source, ParquetSource)
    source.open()
    try:
        assigned, batches = source.read(), []
        while not batches or not batches[-1].ended:
            if (batch := source.read()) is not None:
                batches.append(batch)
    finally:
        source.close()
    assert not source._ahead.is_alive()
    return assigned, batches


def first_times(places: list[Place]) -> list[Place]:
    """Return the places without those that are not behind the highest of their partition."""
    highest: dict[int, int] = {}
    found = []
    for partition, offset in places:
        if offset > highest.get(partition, -1):
            highest[partition] = offset
            found.append((partition, offset))
    return found


places = st.tuples(st.sampled_from([0, 1, 5]), st.integers(0, 12))


@settings(max_examples=60)
@given(st.lists(st.lists(places, max_size=12), min_size=1, max_size=4), st.integers(1, 8))
def test_every_row_comes_once_and_a_partition_is_finished_with_its_last(
    tmp_path_factory, files, batch_rows
):
    folder = write(tmp_path_factory.mktemp("events"), *files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_source, "BATCH_ROWS", batch_rows)
        assigned, batches = batches_of(folder)
    expected = first_times([place for file in files for place in file])
    read = pl.concat([NO_EVENTS, *(batch.events for batch in batches)])
    assert read.equals(events_at(expected))
    n_partitions = max((p for p, _ in expected), default=0) + 1
    assert assigned == Assigned(1, n_partitions, {})
    last, done = dict(expected), 0
    for batch in batches:
        done += len(batch.events)
        position = {p: offset + 1 for p, offset in expected[:done]}
        assert batch.position.tolist() == [position.get(p, -1) for p in range(n_partitions)]
        assert batch.finished.tolist() == [
            position.get(p, 0) > last.get(p, -1) for p in range(n_partitions)
        ]
        assert (len(batch.records.offset), batch.idle.any(), batch.epoch) == (0, False, 1)
        assert batch.clock_s == CLOCK_S
    assert [batch.ended for batch in batches] == [False] * (len(batches) - 1) + [True]


def test_other_columns_and_another_order_of_columns_do_not_matter(tmp_path):
    events = events_at([(0, 1), (0, 2)])
    other = events.select(pl.lit("x").alias("note"), *reversed(EVENT_SCHEMA))
    other.write_parquet(tmp_path / "x.parquet")
    _, batches = batches_of(tmp_path / "x.parquet")
    assert batches[0].events.equals(events)


def test_path_may_be_a_glob_and_the_journal_is_no_events(tmp_path):
    write(tmp_path, [(0, 1)], [(0, 2)])
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "00000000.r.journal.parquet")
    for path in (tmp_path, tmp_path / "*.parquet"):
        _, batches = batches_of(path)
        assert sum(len(batch.events) for batch in batches) == 2
    _, batches = batches_of(tmp_path / "00000001*")
    assert batches[0].events["offset"].to_list() == [2]


def test_lines_are_read_as_ever(tmp_path):
    (tmp_path / "events.json").write_bytes(logs.value_of(1_000, 7, "192.0.2.1", "click"))
    for path in (str(tmp_path), "-"):
        assert isinstance(file_source(path, clock_s=CLOCK_S), FileSource)


def test_two_kinds_of_files_are_refused(tmp_path):
    write(tmp_path, [(0, 1)])
    (tmp_path / "events.json").write_bytes(b"{}")
    with pytest.raises(
        UnavailableError, match=r"^source\.path: '.*' holds recorded events and oth"
    ):
        file_source(str(tmp_path), clock_s=CLOCK_S)


def test_journal_alone_is_refused(tmp_path):
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "00000000.r.journal.parquet")
    with pytest.raises(UnavailableError, match=r"^source\.path: '.*' names no recorded events"):
        file_source(str(tmp_path), clock_s=CLOCK_S)


EVENT = events_at([(0, 1)])
BROKEN = {
    "missing": (EVENT.drop("low"), "column 'low' is missing, not UInt64"),
    "type": (EVENT.cast({"kind": pl.Int64}), "column 'kind' is Int64, not UInt8"),
    "null": (EVENT.with_columns(time=pl.lit(None, pl.Int64)), "rows without a value"),
    "null offset": (EVENT.with_columns(offset=pl.lit(None, pl.Int64)), "no sound partitions"),
    "partition": (EVENT.with_columns(partition=pl.lit(-1, pl.Int32)), "no sound partitions"),
}


@pytest.mark.parametrize(("frame", "told"), BROKEN.values(), ids=BROKEN.keys())
def test_wrong_columns_are_one_line(frame, told, tmp_path):
    frame.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(UnavailableError) as raised:
        batches_of(tmp_path)
    assert str(raised.value).startswith(f"source.path: '{tmp_path}/x.parquet' ")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("cut", ["empty", "half", "no footer", "zeros inside"])
def test_broken_file_is_one_line(cut, tmp_path):
    (whole,) = write(tmp_path, [(0, o) for o in range(5_000)]).iterdir()
    data = whole.read_bytes()
    broken = {
        "empty": b"",
        "half": data[: len(data) // 2],
        "no footer": data[:-4] + b"xxxx",
        "zeros inside": data[:100] + bytes(len(data) // 2) + data[100 + len(data) // 2 :],
    }
    whole.write_bytes(broken[cut])
    with pytest.raises(UnavailableError, match=r"^source\.path: '.*' cannot be read: [^\n]+$"):
        batches_of(tmp_path)


def test_file_that_goes_while_it_is_read_is_one_line(tmp_path):
    first, second = sorted(write(tmp_path, [(0, 1)], [(0, 2)]).iterdir())
    source = file_source(str(tmp_path), clock_s=CLOCK_S)
    source._last = parquet_source.last_offsets([str(first), str(second)])
    second.unlink()
    with pytest.raises(UnavailableError, match=r"source\.path: '.*' cannot be read"):
        list(parquet_source.frames_of([str(first), str(second)]))


def test_closing_ends_the_thread_that_reads_ahead(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_source, "BATCH_ROWS", 1)
    write(tmp_path, [(0, o) for o in range(50)])
    source = file_source(str(tmp_path), clock_s=CLOCK_S)
    source.open()
    source.read()
    source.close()
    assert not source._ahead.is_alive()
