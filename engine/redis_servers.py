"""Which servers there are: one, or the one that sentinels name. A cluster is `redis_cluster`.

The writer hands over rows and gets answers; where a row goes, and who is asked when a server is
gone, is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import redis
from numpy.typing import NDArray
from redis.exceptions import ConnectionError

from engine.errors import AuthError, ConfigError
from engine.redis_connection import Address, Wires
from engine.redis_flags import Ask
from engine.redis_node import PASSING_ERRORS, RedisNode, first_reply
from engine.redis_replies import Answer, refusal

PART_ROWS = 1_250

# renders the commands of some rows
Render = Callable[[NDArray[np.int64]], NDArray[np.uint8]]

SENTINELS = "sink.sentinel_username, sink.sentinel_password_file or REDIS_SENTINEL_PASSWORD"


class Servers(Protocol):
    """All servers of one sink; what is lost is connected anew at the next call that needs it."""

    @property
    def are_ready(self) -> bool:
        """Whether every server is connected, as far as is known."""

    def check(self) -> None:
        """Connect what is lost, and look what the others say of themselves."""

    def exchange(self, rows: NDArray[np.int64], render: Render) -> list[Answer]:
        """Send the command of each row to where it belongs, and return all answers."""

    def askers(self, key: str | None) -> list[Ask]:
        """Return how to ask each server that may have this key, or any key at all."""

    def close(self) -> None:
        """Close all connections."""


def parts_of(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield rows in parts: one is run by Redis while the next is rendered."""
    for i in range(0, len(rows), PART_ROWS):
        yield rows[i : i + PART_ROWS]


class SingleServer:
    """The server at the address of the URL."""

    def __init__(self, node: RedisNode) -> None:
        """Nothing is connected yet."""
        self._node = node

    @property
    def are_ready(self) -> bool:
        """Whether it is connected."""
        return self._node.is_open

    def check(self) -> None:
        """See `Servers.check`."""
        if self._node.is_open:
            self._node.look()
        else:
            self._connect()

    def _connect(self) -> bool:
        return self._node.connect()

    def exchange(self, rows: NDArray[np.int64], render: Render) -> list[Answer]:
        """Send all to the one server."""
        if not self._connect():
            return [Answer(rows, None)]
        for part in parts_of(rows):
            self._node.send(render(part))
        return [Answer(rows, self._node.receive(len(rows)))]

    def askers(self, key: str | None) -> list[Ask]:
        """All is at the one server."""
        return [self._node.ask]

    def close(self) -> None:
        """Close the connection."""
        self._node.close()


class SentinelServer(SingleServer):
    """The master that sentinels name: they are asked at each connection, and at each check."""

    def __init__(self, node: RedisNode, *, name: str, sentinels: Wires, servers: Wires) -> None:
        """`sentinels` leads to those, `servers` to what they name; `name` is their word for it."""
        super().__init__(node)
        self._name, self._sentinels, self._servers = name, sentinels, servers
        self._master: Address | None = None

    def check(self) -> None:
        """Leave a master that the sentinels no longer name: it may not know it yet."""
        try:
            if self._node.is_open and self._named() != self._master:
                self._node.close()
        except PASSING_ERRORS:
            pass  # as long as the master answers, it is not missed that no sentinel does
        super().check()

    def _connect(self) -> bool:
        if self._node.is_open:
            return True
        try:
            self._master = self._named()
            self._node.wire = self._servers.to(self._master)
        except PASSING_ERRORS as error:
            self._node.lost(error)
            return False
        if self._node.connect() and not self._is_master():
            self._node.lost(ConnectionError(f"{self._master} is not the master yet"))
        return self._node.is_open

    def _is_master(self) -> bool:
        try:
            role = self._node.ask("ROLE")
        except redis.ResponseError as error:
            raise AuthError(refusal(str(error))) from None
        return role is not None and role[0] == b"master"

    def _named(self) -> Address:
        words = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)
        seeds = self._sentinels.seeds
        seeds.append(seeds.pop(0))  # each in its turn, since one that is cut off knows no news
        _, answer = first_reply(self._sentinels, seeds, *words, credentials=SENTINELS)
        if answer is None:
            problem = f"the sentinels know no {self._name!r}; give a name of `SENTINEL MASTERS`"
            raise ConfigError(key="sink.sentinel_name", problem=problem)
        return Address(answer[0].decode(), int(answer[1]))
