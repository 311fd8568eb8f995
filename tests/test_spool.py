"""The spool folder: what is taken, where a file goes on, and when it starts over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.naive import clean_noise
from tests.tool_process import tool_module


@pytest.fixture
def spool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return tool_module("spool", monkeypatch)


def array_file(path: Path, n_lines: int) -> list[bytes]:
    """Write a JSON array of `n_lines` different objects, one a line; gives the objects."""
    objects = [b'{"n":%d}' % i for i in range(n_lines)]
    path.write_bytes(b"[" + b",\n".join(objects) + b"]\n")
    return objects


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class SentLines:
    """A topic that acknowledges at once, keeps what it got, and asks to stop after each batch."""

    def __init__(self, stop: threading.Event) -> None:
        self.lines: list[bytes] = []
        self._stop = stop

    def send(self, lines: list[bytes], *, where: str) -> None:
        self.lines += lines
        self._stop.set()


def ship_a_batch(spool: ModuleType, path: Path, taken: object = None) -> list[bytes]:
    stop = threading.Event()
    topic = SentLines(stop)
    spool.ship_file(path, taken or spool.stamp(path), topic=topic, stop=stop)
    return topic.lines


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path, spool: ModuleType) -> None:
    for done in ("a.COMPLETED", "a.COMPLETED.1", "a.COMPLETED.2"):
        path = tmp_path / "a"
        path.write_text(done)
        assert ship_a_batch(spool, path) == [done.encode()]
        assert (tmp_path / done).read_text() == done
        assert not path.exists()


def test_files_in_the_making_hidden_and_done_are_left_alone(
    tmp_path: Path, spool: ModuleType
) -> None:
    others = [".hidden", ".x.offset", ".x.offset.part", "x.COMPLETED", "x.COMPLETED.12", "y.part"]
    for name in [*others, "x", "x.COMPLETED.json"]:
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert [path.name for path in spool.files_to_ship(tmp_path)] == ["x", "x.COMPLETED.json"]


def test_a_file_goes_on_at_the_acknowledged_batch(tmp_path: Path, spool: ModuleType) -> None:
    path = tmp_path / "a.json"
    objects = array_file(path, 2500)
    batches = [ship_a_batch(spool, path) for _ in range(3)]
    assert batches == [objects[:1000], objects[1000:2000], objects[2000:]]
    assert names(tmp_path) == ["a.json.COMPLETED"]


class RefusingTopic:
    """A topic that acknowledges nothing."""

    def send(self, lines: list[bytes], *, where: str) -> None:
        raise ConnectionError(where)


def test_a_batch_that_is_not_acknowledged_is_sent_again(tmp_path: Path, spool: ModuleType) -> None:
    path = tmp_path / "a.json"
    objects = array_file(path, 2500)
    refusing = {"topic": RefusingTopic(), "stop": threading.Event()}
    for n_acknowledged in (0, 1000, 2000):
        with pytest.raises(ConnectionError, match="^a.json from byte "):
            spool.ship_file(path, spool.stamp(path), **refusing)
        assert path.exists()
        assert ship_a_batch(spool, path) == objects[n_acknowledged:][:1000]
    assert names(tmp_path) == ["a.json.COMPLETED"]


def cut(path: Path) -> None:
    path.write_bytes(b"{}\n")


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"n"', b'"m"'))


def replace(path: Path) -> None:
    path.with_name("new").write_bytes(path.read_bytes())
    path.with_name("new").replace(path)


def spoil_the_offset(path: Path) -> None:
    path.with_name(f".{path.name}.offset").write_text('{"offset":')


@pytest.mark.parametrize("change", [cut, rewrite, replace, spoil_the_offset])
def test_a_file_that_shrank_or_was_replaced_starts_over(
    tmp_path: Path,
    spool: ModuleType,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
) -> None:
    path = tmp_path / "a.json"
    array_file(path, 2500)
    ship_a_batch(spool, path)
    change(path)
    first_lines = path.read_bytes().splitlines()[:1000]
    assert ship_a_batch(spool, path) == [clean_noise(line) for line in first_lines]
    told = "jsonfilter: a.json is not the file whose offset was kept: it starts over\n"
    assert capsys.readouterr().err == told


def test_a_line_that_is_still_being_written_waits(tmp_path: Path, spool: ModuleType) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first\n")
    taken = spool.stamp(path)
    with path.open("ab") as writer:
        writer.write(b"second\nhal")
    assert ship_a_batch(spool, path, taken) == []
    assert names(tmp_path) == ["log"]
    with path.open("ab") as writer:
        writer.write(b"f\n")
    assert ship_a_batch(spool, path) == [b"first", b"second", b"half"]
    assert names(tmp_path) == ["log.COMPLETED"]


def test_a_file_that_grew_goes_on_where_it_was(tmp_path: Path, spool: ModuleType) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first\n")
    taken = spool.stamp(path)
    with path.open("ab") as writer:
        writer.write(b"second\n")
    assert ship_a_batch(spool, path, taken) == [b"first", b"second"]
    assert names(tmp_path) == [".log.offset", "log"]
    assert ship_a_batch(spool, path) == []
    assert names(tmp_path) == ["log.COMPLETED"]


def test_a_second_shipper_of_a_folder_is_refused(tmp_path: Path, spool: ModuleType) -> None:
    with spool.sole_shipper(tmp_path):
        with pytest.raises(ConnectionError, match="another jsonfilter ships this folder"):
            spool.sole_shipper(tmp_path).__enter__()
    with spool.sole_shipper(tmp_path):
        pass
