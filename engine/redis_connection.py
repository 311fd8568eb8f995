"""A connection to Redis: the client's own, with one method more.

Address, TLS and authentication stay the client's work; `exchange` sends many commands at once.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import redis
from numpy.typing import NDArray
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import ConnectionError
from redis.retry import Retry

from engine.errors import AuthError, ConfigError

TIMEOUT_S = 5.0
TLS_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
VERIFIED = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
RECEIVE_BYTES = 1 << 20


class Wire(Protocol):
    """What is used of a client connection."""

    def connect(self) -> None:
        """Open and authenticate."""

    def disconnect(self) -> None:
        """Close."""

    def send_command(self, *words: str) -> None:
        """Send one command."""

    def read_response(self) -> object:
        """Read its reply; raise where it is an error."""

    def exchange(self, parts: Iterable[NDArray[np.uint8]], n_replies: int) -> bytes:
        """Send commands, return all of their replies."""


class MassInsertion:
    """Adds to a client connection: send many commands, return all of their replies."""

    _sock: Any

    def exchange(self, parts: Iterable[NDArray[np.uint8]], n_replies: int) -> bytes:
        """Send the commands and return their n one-line replies, as bytes.

        A part is sent when it is there, so that Redis runs it while the next one is rendered.
        """
        for part in parts:
            self._sock.sendall(part.data)
        received, n_lines = [], 0
        while n_lines < n_replies:
            answer = self._sock.recv(RECEIVE_BYTES)
            if not answer:
                message = "Redis closed the connection"
                raise ConnectionError(message)
            received.append(answer)
            n_lines += answer.count(b"\n")
        return b"".join(received)


class MassConnection(MassInsertion, Connection):
    """TCP."""


class MassSSLConnection(MassInsertion, SSLConnection):
    """TLS."""


class MassUnixConnection(MassInsertion, UnixDomainSocketConnection):
    """A unix socket."""


def connection_to(url: str, *, username: str | None, password: str | None) -> Wire:
    """Return an unopened connection; the password is held by the client only."""
    try:
        options = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        problem = f"is no Redis address: {error}"  # it may hold a password, so it is not shown
        raise ConfigError(key="sink.url", problem=problem) from None
    for name in TLS_FILES & options.keys():
        if not Path(options[name]).is_file():
            problem = f"{name}={options[name]!r} is not there; give the path of a file"
            raise ConfigError(key="sink.url", problem=problem)
    kinds = {SSLConnection: MassSSLConnection, UnixDomainSocketConnection: MassUnixConnection}
    kind = kinds.get(options.pop("connection_class", None), MassConnection)
    defaults: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    if kind is MassSSLConnection:
        defaults |= VERIFIED
    options["username"] = username or options.get("username")
    options["password"] = password or options.get("password")
    try:
        connection: Wire = kind(**defaults | options, protocol=2, retry=Retry(NoBackoff(), 0))
    except (TypeError, redis.RedisError):
        problem = "has an option behind the `?` that the client does not take"
        raise ConfigError(key="sink.url", problem=problem) from None
    return connection


def refuse_certificate(error: Exception) -> None:
    """Raise where the client could not connect because of the server's certificate."""
    cause = error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = cause.verify_message.rstrip(".")
        problem = (
            f"sink.url: the certificate of Redis is refused: {why}; name the host as the "
            "certificate does, and its CA behind the URL: ?ssl_ca_certs=FILE"
        )
        raise AuthError(problem) from None
