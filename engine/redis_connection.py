"""Connections to Redis: the client's own, which send and receive in blocks as well.

Address, TLS and authentication stay the client's work. Where the URL names several hosts, each
connection goes to one of them, or to another that they name, with the same options.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import numpy as np
import redis
from numpy.typing import NDArray
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import ConnectionError
from redis.retry import Retry

from engine.errors import AuthError, ConfigError
from engine.sink_config import hosts_of

TIMEOUT_S = 5.0
TLS_FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
VERIFIED = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
RECEIVE_BYTES = 1 << 20
REDIS_PORT = 6379
NOTHING: Mapping[str, Any] = MappingProxyType({})


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

    def send_block(self, block: NDArray[np.uint8]) -> None:
        """Send many commands."""

    def receive_block(self, n_replies: int) -> bytes:
        """Return all of their replies."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class MassInsertion:
    """Adds to a client connection: send many commands, return all of their replies."""

    _sock: Any

    def send_block(self, block: NDArray[np.uint8]) -> None:
        """Send commands; Redis runs them while the next ones are rendered."""
        self._sock.sendall(block.data)

    def receive_block(self, n_replies: int) -> bytes:
        """Return so many one-line replies, as bytes."""
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


class Wires:
    """Makes connections that differ in their address only; the client alone holds the password."""

    def __init__(
        self,
        url: str,
        *,
        username: str | None,
        password: str | None,
        default_port: int = REDIS_PORT,
        extra: Mapping[str, Any] = NOTHING,
    ) -> None:
        """Refuse what no connection can be made of; `extra` goes over the options of the URL."""
        parts = urlsplit(url)
        self.seeds = [] if parts.scheme == "unix" else seeds_of(url, default_port)
        options = options_of(alone(url))
        kinds = {SSLConnection: MassSSLConnection, UnixDomainSocketConnection: MassUnixConnection}
        self._kind = kinds.get(options.pop("connection_class", None), MassConnection)
        defaults: dict[str, Any] = {
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "protocol": 2,
        }
        if self._kind is MassSSLConnection:
            defaults |= VERIFIED
        options["username"] = username or options.get("username")
        options["password"] = password or options.get("password")
        self._options = defaults | options | dict(extra)
        self.to()

    def to(self, address: Address | None = None) -> Wire:
        """Return an unopened connection: to this address, or to the first that the URL names."""
        target = address or next(iter(self.seeds), None)
        where = {} if target is None else target._asdict()
        try:
            wire: Wire = self._kind(**self._options | where, retry=Retry(NoBackoff(), 0))
        except (TypeError, redis.RedisError):
            problem = "has an option behind the `?` that the client does not take"
            raise ConfigError(key="sink.url", problem=problem) from None
        return wire


def options_of(url: str) -> dict[str, Any]:
    """Return what the client reads in a URL; refuse one that it cannot read."""
    try:
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        problem = f"is no Redis address: {error}"  # it may hold a password, so it is not shown
        raise ConfigError(key="sink.url", problem=problem) from None
    for name in TLS_FILES & options.keys():
        if not Path(options[name]).is_file():
            problem = f"{name}={options[name]!r} is not there; give the path of a file"
            raise ConfigError(key="sink.url", problem=problem)
    return options


def seeds_of(url: str, default_port: int) -> list[Address]:
    """Return the addresses that a URL names."""
    named = (urlsplit(f"//{host}") for host in hosts_of(url))
    return [Address(host.hostname or "localhost", host.port or default_port) for host in named]


def alone(url: str) -> str:
    """Return the URL with its first host only, as the client reads it."""
    hosts = hosts_of(url)
    return url.replace(",".join(hosts), hosts[0], 1)


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
