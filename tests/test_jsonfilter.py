"""jsonfilter: clean lines out of a pipe, and a spool folder of which Kafka loses no line."""

from __future__ import annotations

import io
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests import tool_process
from tests.mock_kafka import mock_kafka, read_topic
from tests.naive import clean_noise
from tests.services.process import LOOPBACK, free_port, wait_until
from tests.tool_process import DEADLINE_S, refusal_of, tool_module

ANYWHERE = Path("/")
MANY = 200_000


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with mock_kafka() as address:
        yield address


def started(*arguments: object) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return tool_process.started(ANYWHERE, "jsonfilter", *arguments)


def run(*arguments: object, text: bytes = b"") -> tuple[int, bytes, str]:
    """Exit code, stdout and stderr."""
    return tool_process.run(ANYWHERE, "jsonfilter", *arguments, text=text)


def spooling(folder: Path, target: str) -> tuple[object, ...]:
    return ("--spool", folder, "--to-kafka", target, "--settle", "0.05")


def ship(folder: Path, target: str) -> str:
    """Ship what is in `folder`; gives stderr."""
    code, _, err = run(*spooling(folder, target), "--once")
    assert code == 0, err
    return err


def array_file(path: Path, n_lines: int) -> list[bytes]:
    """Write a JSON array of `n_lines` different objects, one a line; gives the objects."""
    objects = [b'{"n":%d}' % i for i in range(n_lines)]
    path.write_bytes(b"[" + b",\n".join(objects) + b"]\n")
    return objects


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def values(target: str) -> Counter[bytes]:
    return Counter(message.value() for message in read_topic(*target.split("/")))


@contextmanager
def stopped_midway(folder: Path, target: str, sign: signal.Signals) -> Iterator[int]:
    """Ship `folder` until an offset is kept, then send `sign`; gives the exit code."""
    with started(*spooling(folder, target)) as process:
        offset = folder / ".big.json.offset"
        wait_until(offset.exists, deadline_s=DEADLINE_S, what="the first acknowledged batch")
        process.send_signal(sign)
        code = process.wait(timeout=DEADLINE_S)
    assert names(folder)[0] == ".big.json.offset"
    assert (folder / "big.json").exists(), "the file was too small to be stopped midway"
    yield code


# --- as a filter


def test_a_filter_cleans_each_line_and_leaves_the_rest_alone() -> None:
    text = b'[{"a":1},\n{"b":[2]},\r\n\n \n{"c":3}]\n[\n]\nplain\n{"d":4}'
    code, out, err = run(text=text)
    assert (code, err) == (0, "")
    assert out == b'{"a":1}\n{"b":[2]}\n\n \n{"c":3}\n\n\nplain\n{"d":4}'


def test_a_filter_cuts_blocks_at_line_ends_only() -> None:
    lines = [b"[" + b"x" * (i * 7919 % 50_000) + b"]" for i in range(200)]
    lines.append(b"[" + b"y" * 3_000_000 + b",")
    out = run(text=b"\n".join(lines))[1]
    assert out == b"\n".join(map(clean_noise, lines))


def test_a_filter_passes_a_line_on_before_the_next_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    filter_stream = tool_module("jsonfilter", monkeypatch).filter_stream
    out = io.BytesIO()

    class Slow(io.BytesIO):
        def read1(self, _size: int | None = -1) -> bytes:
            passed_on.append(out.getvalue())
            return super().readline()

    passed_on: list[bytes] = []
    filter_stream(Slow(b"[1,\n2,\n3]"), out)
    assert passed_on == [b"", b"1\n", b"1\n2\n", b"1\n2\n"]
    assert out.getvalue() == b"1\n2\n3"


def test_a_reader_that_goes_away_is_no_error_to_talk_about() -> None:
    with started() as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b"[1,\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"1\n"
        process.stdout.close()
        process.stdin.write(b"2,\n")
        process.stdin.flush()
        assert process.wait(timeout=DEADLINE_S) == -signal.SIGPIPE
        assert process.stderr.read() == b""


# --- from a folder to Kafka


def test_every_line_is_a_message_and_the_file_is_renamed(tmp_path: Path, broker: str) -> None:
    objects = array_file(tmp_path / "a.json", 2500)
    (tmp_path / "b.json").write_bytes(b'\n[\n{"b":1},\r\n \t\n{"b":2}\n]\n{"end":0},')
    (tmp_path / "empty.json").touch()
    ship(tmp_path, f"{broker}/lines")
    expected = [*objects, b'{"b":1}', b'{"b":2}', b'{"end":0}']
    assert values(f"{broker}/lines") == Counter(expected)
    assert names(tmp_path) == ["a.json.COMPLETED", "b.json.COMPLETED", "empty.json.COMPLETED"]


def test_a_long_line_is_one_message(tmp_path: Path, broker: str) -> None:
    line = b"x" * ((1 << 20) + 7)
    (tmp_path / "long").write_bytes(b"[" + line + b",\n{}\n")
    ship(tmp_path, f"{broker}/long")
    assert values(f"{broker}/long") == {line: 1, b"{}": 1}


def test_kill_9_sends_at_most_one_batch_twice_and_loses_nothing(
    tmp_path: Path, broker: str
) -> None:
    target = f"{broker}/killed"
    objects = array_file(tmp_path / "big.json", MANY)
    with stopped_midway(tmp_path, target, signal.SIGKILL):
        assert ship(tmp_path, target) == ""
    counts = values(target)
    assert counts.keys() == set(objects)
    assert counts.total() - MANY <= 1000
    assert max(counts.values()) <= 2
    assert names(tmp_path) == ["big.json.COMPLETED"]


def test_a_stop_ends_the_batch_in_flight_so_nothing_is_sent_twice(
    tmp_path: Path, broker: str
) -> None:
    target = f"{broker}/stopped"
    objects = array_file(tmp_path / "big.json", MANY)
    with stopped_midway(tmp_path, target, signal.SIGTERM) as code:
        assert code == 0
        assert 1000 <= values(target).total() < MANY
        ship(tmp_path, target)
    assert values(target) == Counter(objects)


def test_new_files_are_shipped_until_the_stop(tmp_path: Path, broker: str) -> None:
    with started(*spooling(tmp_path, f"{broker}/watch")) as process:
        for name in ("one", "two"):
            (tmp_path / name).write_text(name)
            done = tmp_path / f"{name}.COMPLETED"
            wait_until(done.exists, deadline_s=DEADLINE_S, what=done.name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=DEADLINE_S) == 0
    assert values(f"{broker}/watch") == {b"one": 1, b"two": 1}


def test_a_broker_that_is_away_is_waited_for(tmp_path: Path, broker: str) -> None:
    objects = array_file(tmp_path / "a.json", 1500)
    port = free_port()
    with started(*spooling(tmp_path, f"{LOOPBACK}:{port}/away"), "--once") as process:
        assert process.stderr
        line = process.stderr.readline().decode()
        assert line.startswith(f"jsonfilter: a.json from byte 0 waits for {LOOPBACK}:{port}/away: ")
        assert names(tmp_path) == ["a.json"]
        with forwarding(port, broker):
            assert process.wait(timeout=DEADLINE_S) == 0
    assert values(f"{broker}/away") == Counter(objects)


@contextmanager
def forwarding(port: int, broker: str) -> Iterator[None]:
    """Answer on `port` as `broker` does, for a client that then follows its metadata."""
    host, broker_port = broker.split(":")

    def copy(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65_536):
            target.sendall(data)

    with socket.create_server((LOOPBACK, port)) as server:
        client, _ = server.accept()
        with client, socket.create_connection((host, int(broker_port))) as upstream:
            pairs = ((client, upstream), (upstream, client))
            threads = [threading.Thread(target=copy, args=pair) for pair in pairs]
            for thread in threads:
                thread.start()
            yield
            for end in (client, upstream):
                end.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("--to-kafka h:1/t", "--to-kafka"),
        ("--once", "--once"),
        ("--settle 1", "--settle"),
        ("--spool .", "--spool"),
        ("--spool absent --to-kafka h:1/t", "--spool"),
        ("--spool . --to-kafka h:1", "--to-kafka"),
        ("--spool . --to-kafka h:1/t --settle 0", "--settle"),
        ("--colour", "--colour"),
    ],
)
def test_a_bad_option_is_refused_in_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    option: str,
) -> None:
    assert option in refusal_of(tool_module("jsonfilter", monkeypatch), arguments, capsys)
