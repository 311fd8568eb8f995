"""What the writer learns of a real server between two writes, and what it says about it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np
import pytest
import redis

from engine import redis_writer
from engine.redis_connection import Wires
from engine.redis_node import RedisNode
from engine.redis_servers import SingleServer
from engine.redis_sink import resp
from engine.redis_watch import ServerWatch
from engine.redis_writer import RedisWriter
from tests.services.process import LOOPBACK, wait_until
from tests.services.valkey import ValkeyServer

DEADLINE_S = 20.0
REPLAY = "task=replay replay.since_s=600"


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Look at every check, and hear all that is said."""
    monkeypatch.setattr(redis_writer, "LOOK_S", 0.0)
    caplog.set_level(logging.INFO)


class Watched:
    """A writer to a server, and what it has told."""

    def __init__(
        self, server: ValkeyServer, *, user: str | None = None, password: str = ""
    ) -> None:
        self.evicted: list[int] = []
        self.ready: list[bool] = []
        watch = ServerWatch(on_evicted=self.evicted.append, replay=REPLAY)
        wire = Wires(server.url, username=user, password=password or None).to()
        self.writer = RedisWriter(
            SingleServer(RedisNode(wire, scripts=(), watch=watch)),
            stopping=threading.Event(),
            on_state=self.ready.append,
        )


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    """Return how many lines say this."""
    return sum(text in message for message in caplog.messages)


def fill(server: ValkeyServer, first: int) -> int:
    """Write more than the server can hold; return how many keys it has evicted by now."""
    with server.client() as client:
        asked = client.pipeline(transaction=False)
        for n in range(first, first + 3_000):
            asked.set(f"key-{n}", "v" * 1_000)
        asked.execute()
        evicted: int = client.info("stats")["evicted_keys"]
        return evicted


def test_r5_each_growth_of_evicted_keys_is_told_once(
    new_valkey: Callable[..., ValkeyServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = new_valkey(arguments=("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"))
    before = fill(server, 0)
    watched = Watched(server)
    watched.writer.open()
    watched.writer.check()
    assert before > 0
    assert watched.evicted == []
    first = fill(server, 3_000)
    for _ in range(3):
        watched.writer.check()
    second = fill(server, 6_000)
    for _ in range(3):
        watched.writer.check()
    assert watched.evicted == [first - before, second - first]
    assert said(caplog, "its maxmemory is 3.00M, its policy allkeys-lru") == 2
    server.restart()
    for _ in range(3):
        watched.writer.check()
    assert len(watched.evicted) == 2
    watched.writer.close()


def test_r5_a_server_that_refuses_info_is_asked_no_more_and_written_to_as_ever(
    valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    with valkey.client() as client:
        client.acl_setuser("lean", enabled=True, passwords=["+pw"], commands=["+set", "+client"])
        watched = Watched(valkey, user="lean", password="pw")
        watched.writer.open()
        for _ in range(3):
            watched.writer.check()
        assert watched.ready[-1]
        assert client.info("commandstats")["cmdstat_info"]["rejected_calls"] == 1
    assert said(caplog, "INFO is refused") == 1
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    watched.writer.close()


def test_r7_a_server_that_is_empty_or_another_is_told_at_the_next_connection(
    valkey: ValkeyServer, new_valkey: Callable[..., ValkeyServer], caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(valkey)
    watched.writer.open()
    with valkey.client() as client:
        client.set("key", "value")
        client.client_kill_filter(_type="normal", skipme=True)
    for _ in range(2):
        watched.writer.check()
    assert said(caplog, "came back") == 0, "the same server after a broken connection"
    valkey.restart()
    for _ in range(2):
        watched.writer.check()
    assert said(caplog, "came back empty; to write again what is lost, start an engine") == 1
    promote(valkey, new_valkey())
    for _ in range(2):
        watched.writer.check()
    assert said(caplog, "came back as another server") == 1
    assert said(caplog, REPLAY) == 2
    assert watched.ready[-1]
    watched.writer.close()


def test_r6_a_server_that_turned_into_a_replica_is_left_and_its_new_master_told(
    valkey: ValkeyServer, new_valkey: Callable[..., ValkeyServer], caplog: pytest.LogCaptureFixture
) -> None:
    watched, other = Watched(valkey), new_valkey()
    watched.writer.open()
    block = np.frombuffer(resp("SET", "key", "value", "EX", "100"), np.uint8)
    with valkey.client() as client, other.client() as elsewhere:
        elsewhere.set("other", "value")
        client.replicaof(LOOPBACK, str(other.port))
        wait_until(lambda: client.get("other"), deadline_s=DEADLINE_S, what="a copy")
        n_before = connections_of(client)
        answers: list[object] = []
        thread = threading.Thread(
            target=lambda: answers.append(
                watched.writer.write(np.array([100]), lambda rows, late_s: block)
            )
        )
        thread.start()
        wait_until(lambda: said(caplog, "READONLY") > 1, deadline_s=DEADLINE_S, what="refusals")
        client.replicaof("NO", "ONE")
        thread.join(DEADLINE_S)
        assert client.get("key") == b"value"
        assert connections_of(client) > n_before
    assert said(caplog, "came back as another server") >= 1
    watched.writer.close()


def connections_of(client: redis.Redis) -> int:
    """Return how many connections the server has accepted so far."""
    n_connections: int = client.info("stats")["total_connections_received"]
    return n_connections


def promote(valkey: ValkeyServer, replica: ValkeyServer) -> None:
    """Let another server, which has some key, take over the address."""
    with replica.client() as client:
        client.set("other", "value")
    valkey.kill()
    valkey._arguments = ("--replicaof", f"{LOOPBACK} {replica.port}")
    valkey.start()
    with valkey.client() as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up",
                   deadline_s=DEADLINE_S, what="a copy")  # fmt: skip
        client.replicaof("NO", "ONE")
