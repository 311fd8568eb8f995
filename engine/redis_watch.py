"""What Redis says of itself: keys that it evicts, and whether it is still the server it was.

Both mean that decisions are gone before their time. That cannot be prevented from here, so it is
said, with what to do about it. A server that was emptied by a command looks like any other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

INFO, PING = "INFO", "PING"


class ServerWatch:
    """Reads the answers to `question`; not thread-safe, as the connection that asks."""

    def __init__(self, *, on_evicted: Callable[[int], None], replay: str) -> None:
        """`on_evicted` hears how many keys more were evicted; `replay` is what restores them."""
        self._on_evicted, self._replay = on_evicted, replay
        self._server: tuple[str, ...] | None = None
        self._n_evicted: int | None = None
        self.question = INFO

    def refused(self, problem: str) -> None:
        """Ask for no more than an answer from now on."""
        if self.question != PING:
            log.info("sink.url: INFO is refused (%s), so keys that Redis evicts go unseen", problem)
            self.question = PING

    def see(self, answer: object, *, connected: bool) -> None:
        """Take an answer; `connected` where it is the first one of a connection."""
        if self.question == PING:
            return
        info = fields_of(answer)
        if connected:
            self._compare(info)
        self._count(info)

    def _compare(self, info: dict[str, str]) -> None:
        server = (info.get("run_id", ""), info.get("master_replid", ""))
        if self._server not in (None, server):
            is_empty = not any(name.startswith("db") for name in info)
            state = "empty" if is_empty else "as another server, which may lack the last keys"
            log.warning(
                "sink.url: Redis came back %s; to write again what is lost, start an engine with "
                "the same settings and %s beside this one",
                state,
                self._replay,
            )
        self._server = server

    def _count(self, info: dict[str, str]) -> None:
        total = int(info.get("evicted_keys", 0))
        known = total if self._n_evicted is None else self._n_evicted
        n_new = total - known if total >= known else total  # a new server counts from 0
        self._n_evicted = total
        if n_new > 0:
            self._on_evicted(n_new)
            log.warning(
                "sink.url: Redis evicted %d keys, so decisions end too soon: its maxmemory is %s, "
                "its policy %s; give it more memory, or set sink.statistics=flagged",
                n_new,
                info.get("maxmemory_human", "unknown"),
                info.get("maxmemory_policy", "unknown"),
            )


def fields_of(answer: object) -> dict[str, str]:
    """Return the `name:value` lines of an INFO reply."""
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    pairs = (line.partition(":") for line in text.splitlines() if line[:1] != "#")
    return {name: value for name, _, value in pairs}
