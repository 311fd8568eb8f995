"""Replies to mass insertion: which errors pass by themselves, and which rows another node has."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import AuthError, ConfigError, UnavailableError
from engine.redis_connection import Address

log = logging.getLogger(__name__)

REFUSED = (b"NOAUTH", b"WRONGPASS", b"NOPERM")
PASSING = (b"OOM", b"READONLY", b"LOADING", b"BUSY", b"MASTERDOWN", b"CLUSTERDOWN", b"TRYAGAIN") + (
    b"NOREPLICAS",
    b"NOSCRIPT",
    b"MISCONF",
)

# The only commands here that a server may not know are those of the fields of a hash.
UNKNOWN_COMMAND = re.compile(rb"ERR unknown (redis )?command", re.IGNORECASE)
KEPT = b"+KEPT\r\n"  # what a script answers that leaves a later expiry as it is
ELSEWHERE = (b"-MOVED ", b"-ASK ")


class Answer(NamedTuple):
    """What one server said to the commands of these rows; None where the connection broke."""

    rows: NDArray[np.int64]
    replies: bytes | None


class Direction(NamedTuple):
    """Where a reply sends a row: for good (MOVED), or for this once (ASK)."""

    for_good: bool
    address: Address


def directed(answer: Answer, host: str) -> tuple[Answer, dict[Direction, NDArray[np.int64]]]:
    """Split off the rows that another node has; a node that names no host means its own."""
    if answer.replies is None or not any(word in answer.replies for word in ELSEWHERE):
        return answer, {}
    lines = answer.replies.splitlines(keepends=True)
    stay, sent_on = [], defaultdict(list)
    for i, line in enumerate(lines):
        if line.startswith(ELSEWHERE):
            sent_on[direction_of(line, host)].append(i)
        else:
            stay.append(i)
    rest = Answer(answer.rows[np.array(stay, np.int64)], b"".join(lines[i] for i in stay))
    return rest, {to: answer.rows[where] for to, where in sent_on.items()}


def direction_of(line: bytes, host: str) -> Direction:
    """Return what `-MOVED 3999 127.0.0.1:6381` says."""
    kind, _slot, target = line.decode("ascii", "replace").split()
    name, _, port = target.rpartition(":")
    return Direction(kind == "-MOVED", Address(name or host, int(port)))


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


OURS = "sink.username, sink.password_file or REDIS_PASSWORD"


def refusal(message: str, credentials: str = OURS) -> str:
    """Return the line for a password or a permission that Redis refuses."""
    return f"sink.url: Redis refuses us: {message}; check {credentials}, and the user's ACL"


def check_error(message: bytes) -> None:
    """Raise where an error reply will not pass by itself."""
    text = message.decode("ascii", "replace")
    if message.startswith(REFUSED):
        raise AuthError(refusal(text))
    if UNKNOWN_COMMAND.match(message):
        problem = "'hash' needs Valkey 9 or Redis 8 (HSETEX); this server is older: use 'keys'"
        raise ConfigError(key="sink.layout", problem=problem)
    if message.startswith((b"MOVED ", b"ASK ")):
        problem = (
            "the server belongs to a cluster, so 'single' finds few of the keys: use 'cluster'"
        )
        raise ConfigError(key="sink.topology", problem=problem)
    if not message.startswith(PASSING):
        problem = f"sink.url: Redis refuses a write: {text}"
        raise UnavailableError(problem)
