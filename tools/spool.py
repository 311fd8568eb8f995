"""Ships the files of a folder to Kafka, one message a line: at least once, nothing lost.

The order is the guarantee: send a batch, wait until Kafka acknowledged all of it, then write the
offset, then read on. A file is renamed only when its last batch is acknowledged and it did not
change since it was taken. The offset file is the only memory; nothing else survives a crash.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from itertools import count
from pathlib import Path
from typing import NamedTuple

from acknowledged import Topic, report

from engine.kernels.noise import clean_lines

BATCH_LINES, BATCH_BYTES = 1000, 16 << 20
TAIL_BYTES = 4096
NOT_TO_SHIP = re.compile(r"^\.|\.part$|\.COMPLETED(\.\d+)?$")
WHITESPACE = b" \t\r\n"
SCAN_EVERY_S = 0.2


class Stamp(NamedTuple):
    """What tells a file from a changed one."""

    size: int
    mtime_ns: int
    inode: int


def stamp(path: Path) -> Stamp:
    """Stamp of the file that is at `path` now."""
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino)


def files_to_ship(folder: Path) -> dict[Path, Stamp]:
    """Files that are not done, not in the making and not hidden; the oldest first."""
    stamps = {}
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if not NOT_TO_SHIP.search(path.name) and path.is_file():
                stamps[path] = stamp(path)
    return dict(sorted(stamps.items(), key=lambda item: (item[1].mtime_ns, item[0])))


def offset_path(path: Path) -> Path:
    """The file that keeps the acknowledged offset of `path`."""
    return path.with_name(f".{path.name}.offset")


def save_offset(path: Path, offset: int, *, taken: Stamp, tail: bytes) -> None:
    """Keep the acknowledged `offset`, with what shows later whether the file is the same."""
    saved = {"offset": offset, "size": taken.size, "inode": taken.inode}
    saved |= {"tail_bytes": len(tail), "tail_crc32": zlib.crc32(tail)}
    draft = path.with_name(f".{path.name}.offset.part")
    with draft.open("w") as out:
        json.dump(saved, out)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(offset_path(path))


def resume(path: Path, file: BufferedReader, *, taken: Stamp) -> int:
    """Put `file` where the acknowledged part ends and return that; 0 for another file."""
    if not offset_path(path).exists():
        return 0
    if offset := _saved_offset(path, file, taken=taken):
        file.seek(offset)
        return offset
    report(f"{path.name} is not the file whose offset was kept: it starts over")
    file.seek(0)
    return 0


def _saved_offset(path: Path, file: BufferedReader, *, taken: Stamp) -> int | None:
    """The kept offset where size, inode and the last bytes before it are still the same.

    The bytes are compared since a file system likes to give a freed inode to the next file.
    """
    with suppress(ValueError, KeyError, TypeError):
        saved = json.loads(offset_path(path).read_text())
        offset, n_tail = saved["offset"], saved["tail_bytes"]
        file.seek(offset - n_tail)
        same_tail = zlib.crc32(file.read(n_tail)) == saved["tail_crc32"]
        if same_tail and saved["inode"] == taken.inode and saved["size"] <= taken.size:
            return int(offset)
    return None


def read_batch(file: BufferedReader) -> bytes:
    """The next lines, at most BATCH_LINES and about BATCH_BYTES, but one line at least."""
    lines: list[bytes] = []
    n_bytes = 0
    while len(lines) < BATCH_LINES and n_bytes < BATCH_BYTES and (line := file.readline()):
        lines.append(line)
        n_bytes += len(line)
    return b"".join(lines)


def complete(path: Path) -> None:
    """Rename a finished file and forget its offset."""
    done = path.with_name(f"{path.name}.COMPLETED")
    taken_names = (done.with_name(f"{done.name}.{i}") for i in count(1))
    path.rename(done if not done.exists() else next(p for p in taken_names if not p.exists()))
    offset_path(path).unlink(missing_ok=True)


def ship_file(path: Path, taken: Stamp, *, topic: Topic, stop: threading.Event) -> None:
    """Ship what Kafka has not acknowledged of `path`, and complete it when it stands still."""
    with path.open("rb") as file:
        offset = resume(path, file, taken=taken)
        while not stop.is_set() and (batch := read_batch(file)):
            if not batch.endswith(b"\n") and stamp(path) != taken:
                return  # its last line is still being written
            lines = [line for line in clean_lines(batch).split(b"\n") if line.strip(WHITESPACE)]
            topic.send(lines, where=f"{path.name} from byte {offset}")
            offset += len(batch)
            save_offset(path, offset, taken=taken, tail=batch[-TAIL_BYTES:])
        if offset == taken.size and stamp(path) == taken:
            complete(path)


def ship_folder(
    folder: Path, topic: Topic, *, settle_s: float, once: bool, stop: threading.Event
) -> None:
    """Ship the files of `folder` until `stop`, or with `once` until none is left."""
    seen: dict[Path, tuple[Stamp, float]] = {}
    while not stop.is_set():
        stamps = files_to_ship(folder)
        if once and not stamps:
            return
        now_s = time.monotonic()
        same = {p: since_s for p, (old, since_s) in seen.items() if stamps.get(p) == old}
        seen = {path: (new, same.get(path, now_s)) for path, new in stamps.items()}
        settled = [path for path, (_, since_s) in seen.items() if now_s - since_s >= settle_s]
        for path in settled:
            with suppress(FileNotFoundError):  # someone took it away
                ship_file(path, stamps[path], topic=topic, stop=stop)
        if not settled:
            topic.wait(SCAN_EVERY_S)


@contextmanager
def sole_shipper(folder: Path) -> Iterator[None]:
    """Hold the folder against a second jsonfilter; the kernel lets go when we are killed."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as problem:
        reason = f"{folder}: another jsonfilter ships this folder"
        raise ConnectionError(reason) from problem
    finally:
        os.close(lock)
