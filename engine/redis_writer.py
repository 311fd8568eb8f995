"""Mass insertion: a block of rendered commands out, every reply counted, only failures sent again.

Retries are ours alone, since the client's would hide how often a command ran; all commands that go
through here may run twice. Nothing here knows what a verdict is.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, ConnectionError, TimeoutError

from engine.errors import AuthError, ConfigError, UnavailableError
from engine.redis_connection import Wire, refuse_certificate
from engine.redis_watch import ServerWatch

log = logging.getLogger(__name__)

LOOK_S = 10.0
PASSING_ERRORS = (ConnectionError, TimeoutError, OSError)
PART_ROWS = 1_250
REFUSED = (b"NOAUTH", b"WRONGPASS", b"NOPERM")
PASSING = (b"OOM", b"READONLY", b"LOADING", b"BUSY", b"MASTERDOWN", b"CLUSTERDOWN", b"TRYAGAIN") + (
    b"NOREPLICAS",
    b"NOSCRIPT",
    b"MISCONF",
)

# The only commands here that a server may not know are those of the fields of a hash.
UNKNOWN_COMMAND = re.compile(rb"ERR unknown (redis )?command", re.IGNORECASE)
KEPT = b"+KEPT\r\n"  # what a script answers that leaves a later expiry as it is

# what each script does is in `engine.redis_scripts`; a writer only loads them at every connect
Scripts = tuple[str, ...]

# renders the commands of some rows (uint8), with TTLs that are so many seconds less than at first
Render = Callable[[NDArray[np.int64], int], NDArray[np.uint8]]


class RedisWriter:
    """Writes until every command is acknowledged, however often the connection breaks."""

    def __init__(
        self,
        connection: Wire,
        *,
        scripts: Scripts = (),
        stopping: threading.Event,
        on_state: Callable[[bool], None],
        watch: ServerWatch,
    ) -> None:
        """Nothing is opened yet; `on_state` hears False when Redis is lost and True when back."""
        self._connection, self._scripts = connection, scripts
        self._watch, self._looked_s = watch, -math.inf
        self._stopping, self._on_state = stopping, on_state
        self._backoff = ExponentialWithJitterBackoff(base=0.1, cap=10.0)
        self._open = False

    def open(self) -> None:
        """Connect if Redis is there; raise only what waiting does not mend."""
        self._on_state(False)
        self.check()

    def check(self) -> None:
        """About every 10 s, connect where Redis was lost and look what it says of itself."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        try:
            if self._open:
                self._look()
            else:
                self.connect()
        except PASSING_ERRORS as error:
            self._lost(error)

    def _look(self, *, connected: bool = False) -> None:
        self._connection.send_command(self._watch.question)
        try:
            self._watch.see(self._connection.read_response(), connected=connected)
        except redis.ResponseError as error:
            self._watch.refused(str(error))

    def connect(self) -> None:
        """Open the connection and load the scripts; raise what the client raises."""
        try:
            self._connection.connect()
            for script in self._scripts:
                self._connection.send_command("SCRIPT", "LOAD", script)
                self._connection.read_response()
        except (AuthenticationError, AuthorizationError) as error:
            raise AuthError(refusal(str(error))) from None
        except ConnectionError as error:
            refuse_certificate(error)
            raise
        except redis.ResponseError as error:
            self._connection.disconnect()
            if str(error).encode().startswith(REFUSED):
                raise AuthError(refusal(str(error))) from None
            raise ConnectionError(str(error)) from None
        self._look(connected=True)
        self._open = True
        self._on_state(True)

    def ask(self, *words: str) -> Any:
        """Return the reply to one command, None where Redis is away; raise what it refuses."""
        if not self._open:
            return None
        try:
            self._connection.send_command(*words)
            return self._connection.read_response()
        except PASSING_ERRORS as error:
            self._lost(error)
            return None

    def write(self, ttl_s: NDArray[np.int64], render: Render) -> NDArray[np.bool_] | None:
        """Write a command for each row, until it is acknowledged or its TTL is over.

        Returns bool[n], where Redis keeps a later value instead, or None where a stop cut it short.
        What is sent again is rendered again: its TTL is less by then.
        """
        kept, rows = np.zeros(len(ttl_s), np.bool_), np.arange(len(ttl_s))
        begun_s, late_s, n_failures = time.monotonic(), 0, 0
        while len(rows):
            replies = self._try(rows, late_s, render)
            failed = np.arange(len(rows)) if replies is None else failed_in(replies)
            if replies is not None and KEPT in replies:
                kept[rows] = kept_in(replies)
            if len(failed):
                n_failures += 1
                self._on_state(False)
                if self._stopping.wait(self._backoff.compute(n_failures)):
                    return None
            late_s = int(time.monotonic() - begun_s)
            rows = rows[failed]
            rows = rows[ttl_s[rows] > late_s]
        if n_failures:
            self._on_state(True)
        return kept

    def _try(self, rows: NDArray[np.int64], late_s: int, render: Render) -> bytes | None:
        """Return the replies, or None where the connection broke."""
        parts = (render(rows[i : i + PART_ROWS], late_s) for i in range(0, len(rows), PART_ROWS))
        try:
            if not self._open:
                self.connect()
            replies = self._connection.exchange(parts, len(rows))
        except PASSING_ERRORS as error:
            self._lost(error)
            return None
        if b"-NOSCRIPT" in replies or b"-READONLY" in replies:  # the address may lead elsewhere now
            self._open = False
            self._connection.disconnect()
        return replies

    def _lost(self, error: Exception) -> None:
        self._open = False
        self._on_state(False)
        self._connection.disconnect()
        log.warning("sink.url: Redis does not answer (%s); waiting and trying again", error)

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()


def failed_in(replies: bytes) -> NDArray[np.int64]:
    """Return which replies are errors that pass by themselves; raise what the others mean."""
    if replies[:1] != b"-" and b"\n-" not in replies:
        return np.empty(0, np.int64)
    lines = replies.split(b"\r\n")[:-1]
    failed = [i for i, line in enumerate(lines) if line.startswith(b"-")]
    for message in {lines[i][1:] for i in failed}:
        check_error(message)
        text = message.decode("ascii", "replace")
        log.warning("sink.url: Redis answers %r; sending again", text)
    return np.array(failed, np.int64)


def kept_in(replies: bytes) -> NDArray[np.bool_]:
    """Return for each reply whether Redis keeps a later value."""
    return np.array([line == KEPT for line in replies.splitlines(keepends=True)])


def refusal(message: str) -> str:
    """Return the line for a password or a permission that Redis refuses."""
    return (
        f"sink.url: Redis refuses us: {message}; check sink.username, sink.password_file or "
        "REDIS_PASSWORD, and the user's ACL"
    )


def check_error(message: bytes) -> None:
    """Raise where an error reply will not pass by itself."""
    text = message.decode("ascii", "replace")
    if message.startswith(REFUSED):
        raise AuthError(refusal(text))
    if UNKNOWN_COMMAND.match(message):
        problem = "'hash' needs Valkey 9 or Redis 8 (HSETEX); this server is older: use 'keys'"
        raise ConfigError(key="sink.layout", problem=problem)
    if not message.startswith(PASSING):
        problem = f"sink.url: Redis refuses a write: {text}"
        raise UnavailableError(problem)
