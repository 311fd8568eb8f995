"""Files as a source: every line once, with its number, however the file is stored and cut."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.decode import decode, decode_options
from engine.errors import UnavailableError
from engine.sources import Assigned, FileSource
from tests import logs, naive
from tests.doubles import records_of
from tests.records import NAMES

CLOCK_S = 1_700_000_000.5
LINE = logs.value_of(1_000, 7, "192.0.2.1", "click")

Lines = list[tuple[int, bytes]]
"""Number and bytes of each line."""


def lines_of(path: Path | str, block_bytes: int = 1 << 20) -> Lines:
    """Return all that the source hands over, and check what must hold for every batch."""
    source = FileSource(str(path), clock_s=CLOCK_S, block_bytes=block_bytes)
    source.open()
    assert source.read() == Assigned(epoch=1, n_partitions=1, checkpoints={})
    lines: Lines = []
    ended = False
    while not ended:
        batch = source.read()
        records, ended = batch.records, batch.ended
        n = len(records.offset)
        assert set(records.timestamp_ms.tolist()) <= {int(CLOCK_S * 1_000)}
        assert set(records.partition.tolist()) <= {0}
        lines += [(int(records.offset[i]), records.value(i)) for i in range(n)]
        assert (batch.position.tolist(), batch.finished.tolist()) == ([len(lines)], [ended])
        assert not batch.idle.any()
    source.close()
    return lines


def numbered(*lines: bytes) -> Lines:
    """Return lines with their numbers."""
    return list(enumerate(lines))


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=30), max_size=12).map(b"\n".join), st.integers(1, 40))
def test_every_line_comes_once_with_its_number_wherever_blocks_are_cut(
    tmp_path_factory, content, block_bytes
):
    path = tmp_path_factory.mktemp("lines") / "events.json"
    path.write_bytes(content)
    lines = content.split(b"\n")
    assert lines_of(path, block_bytes) == numbered(*(lines if lines[-1] else lines[:-1]))


@settings(max_examples=40)
@given(st.lists(st.sampled_from([b"", b" ", b"[", b"]", b" [ \r", b",", LINE, LINE + b",", b"x"])))
def test_blank_lines_and_brackets_are_no_records(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("lines") / "events.json"
    path.write_bytes(b"\n".join(lines))
    records = [records_of([naive.Row(0, *line, 10**12)]) for line in lines_of(path)]
    options = decode_options(names=NAMES, reject_unknown=False, max_future_s=0, skip_blank=True)
    decoded = [decode(record, options) for record in records]
    found = [n for one in decoded for n in (*one.events["offset"], *one.rejects["offset"])]
    rows = naive.read_file_rows(path, int(CLOCK_S * 1_000))
    assert found == [row.offset for row in rows]
    refused = [value for one in decoded for value in one.rejects["value"]]
    assert refused == [row.value for row in rows if row.value == b"x"]


def test_json_array_and_line_ends_of_another_system_are_read(tmp_path):
    path = tmp_path / "events.json"
    path.write_bytes(b"[\r\n " + LINE + b",\r\n" + LINE + b"\r\n]\r\n")
    values = [value for _, value in lines_of(path)]
    events = [naive.parse_event(value, 2_000_000, naive.ModelConfig()) for value in values]
    assert events == ["blank", *[naive.Event(1_000, 7, "192.0.2.1", is_click=True)] * 2, "blank"]


def test_line_longer_than_a_block_is_one_line(tmp_path):
    path = tmp_path / "events.json"
    path.write_bytes(b"a" * 10_000 + b"\n" + b"b" * 10_000)
    assert lines_of(path, 64) == numbered(b"a" * 10_000, b"b" * 10_000)


def test_empty_file_ends_at_once(tmp_path):
    path = tmp_path / "events.json"
    path.touch()
    assert lines_of(path) == []


# -- where files are -------------------------------------------------------------------------------


def fill(folder: Path) -> None:
    """Write files with one line each, two of them without a line break at the end."""
    for name in ("b.json", "a.json", "c.txt", ".hidden"):
        (folder / name).write_bytes(name.encode() + b"\n" * (name != "a.json"))
    (folder / "folder.json").mkdir()


def test_folder_is_read_in_the_order_of_names_without_hidden_files(tmp_path):
    fill(tmp_path)
    assert lines_of(tmp_path) == numbered(b"a.json", b"b.json", b"c.txt")


def test_glob_is_read_in_the_order_of_names(tmp_path):
    fill(tmp_path)
    assert lines_of(tmp_path / "*.json") == numbered(b"a.json", b"b.json")


def test_name_with_the_signs_of_a_glob_is_a_name_where_that_file_exists(tmp_path):
    path = tmp_path / "events[1].json"
    path.write_bytes(b"x\n")
    assert lines_of(path) == numbered(b"x")


@pytest.mark.parametrize("name", ["none.json", "*.none", "empty"])
def test_path_without_a_file_is_refused_with_what_to_do(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UnavailableError, match=rf"source\.path: '.*{name[1:]}' names no file; give"
    ):
        lines_of(tmp_path / name)


def test_file_that_may_not_be_read_is_told(tmp_path):
    path = tmp_path / "events.json"
    path.symlink_to(path)
    with pytest.raises(UnavailableError, match=r"source\.path"):
        lines_of(path)


def test_standard_input_is_read_to_its_end():
    program = (
        "from tests.test_file_source import lines_of; lines = lines_of('-', 1_000); print(lines)"
    )
    content = b"".join(b"%d\n" % n for n in range(1_000))
    read = subprocess.run(
        [sys.executable, "-c", program], input=content, check=True, stdout=subprocess.PIPE
    )
    assert read.stdout.decode().strip() == str(numbered(*content.split()))


# -- compressed files ------------------------------------------------------------------------------

CONTENT = b"".join(b"%064x\n" % (n**9) for n in range(5_000))


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstandard.compress)]
)
@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
def test_compressed_file_is_read_like_a_plain_one_also_in_parts(
    tmp_path, suffix, compress, block_bytes
):
    """Two compressed files one after the other are a compressed file."""
    path = tmp_path / f"events.json{suffix}"
    path.write_bytes(compress(CONTENT[:100_001]) + compress(CONTENT[100_001:]))
    assert lines_of(path, block_bytes) == numbered(*CONTENT.split())


def broken(data: bytes) -> list[bytes]:
    """Return data cut short, of another kind, and with bytes changed at several places."""
    changed = [
        data[:at] + bytes(byte ^ 0xFF for byte in data[at : at + 9]) + data[at + 9 :]
        for at in range(12, len(data) - 20, len(data) // 20)
    ]
    return [data[: len(data) // 2], data[:-1], b"no such format" * 9, *changed]


@pytest.mark.parametrize("n", range(12))
def test_gzip_file_that_is_cut_or_changed_is_told(tmp_path, n):
    path = tmp_path / "events.json.gz"
    path.write_bytes(broken(gzip.compress(CONTENT))[n])
    with pytest.raises(
        UnavailableError, match=r"source\.path: '.*events\.json\.gz' cannot be read"
    ):
        lines_of(path)


@pytest.mark.parametrize("n", range(12))
def test_zstandard_file_that_is_cut_or_changed_is_told(tmp_path, n):
    path = tmp_path / "events.json.zst"
    options = zstandard.ZstdCompressor(write_checksum=True)
    path.write_bytes(broken(options.compress(CONTENT))[n])
    with pytest.raises(
        UnavailableError, match=r"source\.path: '.*events\.json\.zst' cannot be read"
    ):
        lines_of(path)


def test_files_of_a_folder_may_each_be_compressed(tmp_path):
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"1\n2"))
    (tmp_path / "b.json.zst").write_bytes(zstandard.compress(b"3\n"))
    (tmp_path / "c.json").write_bytes(b"4" + os.linesep.encode())
    assert lines_of(tmp_path) == numbered(b"1", b"2", b"3", b"4")
