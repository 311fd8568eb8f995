"""A real master with a replica, and three sentinels that agree on which of the two it is.

One of them is much quicker to take a server for dead, and its word is enough to vote: on a busy
machine three candidates at once would go on splitting the votes.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import redis

from tests.services.process import LOOPBACK, wait_until
from tests.services.valkey import ValkeyServer
from tests.services.valkey_cluster import DEADLINE_S, ask, is_in_step, is_running

NAME = "keys"
N_SENTINELS, QUORUM = 3, 1
PATIENCE_MS, OF_THE_OTHERS_MS = 500, 4000
PERIODS = [word for name in ("INFO", "PING", "PUBLISH", "ASK") for word in (f"{name}-PERIOD", 100)]
"""They look each tenth of a second, where they would each second or less often."""


class SentinelServer(ValkeyServer):
    """A sentinel: it writes what it knows into its own configuration file."""

    def watch(self, master: ValkeyServer, patience_ms: int) -> Self:
        """Say whom to watch over, before the start."""
        config = self.folder / "sentinel.conf"
        told = [
            f"port {self.port}",
            f"bind {LOOPBACK}",
            f"sentinel monitor {NAME} {LOOPBACK} {master.port} {QUORUM}",
            f"sentinel down-after-milliseconds {NAME} {patience_ms}",
            f"sentinel failover-timeout {NAME} 1000",  # a vote without a majority is soon repeated
        ]
        config.write_text("\n".join(told) + "\n")
        return self

    def argv(self) -> list[str]:
        """The server as a sentinel."""
        return [str(self._binary), str(self.folder / "sentinel.conf"), "--sentinel"]


class Sentinels:
    """`with Sentinels(folder) as sentinels:`."""

    def __init__(self, folder: Path) -> None:
        """Choose the ports; nothing runs until it is entered."""
        soon = ("--repl-diskless-sync-delay", "0")
        self.first = ValkeyServer(folder / "first", arguments=soon)
        follow = ("--replicaof", f"{LOOPBACK} {self.first.port}", *soon)
        self.second = ValkeyServer(folder / "second", arguments=follow)
        self.sentinels = [
            SentinelServer(folder / f"sentinel-{n}").watch(
                self.first, OF_THE_OTHERS_MS if n else PATIENCE_MS
            )
            for n in range(N_SENTINELS)
        ]

    @property
    def url(self) -> str:
        """The address of all sentinels."""
        return f"redis://{','.join(f'{LOOPBACK}:{node.port}' for node in self.sentinels)}/0"

    @property
    def overrides(self) -> list[str]:
        """What an engine is told that writes to what they watch over."""
        return [f"sink.url='{self.url}'", "sink.topology=sentinel", f"sink.sentinel_name={NAME}"]

    @property
    def master(self) -> ValkeyServer:
        """The server that is the master."""
        servers = [node for node in (self.first, self.second) if is_running(node)]
        return next(node for node in servers if ask(node, "ROLE")[0] == "master")

    def client(self, db: int = 0, **settings: Any) -> redis.Redis:
        """A client of the master."""
        return self.master.client(db, **settings)

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for node in (self.first, self.second, *self.sentinels):
                started.enter_context(node)
            for node in self.sentinels:
                ask(node, "SENTINEL", "DEBUG", *PERIODS)
            wait_until(self._agree, deadline_s=DEADLINE_S, what="sentinels that know each other")
            self._started = started.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._started.close()

    def _agree(self) -> bool:
        """Whether every sentinel knows the others and the replica."""
        known = [ask(node, "SENTINEL", "MASTER", NAME) for node in self.sentinels]
        return is_in_step(self.second) and all(
            (one["num-other-sentinels"], one["num-slaves"]) == (str(N_SENTINELS - 1), "1")
            for one in known
        )
