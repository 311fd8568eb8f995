"""Failpoints: named places at which a test lets the engine die, stand still or fail.

    ENGINE_TESTING=1 ENGINE_FAILPOINT=commit:2:kill python -m engine ...

acts when `commit` is reached for the second time: `kill` is kill -9, `stop` is SIGSTOP, `raise`
raises. Without ENGINE_TESTING=1 nothing is honoured. Where they are, is in the code: grep `reach(`.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator, Mapping
from typing import NamedTuple

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Failpoint(NamedTuple):
    """What happens when a place is reached for the nth time."""

    name: str
    nth: int
    action: str
    times: Iterator[int]


def failpoint_in(environ: Mapping[str, str]) -> Failpoint | None:
    """Return the failpoint that a test asks for; raise ValueError where it is none."""
    text = environ.get("ENGINE_FAILPOINT")
    if not text or environ.get("ENGINE_TESTING") != "1":
        return None
    name, nth, action = text.split(":")
    if action not in (*SIGNALS, "raise"):
        message = f"ENGINE_FAILPOINT={text}: name:nth:kill|stop|raise"
        raise ValueError(message)
    return Failpoint(name, int(nth), action, itertools.count(1))


def reach(name: str) -> None:
    """Act where a test wants it at this place."""
    if _wanted is None or name != _wanted.name or next(_wanted.times) != _wanted.nth:
        return
    if _wanted.action == "raise":
        message = f"the failpoint {name} was reached"
        raise RuntimeError(message)
    os.kill(os.getpid(), SIGNALS[_wanted.action])


_wanted = failpoint_in(os.environ)
