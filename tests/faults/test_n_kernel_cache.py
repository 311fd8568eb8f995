"""The kernel cache, broken or hostile: an engine starts all the same, and runs no foreign code.

Each engine is a process. Its cache is most often a copy of the one that the tests share, so that
only what the test took away is compiled.
"""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import kernel_cache
from engine.errors import UnavailableError
from engine.kernel_cache import digest, mended, private
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import event

N_EVENTS = 20
NOWHERE = {"HOME": "/nonexistent", "XDG_CACHE_HOME": "", "NUMBA_CACHE_DIR": ""}
ANOTHER_USER = 12_345
COLD_START_S = 240.0
SLOW = pytest.mark.timeout(3 * COLD_START_S)

Start = Callable[..., EngineProcess]
Patch = pytest.MonkeyPatch


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an engine over a small file, with these variables in its environment."""
    events = tmp_path / "events.ndjson"
    events.write_bytes(b"".join(event(1_700_000_000) + b"\n" for _ in range(N_EVENTS)))
    started: list[EngineProcess] = []

    def start(**environ: object) -> EngineProcess:
        words = ("source=file", f"source.path={events}", "sink=memory", "view=none")
        env = {name: str(value) for name, value in environ.items()}
        started.append(EngineProcess(tmp_path / f"engine-{len(started)}", words, env=env))
        return started[-1]

    yield start
    for engine in started:
        engine.close()


def did_its_work(engine: EngineProcess, *, deadline_s: float = 60.0) -> str:
    """Wait for a good end with all events counted; return what the engine said."""
    engine.ends(deadline_s=deadline_s)
    assert engine.summary["events"] == N_EVENTS
    return engine.stderr


@pytest.fixture
def filled(tmp_path: Path, start: Start) -> Path:
    """A folder for NUMBA_CACHE_DIR, with all kernels in it."""
    did_its_work(start(), deadline_s=COLD_START_S)
    base = tmp_path / "filled"
    base.mkdir(mode=0o700)
    assert kernel_cache.FOLDER is not None
    shutil.copytree(kernel_cache.FOLDER, base / kernel_cache.FOLDER.name)
    return base


def kept_in(base: Path, pattern: str) -> list[Path]:
    """Return the files of this name in a cache: one for each signature that was ever compiled."""
    found = list(base.rglob(pattern))
    assert found
    return found


def half(whole: bytes) -> bytes:
    """Return the first half: a write that a crash of the machine has cut."""
    return whole[: len(whole) // 2]


def nothing(_whole: bytes) -> bytes:
    """Return nothing: what some file systems leave of a file after such a crash."""
    return b""


@pytest.mark.parametrize(
    ("pattern", "cut"),
    [
        ("triage.triage-*.nbc", half),
        ("triage.triage-*.nbi", nothing),
        pytest.param("triage.triage-*.nbc", nothing, marks=pytest.mark.soak),
        pytest.param("triage.triage-*.nbi", half, marks=pytest.mark.soak),
    ],
)
def test_n1_file_that_is_cut_short_is_compiled_anew_and_kept(
    pattern: str, cut: Callable[[bytes], bytes], filled: Path, start: Start
) -> None:
    for path in kept_in(filled, pattern):
        path.write_bytes(cut(path.read_bytes()))
    assert "compiling anew" in did_its_work(start(NUMBA_CACHE_DIR=filled))
    assert did_its_work(start(NUMBA_CACHE_DIR=filled)) == ""


@pytest.mark.soak
@SLOW
def test_n1_cache_of_which_nothing_is_whole_is_compiled_anew_and_kept(
    filled: Path, start: Start
) -> None:
    for path in filled.rglob("*.nbc"):
        path.write_bytes(pickle.dumps("what is this?"))
    first = did_its_work(start(NUMBA_CACHE_DIR=filled), deadline_s=COLD_START_S)
    assert "compiling anew" in first
    assert did_its_work(start(NUMBA_CACHE_DIR=filled)) == ""


@pytest.mark.parametrize(
    ("kept", "left_at_each_run"),
    [
        (["cut", "whole"], [["cut", "whole"], ["whole"], []]),
        (["whole"], [["whole"], [], []]),
        (["cut"], [["cut"], [], []]),
        ([], [[], []]),
    ],
)
def test_n1_failure_that_no_kept_kernel_causes_is_raised(
    kept: list[str], left_at_each_run: list[list[str]], tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(kernel_cache, "FOLDER", tmp_path)
    content = {"cut": b"\x80", "whole": b"N."}
    for name in kept:
        (tmp_path / f"{name}.nbc").write_bytes(content[name])
        (tmp_path / f"{name}.nbi").write_bytes(content[name])
    seen: list[list[str]] = []

    def run() -> None:
        seen.append(sorted(path.stem for path in tmp_path.glob("*.nbc")))
        message = "a bug"
        raise ValueError(message)

    with pytest.raises(ValueError, match="a bug"):
        mended(run)
    assert seen == left_at_each_run
    assert not list(tmp_path.iterdir())


def test_n1_folder_that_takes_no_more_is_told_in_a_line(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(kernel_cache, "FOLDER", tmp_path)  # all that is kept there is forgotten

    def run() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UnavailableError, match="No space left on device; name another folder"):
        mended(run)


def no_folder(tmp_path: Path) -> Path:
    """Return a file."""
    path = tmp_path / "file"
    path.touch()
    return path


def never_writable(_tmp_path: Path) -> Path:
    """Return a folder in which nobody can make a file, not even root."""
    return Path("/proc")


def writable_for_all(tmp_path: Path) -> Path:
    """Return a folder of ours with the mode that is often recommended."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o777)
    return path


def of_another_user(tmp_path: Path) -> Path:
    """Return another user's folder: root's for everyone else."""
    if os.geteuid() != 0:
        return Path("/usr/share")
    path = tmp_path / "theirs"
    path.mkdir()
    os.chown(path, ANOTHER_USER, -1)
    return path


@pytest.mark.parametrize("place", [no_folder, never_writable, writable_for_all, of_another_user])
def test_n1_folder_that_cannot_be_used_is_told_in_a_line_and_the_users_cache_taken(
    place: Callable[[Path], Path], tmp_path: Path, start: Start
) -> None:
    refused = place(tmp_path)
    said = did_its_work(start(NUMBA_CACHE_DIR=refused), deadline_s=COLD_START_S)
    (line,) = said.splitlines()
    assert line.startswith("kernel cache: ")
    assert str(refused) in line
    assert not list(refused.glob("kernels-*/*/*.nbi"))


class Payload:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self._path,)


@pytest.mark.parametrize(
    "whose",
    [pytest.param("ours", marks=[pytest.mark.soak, SLOW]), "writable for all", "another user's"],
)
def test_n1_code_that_somebody_else_could_have_put_there_is_not_run(
    whose: str, tmp_path: Path, filled: Path, start: Start
) -> None:
    folder, harm = filled / f"kernels-{digest()}", tmp_path / "harm"
    for path in kept_in(filled, "triage.triage-*.nbi"):
        path.write_bytes(pickle.dumps(Payload(harm)))
    if whose == "writable for all":
        folder.chmod(0o777)
    elif whose == "another user's" and os.geteuid() == 0:
        os.chown(folder, ANOTHER_USER, -1)
    elif whose == "another user's":
        pytest.skip("only root can give a folder away")
    did_its_work(start(NUMBA_CACHE_DIR=filled))
    assert harm.exists() == (whose == "ours")


def test_n1_without_a_home_the_folder_for_temporary_files_is_used(
    tmp_path: Path, filled: Path, start: Start
) -> None:
    place = tmp_path / f"botsieve-{os.geteuid()}"
    filled.rename(place)
    for path in kept_in(place, "triage.triage-*.nbc"):
        path.unlink()
    said = did_its_work(start(**NOWHERE, TMPDIR=tmp_path))
    assert "/nonexistent" in said
    assert kept_in(place, "triage.triage-*.nbc")


@pytest.mark.soak
@SLOW
def test_n1_without_any_folder_kernels_are_compiled_at_each_start(
    tmp_path: Path, start: Start
) -> None:
    (tmp_path / f"botsieve-{os.geteuid()}").touch()
    engine = start(**NOWHERE, TMPDIR=tmp_path)
    assert "compiled at each start" in did_its_work(engine, deadline_s=COLD_START_S)


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_n1_folder_that_only_we_can_write_is_safe(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c"
    assert private(folder, uid=os.geteuid()) == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(mode)
    assert private(folder, uid=os.geteuid()) == folder


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_n1_folder_that_others_can_write_is_not_safe(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(PermissionError, match="can be written by others"):
        private(folder, uid=os.geteuid())


@pytest.mark.parametrize(("mode", "is_safe"), [(0o777, False), (0o775, False), (0o1777, True)])
def test_n1_folder_that_others_can_replace_is_not_safe(
    mode: int, is_safe: bool, tmp_path: Path
) -> None:
    parent = tmp_path / "parent"
    (parent / "folder").mkdir(parents=True, mode=0o700)
    parent.chmod(mode)
    if is_safe:
        assert private(parent / "folder", uid=os.geteuid())
        return
    with pytest.raises(PermissionError, match="parent can be written by others"):
        private(parent / "folder", uid=os.geteuid())


def test_n1_folder_of_another_user_is_not_safe_and_no_link_hides_it(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir(mode=0o700)
    link.symlink_to(folder)
    assert private(link, uid=os.geteuid()) == folder
    with pytest.raises(PermissionError, match="belongs to another user"):
        private(link, uid=os.geteuid() + 1)


@pytest.mark.parametrize("missing", ["noise.*", pytest.param("*", marks=[pytest.mark.soak, SLOW])])
def test_n2_engines_that_start_at_once_on_one_cold_cache_all_do_their_work(
    missing: str, filled: Path, start: Start
) -> None:
    for path in filled.rglob(f"{missing}.nb[ic]"):
        path.unlink()
    engines = [start(NUMBA_CACHE_DIR=filled) for _ in range(4)]
    assert [did_its_work(one, deadline_s=2 * COLD_START_S) for one in engines] == [""] * 4
