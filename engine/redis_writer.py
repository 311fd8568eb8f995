"""Mass insertion: a block of rendered commands out, every reply counted, only failures sent again.

Retries are ours alone, since the client's would hide how often a command ran; all commands that go
through here may run twice. Nothing here knows what a verdict is, or how many servers there are.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from redis.backoff import ExponentialWithJitterBackoff

from engine.redis_flags import Ask
from engine.redis_replies import KEPT, failed_in, kept_in
from engine.redis_servers import Servers

LOOK_S = 10.0

# renders the commands of some rows (uint8), with TTLs that are so many seconds less than at first
Render = Callable[[NDArray[np.int64], int], NDArray[np.uint8]]


class RedisWriter:
    """Writes until every command is acknowledged, however often a connection breaks."""

    def __init__(
        self, servers: Servers, *, stopping: threading.Event, on_state: Callable[[bool], None]
    ) -> None:
        """Nothing is opened yet; `on_state` hears False when Redis is lost and True when back."""
        self._servers, self._looked_s = servers, -math.inf
        self._stopping, self._on_state = stopping, on_state
        self._backoff = ExponentialWithJitterBackoff(base=0.1, cap=10.0)

    def open(self) -> None:
        """Connect if Redis is there; raise only what waiting does not mend."""
        self._on_state(False)
        self.check()

    def check(self) -> None:
        """About every 10 s, connect where Redis was lost and look what it says of itself."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        self._servers.check()
        self._on_state(self._servers.are_ready)

    def askers(self, key: str | None) -> list[Ask]:
        """Return how to ask each server that may have this key (None: any key)."""
        return self._servers.askers(key)

    def write(self, ttl_s: NDArray[np.int64], render: Render) -> NDArray[np.bool_] | None:
        """Write a command for each row, until it is acknowledged or its TTL is over.

        Returns bool[n], where Redis keeps a later value instead, or None where a stop cut it short.
        What is sent again is rendered again: its TTL is less by then.
        """
        kept, rows = np.zeros(len(ttl_s), np.bool_), np.arange(len(ttl_s))
        begun_s, late_s, n_failures = time.monotonic(), 0, 0
        while len(rows):
            rows = self._try(rows, late_s, render, kept)
            if len(rows):
                n_failures += 1
                self._on_state(False)
                if self._stopping.wait(self._backoff.compute(n_failures)):
                    return None
            late_s = int(time.monotonic() - begun_s)
            rows = rows[ttl_s[rows] > late_s]
        self._on_state(self._servers.are_ready)
        return kept

    def _try(
        self, rows: NDArray[np.int64], late_s: int, render: Render, kept: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Send these rows; note which are kept, and return those that failed, in their order."""
        failed = [rows[:0]]
        for answer in self._servers.exchange(rows, lambda part: render(part, late_s)):
            if answer.replies is None:
                failed.append(answer.rows)
                continue
            if KEPT in answer.replies:
                kept[answer.rows] = kept_in(answer.replies)
            failed.append(answer.rows[failed_in(answer.replies)])
        return np.sort(np.concatenate(failed))

    def close(self) -> None:
        """Close all connections."""
        self._servers.close()
