"""Records every command that a Redis or Valkey server executed, from `start` to `stop`.

The thread only collects bytes, so it keeps up with the server; they are parsed once, at the end.
`stop` sends a marker of its own and waits until the server shows it, so nothing before it is
missed. What a killed server still sent is kept: `complete` is then false.
"""

from __future__ import annotations

import re
import socket
import threading
import uuid
from io import BufferedReader
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

CHUNK_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 5.0
STOP_DEADLINE_S = 60.0
LINE_END = b"\r\n"
LINE = re.compile(rb'\+(\d+\.\d+) \[(\d+) (\S+)\] (".*")')
ARGUMENT = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"')


class Command(NamedTuple):
    """One executed command; `source` is the client's address, or `lua` inside a script."""

    time_s: float
    db: int
    source: str
    args: list[bytes]


class MonitorRecorder:
    """`with MonitorRecorder(url) as recorder: ...`, then read `recorder.commands`."""

    def __init__(self, url: str) -> None:
        """Nothing is connected until `start`; a user and a password go into the url."""
        self._url = url
        self._marker = f"end-of-recording-{uuid.uuid4()}".encode()
        self._raw = bytearray()
        self._thread = threading.Thread(target=self._record, name="monitor", daemon=True)
        self.complete = False
        self.commands: list[Command] = []

    def start(self) -> Self:
        """Return when the server has begun to report."""
        self._socket, self._reader = _connect(self._url)
        _ask(self._socket, self._reader, b"MONITOR")
        self._socket.settimeout(None)
        self._thread.start()
        return self

    def stop(self) -> list[Command]:
        """Return every command since `start`, in the server's order."""
        self._send_marker()
        self._thread.join(STOP_DEADLINE_S)
        if self._thread.is_alive():
            message = f"the server did not show the end marker within {STOP_DEADLINE_S:g} s"
            raise TimeoutError(message)
        self._reader.close()
        self._socket.close()
        before_marker = bytes(self._raw).partition(self._marker)[0]
        self.commands = parse(before_marker)
        return self.commands

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _send_marker(self) -> None:
        try:
            connection, reader = _connect(self._url)
            with connection, reader:
                _ask(connection, reader, b"ECHO " + self._marker)
        except ConnectionError:
            # The server is gone, so the thread has read its last byte or is about to.
            return

    def _record(self) -> None:
        """Collect bytes until the marker or the end of the connection."""
        n_searched = 0
        while not self.complete:
            try:
                chunk = self._reader.read1(CHUNK_BYTES)
            except ConnectionError:
                return
            if not chunk:
                return
            self._raw += chunk
            self.complete = self._raw.find(self._marker, n_searched) >= 0
            n_searched = max(0, len(self._raw) - len(self._marker))


def parse(raw: bytes) -> list[Command]:
    """Parse whole lines of MONITOR output; what follows the last line end is not a whole line."""
    lines = raw.split(LINE_END)[:-1]
    return [_command(line) for line in lines]


def _command(line: bytes) -> Command:
    found = LINE.fullmatch(line)
    if found is None:
        message = f"not a line of MONITOR: {line[:200]!r}"
        raise ValueError(message)
    time_s, db, source, arguments = found.groups()
    args = [_plain(text) for text in ARGUMENT.findall(arguments)]
    return Command(float(time_s), int(db), source.decode(), args)


def _plain(text: bytes) -> bytes:
    r"""Undo the server's escapes: \\ \" \n \r \t \a \b and \xHH, all of which Python shares."""
    return text.decode("unicode_escape").encode("latin-1") if b"\\" in text else text


def _connect(url: str) -> tuple[socket.socket, BufferedReader]:
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 6379)
    connection = socket.create_connection(address, CONNECT_TIMEOUT_S)
    reader = connection.makefile("rb")
    if parts.password:
        names = [unquote(name) for name in (parts.username, parts.password) if name]
        _ask(connection, reader, " ".join(["AUTH", *names]).encode())
    return connection, reader


def _ask(connection: socket.socket, reader: BufferedReader, command: bytes) -> None:
    """Send one inline command and read its reply; a refusal is an error."""
    connection.sendall(command + LINE_END)
    reply = reader.readline()
    if not reply:
        message = "the server closed the connection"
        raise ConnectionError(message)
    if reply.startswith(b"-"):
        message = f"the server refused {command.split()[0].decode()}: {reply.decode().strip()}"
        raise RuntimeError(message)
