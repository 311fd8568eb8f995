"""A real cluster: three Valkey masters, and replicas of them where a test lets a master die.

It is put together by commands and is ready when every node says so. Where there are replicas, the
nodes take each other for dead after a second, so that a failover takes about two; where there are
none, a busy machine shall not make them do so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import redis
from redis.cluster import ClusterNode
from redis.crc import key_slot

from tests.services.process import LOOPBACK, free_port, wait_until
from tests.services.valkey import ValkeyServer

N_MASTERS, N_SLOTS = 3, 16_384
DEADLINE_S = 30.0
ARGUMENTS = (
    *("--cluster-enabled", "yes"),
    *("--cluster-replica-validity-factor", "0", "--cluster-allow-replica-migration", "no"),
    *("--repl-diskless-sync-delay", "0"),
)


class ValkeyCluster:
    """`with ValkeyCluster(folder) as cluster:`; the first three nodes begin as masters."""

    def __init__(self, folder: Path, *, n_replicas: int = 0, arguments: tuple[str, ...] = ()):
        """Choose the ports; nothing runs until it is entered."""
        patience = ("--cluster-node-timeout", "1000" if n_replicas else "15000")

        def words() -> tuple[str, ...]:
            return (*ARGUMENTS, *patience, "--cluster-port", str(free_port()), *arguments)

        self.nodes = [
            ValkeyServer(folder / str(n), arguments=words()) for n in range(N_MASTERS + n_replicas)
        ]

    @property
    def url(self) -> str:
        """The address of all nodes, as seeds."""
        return f"redis://{','.join(f'{LOOPBACK}:{node.port}' for node in self.nodes)}"

    @property
    def overrides(self) -> list[str]:
        """What an engine is told that writes to it."""
        return [f"sink.url='{self.url}'", "sink.topology=cluster"]

    def client(self, db: int = 0, **settings: Any) -> redis.RedisCluster:
        """A client of the whole cluster, to use as a context manager."""
        assert db == 0
        seeds = [ClusterNode(LOOPBACK, node.port) for node in self.nodes if is_running(node)]
        return redis.RedisCluster(startup_nodes=seeds, **settings)

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for node in self.nodes:
                started.callback(node.close)
                node.launch()
            for node in self.nodes:
                node.wait()
            self._form()
            self._started = started.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._started.close()

    def _form(self) -> None:
        """Hand out the slots, let the nodes meet, make replicas, and wait until all agree."""
        bounds = [N_SLOTS * n // N_MASTERS for n in range(N_MASTERS + 1)]
        for n, node in enumerate(self.nodes):
            ask(node, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            if n < N_MASTERS:
                ask(node, "CLUSTER", "ADDSLOTSRANGE", bounds[n], bounds[n + 1] - 1)
            ask(node, "CLUSTER", "MEET", LOOPBACK, self.nodes[0].port, bus_port(self.nodes[0]))
        self._wait_for(lambda node: field(node, "cluster_known_nodes") == str(len(self.nodes)))
        for n, replica in enumerate(self.nodes[N_MASTERS:]):
            ask(replica, "CLUSTER", "REPLICATE", self.id_of(self.nodes[n]))
        self._wait_for(lambda node: field(node, "cluster_state") == "ok")
        for replica in self.nodes[N_MASTERS:]:
            wait_until(lambda replica=replica: is_in_step(replica), deadline_s=DEADLINE_S,
                       what="a replica with its master's keys")  # fmt: skip

    def _wait_for(self, condition: Any) -> None:
        wait_until(lambda: all(condition(node) for node in self.nodes),
                   deadline_s=DEADLINE_S, what="a cluster whose nodes agree")  # fmt: skip

    def id_of(self, node: ValkeyServer) -> str:
        """Return what the cluster calls a node."""
        return str(ask(node, "CLUSTER", "MYID"))

    def owner_of(self, key: str) -> ValkeyServer:
        """Return the master that has the slot of a key."""
        return next(node for node in self.masters() if slot_of(key) in self.slots_of(node))

    def masters(self) -> list[ValkeyServer]:
        """Return the running nodes that are masters, as they see it."""
        running = [node for node in self.nodes if is_running(node)]
        return [node for node in running if ask(node, "ROLE")[0] == "master"]

    def slots_of(self, node: ValkeyServer) -> set[int]:
        """Return the slots of a node, as it sees it."""
        asked = ask(node, "CLUSTER", "SLOTS")
        ranges = [(first, last) for first, last, owner, *_ in asked if owner[1] == node.port]
        return {slot for first, last in ranges for slot in range(first, last + 1)}

    @contextmanager
    def migrating(self, slot: int, source: ValkeyServer, target: ValkeyServer) -> Iterator[None]:
        """Move a slot: within the block it is under way, behind it its keys are moved as well."""
        ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        yield
        while keys := ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000):
            ask(source, "MIGRATE", LOOPBACK, target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source):
            ask(node, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))


def slot_of(key: str) -> int:
    """Return the slot of a key."""
    return key_slot(key.encode())


def ask(node: ValkeyServer, *words: Any) -> Any:
    """Return the reply of one node."""
    with node.client(decode_responses=True) as client:
        return client.execute_command(*words)


def is_running(node: ValkeyServer) -> bool:
    """Whether the process is there."""
    return node.process is not None and node.process.poll() is None


def field(node: ValkeyServer, name: str) -> str:
    """Return a field of CLUSTER INFO."""
    with node.client(decode_responses=True) as client:
        return str(client.cluster("INFO")[name])


def is_in_step(replica: ValkeyServer) -> bool:
    """Whether a replica has its master's keys."""
    with replica.client() as client:
        found = client.info("replication")
        return found["role"] == "slave" and found["master_link_status"] == "up"


def bus_port(node: ValkeyServer) -> str:
    """Return where a node talks to the others."""
    words = node.argv()
    return words[words.index("--cluster-port") + 1]
