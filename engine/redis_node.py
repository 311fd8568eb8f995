"""One Redis server: a connection that is opened anew when it broke, its scripts, what it tells.

A connection that breaks is no error here: `receive` and `ask` answer None, and the next `connect`
tries again. Nothing here knows whether there are other servers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    TimeoutError,
)

from engine.errors import AuthError
from engine.redis_connection import Address, Wire, Wires, refuse_certificate
from engine.redis_replies import OURS, refusal
from engine.redis_watch import ServerWatch

log = logging.getLogger(__name__)

PASSING_ERRORS = (ConnectionError, TimeoutError, OSError)
NOT_ALLOWED = (AuthenticationError, AuthorizationError, NoPermissionError)

# what each script does is in `engine.redis_scripts`; a node only loads them at every connect
Scripts = tuple[str, ...]


class RedisNode:
    """A server, and whether it is connected."""

    def __init__(self, wire: Wire, *, scripts: Scripts, watch: ServerWatch) -> None:
        """Nothing is opened yet."""
        self.wire, self.watch = wire, watch
        self._scripts = scripts
        self.is_open = False

    def connect(self) -> bool:
        """Connect where that is to be done; return whether it is; raise what waiting mends not."""
        if not self.is_open:
            try:
                self._connect()
            except PASSING_ERRORS as error:
                self.lost(error)
        return self.is_open

    def _connect(self) -> None:
        start(self.wire, [("SCRIPT", "LOAD", script) for script in self._scripts])
        self._see(connected=True)
        self.is_open = True

    def look(self) -> None:
        """Look what the server says of itself."""
        try:
            self._see()
        except PASSING_ERRORS as error:
            self.lost(error)

    def _see(self, *, connected: bool = False) -> None:
        self.wire.send_command(self.watch.question)
        try:
            self.watch.see(self.wire.read_response(), connected=connected)
        except redis.ResponseError as error:
            self.watch.refused(str(error))

    def ask(self, *words: str) -> Any:
        """Return the reply to one command, None where Redis is away; raise what it refuses."""
        if not self.is_open:
            return None
        try:
            self.wire.send_command(*words)
            return self.wire.read_response()
        except PASSING_ERRORS as error:
            self.lost(error)
            return None

    def send(self, block: NDArray[np.uint8]) -> None:
        """Send commands; `receive` says what became of them."""
        if not self.is_open:
            return
        try:
            self.wire.send_block(block)
        except PASSING_ERRORS as error:
            self.lost(error)

    def receive(self, n_replies: int) -> bytes | None:
        """Return the replies to what was sent, None where the connection broke."""
        if not self.is_open:
            return None
        try:
            replies = self.wire.receive_block(n_replies)
        except PASSING_ERRORS as error:
            self.lost(error)
            return None
        if b"-NOSCRIPT" in replies or b"-READONLY" in replies:  # the address may lead elsewhere now
            self.close()
        return replies

    def lost(self, error: Exception) -> None:
        """Let go of a connection that broke."""
        self.close()
        log.warning("sink.url: Redis does not answer (%s); waiting and trying again", error)

    def close(self) -> None:
        """Close the connection."""
        self.is_open = False
        self.wire.disconnect()


def start(wire: Wire, commands: Iterable[tuple[str, ...]], *, credentials: str = OURS) -> list[Any]:
    """Open a connection and return the replies to its first commands.

    Raises ConnectionError for what may pass by itself.
    """
    try:
        wire.connect()
        return [reply_to(wire, words) for words in commands]
    except NOT_ALLOWED as error:
        raise AuthError(refusal(str(error), credentials)) from None
    except ConnectionError as error:
        refuse_certificate(error)
        raise
    except redis.ResponseError as error:
        wire.disconnect()
        raise ConnectionError(str(error)) from None


def reply_to(wire: Wire, words: tuple[str, ...]) -> Any:
    """Return the reply to one command."""
    wire.send_command(*words)
    return wire.read_response()


def first_reply(
    wires: Wires, addresses: Iterable[Address], *words: str, credentials: str = OURS
) -> tuple[Address, Any]:
    """Return which server is the first to answer, and what; raise ConnectionError if none does.

    One that answers nothing is passed over, unless all do.
    """
    problem: Exception = ConnectionError("no address is known")
    found: tuple[Address, Any] | None = None
    for address in addresses:
        wire = wires.to(address)
        try:
            found = address, start(wire, [words], credentials=credentials)[0]
        except PASSING_ERRORS as error:
            problem = error
        finally:
            wire.disconnect()
        if found is not None and found[1] is not None:
            return found
    if found is None:
        raise problem
    return found
