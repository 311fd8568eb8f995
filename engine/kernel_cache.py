"""Where compiled kernels are kept between starts: a folder that nobody else can write.

Numba keeps pickles and native code, so whoever can write them runs code as us. A folder is used
only if it is ours and nobody can put another in its place; else the next is tried, and without any
the kernels are compiled at each start. Its name has a digest of what is compiled, since Numba
itself does not see that an imported kernel has changed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from engine.errors import UnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")

COMPILED = ("kernels/*.py", "rule_*.py")  # the rules' numbers are constants of kernels
N_OF_OUR_MAKING = 3  # ~/.cache, botsieve in it, and the folder itself; their parent must be there
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
END_OF_PICKLE = b"."


def digest() -> str:
    """Return a short digest of all sources that kernels are compiled from."""
    package = Path(__file__).parent
    paths = sorted(path for pattern in COMPILED for path in package.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def places() -> Iterator[Path]:
    """Yield what the user has told Numba, our part of the user's cache, and of the temporary files.

    One that makes no sense, as where there is no home, is no folder either.
    """
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(chosen)
    yield Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "botsieve")
    yield Path(os.environ.get("TMPDIR") or "/tmp", f"botsieve-{os.geteuid()}")  # noqa: S108


def find_folder() -> Path | None:
    """Return the first folder that is safe and can be written, or None; say why another is not."""
    for place in places():
        try:
            return private(place / f"kernels-{digest()}", uid=os.geteuid())
        except OSError as problem:
            log.warning("kernel cache: %s", problem)
    log.warning("kernel cache: no folder can be used; kernels are compiled at each start, 30 s")
    return None


def private(folder: Path, *, uid: int) -> Path:
    """Make the folder if need be, and return it; raise OSError if it is not `uid`'s alone."""
    folder = Path(os.path.realpath(folder))
    for path in (*reversed(folder.parents[: N_OF_OUR_MAKING - 1]), folder):
        with suppress(FileExistsError):
            path.mkdir(mode=stat.S_IRWXU)
    for path in (*reversed(folder.parents), folder):
        check(path.lstat(), path, uid=uid, is_last=path == folder)
    tempfile.TemporaryFile(dir=folder).close()
    return folder


def check(status: os.stat_result, path: Path, *, uid: int, is_last: bool) -> None:
    """Raise OSError where another user than `uid` and root can write, or replace what we made."""
    if not stat.S_ISDIR(status.st_mode):
        message = f"{path} is no folder"
        raise NotADirectoryError(message)
    if status.st_uid != uid and (is_last or status.st_uid != 0):
        message = f"{path} belongs to another user"
        raise PermissionError(message)
    only_adds = not is_last and status.st_mode & stat.S_ISVTX  # sticky: none but its owner renames
    if status.st_mode & OTHERS_WRITE and not only_adds:
        message = f"{path} can be written by others"
        raise PermissionError(message)


FOLDER = find_folder()


def mended(run: Callable[[], T]) -> T:
    """Return what `run`, which loads kernels, returns; where it fails, forget some and try again.

    Forgotten are those that were cut short; where none was, or that did not help, all are. Raises
    UnavailableError where they cannot be kept.
    """
    for _ in range(2):
        try:
            return run()
        except Exception as problem:
            if not (forget(is_cut_short) or forget(bool)):
                break
            log.warning("kernel cache: %s: %r; compiling anew", FOLDER, problem)
    try:
        return run()
    except OSError as problem:
        message = f"kernel cache: {FOLDER}: {problem}; name another folder by NUMBA_CACHE_DIR"
        raise UnavailableError(message) from None


def is_cut_short(path: Path) -> bool:
    """Return True where a file does not end as a pickle does."""
    return path.exists() and not path.read_bytes().endswith(END_OF_PICKLE)


def forget(is_bad: Callable[[Path], bool]) -> bool:
    """Delete what is kept and bad; return whether there was any."""
    kept = FOLDER.rglob("*.nb[ic]") if FOLDER else ()
    bad = [path for path in kept if is_bad(path)]
    for path in bad:
        path.unlink(missing_ok=True)
    return bool(bad)
