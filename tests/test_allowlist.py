"""The allowlist: what it is made of, and how its file is read again while the engine runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from engine.allowlist import LOOK_S, Allowlist
from engine.config import AllowConf
from engine.errors import ConfigError

ADDRESSES = [b"192.0.2.1", b"198.51.100.1", b"127.0.0.1", b"2001:db8::1", b"not one"]


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Watched:
    """An allowlist from a file, and the time that passes for it."""

    def __init__(self, path: Path, **conf: list[str]) -> None:
        self.path, self.clock = path, Clock()
        self.allowlist = Allowlist(AllowConf(path=str(path), **conf), clock=self.clock)

    def replace(self, text: str) -> None:
        """Put another file in its place, as one does by `mv`."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def look(self) -> bool:
        """Look at the file again, as soon as that may be."""
        self.clock.now_s += LOOK_S
        return self.allowlist.refresh()

    @property
    def allowed(self) -> list[bytes]:
        """The addresses that are allowed."""
        return self.allowlist.those_in(ADDRESSES)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """An allowlist from a file with one network."""
    (tmp_path / "allow.txt").write_text("192.0.2.0/24\n")
    return Watched(tmp_path / "allow.txt")


def test_list_is_the_sum_of_cidrs_names_and_file(tmp_path: Path) -> None:
    path = tmp_path / "allow.txt"
    path.write_text("\ufeff# ours\n\n  192.0.2.0/25   # the office\n2001:db8::/64\n")
    conf = AllowConf(cidrs=["::ffff:198.51.100.1"], path=str(path), named=["loopback"])
    assert Allowlist(conf).those_in(ADDRESSES) == ADDRESSES[:-1]


def test_nothing_is_allowed_by_default() -> None:
    allowlist = Allowlist(AllowConf())
    assert allowlist.is_empty
    assert allowlist.those_in(ADDRESSES) == []
    assert not allowlist.refresh()


def test_changed_file_is_read_again(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    assert watched.allowed == [b"192.0.2.1"]
    watched.replace("198.51.100.1\n")
    with caplog.at_level(logging.INFO):
        assert watched.look()
    assert watched.allowed == [b"198.51.100.1"]
    assert caplog.messages == [f"allow.path: '{watched.path}' is read again"]
    assert not watched.look()


def test_same_size_and_time_in_another_file_is_a_change(watched: Watched) -> None:
    before = watched.path.stat()
    watched.replace("198.51.0.0/1\n")
    watched.replace("192.0.3.0/24\n")
    os.utime(watched.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watched.path.stat().st_size == before.st_size
    assert watched.look()
    assert watched.allowed == []


def test_file_is_looked_at_once_a_second_at_most(watched: Watched) -> None:
    watched.replace("198.51.100.1\n")
    watched.clock.now_s += LOOK_S / 2
    assert not watched.allowlist.refresh()
    watched.clock.now_s += LOOK_S / 2
    assert watched.allowlist.refresh()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("198.51.100.1\n198.51.100.1/24 # no\n", "line 2: '198.51.100.1/24' is refused; allowed: "),
        ("localhost\n", "line 1: 'localhost' is refused; allowed: an address, or a CIDR without"),
        ("198.51.100.1\n\xff\x00\n", "line 2: "),
        ("x" * 500, "line 1: 'xxx"),
    ],
    ids=["host_bits", "name", "no_text", "long"],
)  # fmt: skip
def test_f1_bad_file_is_refused_as_a_whole_and_the_old_list_stays(
    text: str, problem: str, watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.replace(text)
    assert not watched.look()
    assert not watched.look()
    (message,) = caplog.messages
    assert message.startswith(f"allow.path: '{watched.path}' {problem}")
    assert message.endswith("; the list read before stays")
    assert message.isprintable()
    assert watched.allowed == [b"192.0.2.1"]
    watched.replace("127.0.0.1")
    assert watched.look()
    assert watched.allowed == [b"127.0.0.1"]


def test_f1_file_that_is_gone_leaves_the_old_list(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.path.unlink()
    assert not watched.look()
    assert not watched.look()
    assert len(caplog.messages) == 1
    assert "cannot be read: No such file" in caplog.text
    assert watched.allowed == [b"192.0.2.1"]


@pytest.mark.parametrize("content", [b"10.0.0.0/7 \xe9\n", b"192.0.2.256", None])
def test_f1_bad_file_at_the_start_is_a_config_error(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "allow.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Allowlist(AllowConf(path=str(path)))
    assert (caught.value.key, caught.value.exit_code) == ("allow.path", 78)
    assert str(path) in str(caught.value)


def test_ten_thousand_networks_are_one_list(tmp_path: Path) -> None:
    path = tmp_path / "allow.txt"
    path.write_text("".join(f"10.{n >> 8}.{n & 255}.0/25\n" for n in range(10_000)))
    allowlist = Allowlist(AllowConf(path=str(path)))
    texts = [b"10.39.15.127", b"10.39.15.128", b"10.39.16.1"]
    assert allowlist.those_in(texts) == [b"10.39.15.127"]
