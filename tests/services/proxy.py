"""A TCP proxy between a client and a service: it delays, holds, cuts, and watches Kafka requests.

Each direction is a `Flow`. What is held stays in the proxy until it is let go, as on a line that is
half open; `cut` resets every connection, and `refuse` lets no new one in.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

from tests.services.process import LOOPBACK, free_port

CHUNK_BYTES = 1 << 16
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: close with a reset, as a line that breaks does."""

OFFSET_COMMIT = 8
"""The api key with which a request to commit offsets begins, after its length."""


class Flow:
    """What the proxy does with the bytes of one direction."""

    def __init__(self) -> None:
        """Everything passes at once."""
        self.delay_s = 0.0
        self.cut_after_bytes: int | None = None
        self._passing = threading.Event()
        self._passing.set()

    def hold(self) -> None:
        """Keep what comes from now on."""
        self._passing.clear()

    def let_go(self) -> None:
        """Pass on what was kept and all that comes."""
        self._passing.set()

    def passed(self, data: bytes) -> bytes:
        """Return what passes of the data, when it may; less than it where the line is cut there."""
        time.sleep(self.delay_s)
        self._passing.wait()
        if self.cut_after_bytes is None:
            return data
        some = data[: self.cut_after_bytes]
        self.cut_after_bytes = self.cut_after_bytes - len(some) if len(some) == len(data) else None
        return some


class Proxy:
    """`with Proxy(port) as proxy:` forwards `proxy.port` to the service's port."""

    def __init__(self, target_port: int, port: int | None = None) -> None:
        """Choose the port; nothing listens until it is entered.

        `on_commit` is asked before a request to commit offsets passes, on connections that come
        after it is set; where it says no, the connection is cut.
        """
        self.target_port, self.port = target_port, port or free_port()
        self.requests, self.replies = Flow(), Flow()
        self.on_commit: Callable[[], bool] | None = None
        self.n_commits = 0
        self._refusing = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []

    def __enter__(self) -> Self:
        self._server = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.close()
        self.cut()
        self.requests.let_go()
        self.replies.let_go()

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"{LOOPBACK}:{self.port}"

    def refuse(self, *, refusing: bool = True) -> None:
        """Reset every connection that comes from now on, or let them in again."""
        self._refusing = refusing
        if refusing:
            self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                reset(end)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                self._join(client)

    def _join(self, client: socket.socket) -> None:
        try:
            if self._refusing:
                raise ConnectionRefusedError
            service = socket.create_connection((LOOPBACK, self.target_port))
        except OSError:
            reset(client)
            return
        self._pairs.append((client, service))
        for source, target, flow in (
            (client, service, self.requests),
            (service, client, self.replies),
        ):
            parts = self._watched(source) if flow is self.requests else chunks_of(source)
            argv = (parts, (source, target), flow)
            threading.Thread(target=self._pump, args=argv, name="pump", daemon=True).start()

    def _pump(
        self, parts: Iterator[bytes], pair: tuple[socket.socket, socket.socket], flow: Flow
    ) -> None:
        with suppress(OSError):
            for part in parts:
                passed = flow.passed(part)
                pair[1].sendall(passed)
                if len(passed) < len(part):
                    break
        for end in pair:
            reset(end)

    def _watched(self, source: socket.socket) -> Iterator[bytes]:
        """Yield what the client sends; ask `on_commit` before each request to commit offsets."""
        for part in frames_of(source) if self.on_commit else chunks_of(source):
            if self.on_commit and part[4:6] == struct.pack(">h", OFFSET_COMMIT):
                self.n_commits += 1
                if not self.on_commit():
                    return
            yield part


def chunks_of(source: socket.socket) -> Iterator[bytes]:
    """Yield what comes, as it comes."""
    while chunk := source.recv(CHUNK_BYTES):
        yield chunk


def frames_of(source: socket.socket) -> Iterator[bytes]:
    """Yield Kafka's requests, each with its length before it."""
    buffer = b""
    for chunk in chunks_of(source):
        buffer += chunk
        while len(buffer) >= 4 and len(buffer) >= (size := 4 + struct.unpack(">i", buffer[:4])[0]):
            yield buffer[:size]
            buffer = buffer[size:]


def reset(end: socket.socket) -> None:
    """Close one end of a connection as a broken line does."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        end.shutdown(socket.SHUT_RDWR)
    end.close()
