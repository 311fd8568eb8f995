"""A Redis Cluster: each row goes to the master that has its slot, and a master may change.

Which master has which slot is asked at the first use, and again after anything that did not go as
the map says. Rows that a node sends elsewhere (MOVED, ASK) are sent there at once, and only they;
whatever else fails is left to the writer, which waits and tries again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.kernels.address import Bytes as Block
from engine.kernels.slots import N_SLOTS, places, slot_of, some_of
from engine.redis_connection import Address, Wires
from engine.redis_flags import Ask
from engine.redis_node import PASSING_ERRORS, RedisNode, Scripts, first_reply, log
from engine.redis_replies import Answer, Direction, directed, failed_in
from engine.redis_servers import Render, parts_of
from engine.redis_watch import ServerWatch

NOBODY = -1
NOTHING = np.empty(0, np.uint8)
ASKING = np.frombuffer(b"*1\r\n$6\r\nASKING\r\n", np.uint8)

Rows = NDArray[np.int64]
Owners = NDArray[np.int64]
OwnersOf = Callable[[NDArray[np.int64]], Owners]


class SlotMap:
    """Which address has which slot; an address is known by its place in `addresses`."""

    def __init__(self) -> None:
        """Nobody has any."""
        self.addresses: list[Address] = []
        self.owners: Owners = np.full(N_SLOTS, NOBODY, np.int64)

    def place(self, address: Address) -> int:
        """Return the place of an address; a new one is noted."""
        if address not in self.addresses:
            self.addresses.append(address)
        return self.addresses.index(address)

    def owner(self, slot: int) -> Address | None:
        """Return who has a slot."""
        place = self.owners[slot]
        return None if place == NOBODY else self.addresses[place]

    def masters(self) -> list[Address]:
        """Return who has any slot."""
        return [self.addresses[place] for place in np.unique(self.owners) if place != NOBODY]

    def first_slot(self, address: Address) -> int:
        """Return the first slot of a master."""
        return int(np.argmax(self.owners == self.place(address)))


def map_of(reply: Any, host: str) -> SlotMap:
    """Return the map of a reply to CLUSTER SLOTS; a node that names no host means its own."""
    found = SlotMap()
    for first, last, (name, port, *_), *_replicas in reply:
        known = (name or b"?").decode()
        address = Address(host if known == "?" else known, port)
        found.owners[first : last + 1] = found.place(address)
    return found


class Cluster:
    """All masters of a cluster; see `engine.redis_servers.Servers`."""

    def __init__(
        self, wires: Wires, *, scripts: Scripts, new_watch: Callable[[], ServerWatch]
    ) -> None:
        """Nothing is connected yet; the hosts of the URL are only asked who has what."""
        self._wires, self._scripts, self._new_watch = wires, scripts, new_watch
        self._map, self._is_stale = SlotMap(), True
        self._nodes: dict[Address, RedisNode] = {}
        self._named: list[Address] = []  # by nodes that had moved a slot there
        self._n_asked = 0

    @property
    def are_ready(self) -> bool:
        """Whether every slot has a master that is connected."""
        is_whole = bool(np.all(self._map.owners != NOBODY))
        return is_whole and all(node.is_open for node in self._masters())

    def check(self) -> None:
        """See `Servers.check`."""
        self._refresh()
        for node in self._masters():
            if node.is_open:
                node.look()
            else:
                node.connect()
            self._is_stale |= not node.is_open

    def exchange(self, rows: Rows, render: Render) -> list[Answer]:
        """Send each row to the master of its slot, and what that sends on to whom it names."""
        self._refresh()
        for node in self._masters():
            node.connect()
        answers, sent_on = self._send(rows, render, lambda slots: self._map.owners[slots])
        for to, some in sent_on.items():
            answers += self._follow(to, some, render)
        self._named = [to.address for to in sent_on if to.for_good]
        self._is_stale = bool(self._named) or any(map(is_amiss, answers))
        return answers

    def _follow(self, to: Direction, rows: Rows, render: Render) -> list[Answer]:
        """Send rows to whom their node names; those that are sent on once more have failed."""
        place = self._map.place(to.address)
        self._node(to.address).connect()
        before = NOTHING if to.for_good else ASKING
        answers, again = self._send(
            rows, render, lambda slots: np.full(len(slots), place), before=before
        )
        if again:
            log.warning("sink.url: the nodes of the cluster do not agree who has a slot; waiting")
        return answers + [Answer(some, None) for some in again.values()]

    def _send(
        self, rows: Rows, render: Render, owners_of: OwnersOf, *, before: Block = NOTHING
    ) -> tuple[list[Answer], dict[Direction, Rows]]:
        """Send the rows, `before` ahead of each; return the answers, and what is sent on."""
        sent = defaultdict(list)
        for part in parts_of(rows):
            block = render(part)
            ends, slots = places(block, len(part))
            owners = owners_of(slots)
            for owner in np.unique(owners):
                where = np.flatnonzero(owners == owner)
                sent[owner].append(part[where])
                if owner != NOBODY:
                    node = self._node(self._map.addresses[owner])
                    node.send(some_of(block, ends, where, before))
        return self._received(
            {owner: np.concatenate(parts) for owner, parts in sent.items()},
            n_before=min(1, len(before)),
        )

    def _received(
        self, sent: dict[int, Rows], *, n_before: int
    ) -> tuple[list[Answer], dict[Direction, Rows]]:
        """Return the answers of all to whom rows were sent; rows of nobody have failed."""
        answers, sent_on = [], defaultdict(list)
        for owner, rows in sent.items():
            if owner == NOBODY:
                answers.append(Answer(rows, None))
                continue
            address = self._map.addresses[owner]
            replies = self._replies(address, len(rows), n_before=n_before)
            answer, elsewhere = directed(Answer(rows, replies), address.host)
            answers.append(answer)
            for to, some in elsewhere.items():
                sent_on[to].append(some)
        return answers, {to: np.sort(np.concatenate(parts)) for to, parts in sent_on.items()}

    def _replies(self, address: Address, n_replies: int, *, n_before: int) -> bytes | None:
        """Return the replies, without those to what went ahead of each command."""
        each = 1 + n_before
        replies = self._node(address).receive(n_replies * each)
        if replies is None or n_before == 0:
            return replies
        lines = replies.splitlines(keepends=True)
        failed_in(b"".join(lines[::each]))  # raises where we may not ask for it
        return b"".join(lines[n_before::each])

    def askers(self, key: str | None) -> list[Ask]:
        """Return how to ask the master that has this key, or every master."""
        if key is None:
            return [node.ask for node in self._masters()]
        name = key.encode()
        owner = self._map.owner(slot_of(np.frombuffer(name, np.uint8), 0, len(name)))
        return [] if owner is None else [self._node(owner).ask]

    def close(self) -> None:
        """Close all connections."""
        for node in self._nodes.values():
            node.close()

    def _masters(self) -> list[RedisNode]:
        return [self._node(address) for address in self._map.masters()]

    def _node(self, address: Address, watch: ServerWatch | None = None) -> RedisNode:
        """Return the node at an address; a new one is not connected."""
        if address not in self._nodes:
            self._nodes[address] = RedisNode(
                self._wires.to(address), scripts=self._scripts, watch=watch or self._new_watch()
            )
        return self._nodes[address]

    def _refresh(self) -> None:
        """Ask who has which slot, where something did not go as the map says."""
        if not self._is_stale:
            return
        try:
            address, reply = first_reply(self._wires, self._whom_to_ask(), "CLUSTER", "SLOTS")
        except PASSING_ERRORS as error:
            refuse_single(error)
            log.warning("sink.url: no node of the cluster answers (%s)", error)
            return
        self._take(map_of(reply, address.host))
        self._is_stale, self._named = False, []
        if n_lacking := int(np.count_nonzero(self._map.owners == NOBODY)):
            log.warning("sink.url: %d slots of the cluster have no master", n_lacking)

    def _whom_to_ask(self) -> list[Address]:
        """Return all addresses, each first in its turn, since one that is cut off knows no news."""
        known = list(dict.fromkeys([*self._map.masters(), *self._wires.seeds]))
        self._n_asked += 1
        first = self._n_asked % len(known)
        in_turn = known[first:] + known[:first]
        is_lost = {address: not node.is_open for address, node in self._nodes.items()}
        return [*self._named, *sorted(in_turn, key=lambda address: is_lost.get(address, False))]

    def _take(self, found: SlotMap) -> None:
        """Take another map; a node that stands in another's place is watched as that one was."""
        masters = found.masters()
        for address in masters:
            before = self._map.owner(found.first_slot(address))
            is_heir = before is not None and before not in masters
            self._node(address, self._nodes[before].watch if before and is_heir else None)
        for address in self._nodes.keys() - set(masters):
            self._nodes.pop(address).close()
        self._map = found


def is_amiss(answer: Answer) -> bool:
    """Whether an answer says, in whole or in part, that something is not as it should be."""
    return answer.replies is None or b"-" in answer.replies


def refuse_single(error: Exception) -> None:
    """Raise where the server says that it belongs to no cluster."""
    if "cluster support disabled" in str(error):
        problem = "the server at sink.url belongs to no cluster: use 'single'"
        raise ConfigError(key="sink.topology", problem=problem) from None
