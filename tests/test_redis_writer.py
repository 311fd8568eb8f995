"""Mass insertion into a real server: every command arrives, whatever is refused or lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import AuthError, UnavailableError
from engine.redis_connection import Wires
from engine.redis_node import RedisNode
from engine.redis_scripts import KEEP_LATER, KEEP_LATER_FIELD, sha1
from engine.redis_servers import SingleServer
from engine.redis_sink import resp
from engine.redis_watch import ServerWatch
from engine.redis_writer import RedisWriter
from tests.services.process import wait_until
from tests.services.valkey import ValkeyServer

DEADLINE_S = 30.0
VALUE = "v" * 1_000


class Commands:
    """SET commands of numbered keys, and which of them were asked for at each try."""

    def __init__(self, ttl_s: list[int]) -> None:
        self.ttl_s = np.array(ttl_s, np.int64)
        self.asked: list[tuple[list[int], int]] = []

    def __call__(self, rows: NDArray[np.int64], late_s: int) -> NDArray[np.uint8]:
        if self.asked and self.asked[-1][0][-1] < rows[0]:  # the next part of the same try
            self.asked[-1][0].extend(rows.tolist())
        else:
            self.asked.append((rows.tolist(), late_s))
        words = [(f"key-{row}", VALUE, "EX", str(self.ttl_s[row] - late_s)) for row in rows]
        return block_of([resp("SET", *some) for some in words])


def block_of(commands: list[bytes]) -> NDArray[np.uint8]:
    """Return commands as the bytes to send."""
    return np.frombuffer(b"".join(commands), np.uint8)


def writer_to(server: ValkeyServer, *, scripts: tuple[str, ...] = ()) -> RedisWriter:
    """Return a writer to this server."""
    watch = ServerWatch(on_evicted=lambda n_keys: None, replay="task=replay")
    wire = Wires(server.url, username=None, password=None).to()
    return RedisWriter(
        SingleServer(RedisNode(wire, scripts=scripts, watch=watch)),
        stopping=threading.Event(),
        on_state=lambda ready: None,
    )


@contextmanager
def writing(writer: RedisWriter, commands: Commands) -> Iterator[list[object]]:
    """Write in a thread; the list holds the answer after the block."""
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(writer.write(commands.ttl_s, commands)))
    thread.start()
    yield answers
    thread.join(DEADLINE_S)
    writer.close()


def test_only_the_refused_commands_are_sent_again(valkey: ValkeyServer) -> None:
    commands = Commands([100] * 5_000)
    with valkey.client() as client:
        client.config_set("maxmemory", str(client.info("memory")["used_memory"] + 4_000_000))
        with writing(writer_to(valkey), commands) as answers:
            wait_until(lambda: len(commands.asked) > 1, deadline_s=DEADLINE_S, what="a second try")
            client.config_set("maxmemory", "0")
        assert client.dbsize() == 5_000
    assert not np.any(answers[0])
    first, second = commands.asked[0][0], commands.asked[1][0]
    assert 0 < len(second) < len(first) == 5_000


def test_what_waited_has_a_shorter_ttl_and_what_is_over_by_then_is_left_out(
    valkey: ValkeyServer,
) -> None:
    commands = Commands([1, 100])
    valkey.kill()
    begun_s = time.monotonic()
    with writing(writer_to(valkey), commands):
        wait_until(lambda: time.monotonic() - begun_s > commands.ttl_s[0] + 1,
                   deadline_s=DEADLINE_S, what="the end of the first TTL")  # fmt: skip
        valkey.start()
    rows, late_s = commands.asked[-1]
    with valkey.client() as client:
        assert client.keys() == [b"key-1"]
        assert client.ttl("key-1") <= 100 - late_s
    assert rows == [1]


def test_scripts_that_the_server_forgot_are_loaded_again(valkey: ValkeyServer) -> None:
    writer = writer_to(valkey, scripts=(KEEP_LATER,))
    writer.open()
    block = block_of([resp("EVALSHA", sha1(KEEP_LATER), "1", "key", "value", "60")])
    with valkey.client() as client:
        client.script_flush()
        kept = writer.write(np.array([60]), lambda rows, late_s: block)
        assert client.get("key") == b"value"
    assert kept is not None
    assert not kept.any()
    writer.close()


EARLY = '{"v":1,"window_start":0,"window_end":10,"events":2,"final":false}'
FINAL = '{"v":1,"window_start":0,"window_end":10,"events":3,"final":true}'


@pytest.mark.parametrize(
    ("held", "ours", "kept"),
    [(EARLY, FINAL, False), (FINAL, EARLY, True), (FINAL, FINAL, False), (EARLY, EARLY, False)],
    ids=["early_final", "final_early", "final_final", "early_early"],
)
def test_a_script_keeps_a_final_decision_from_an_early_one_about_the_same_window(
    held: str, ours: str, kept: bool, valkey: ValkeyServer
) -> None:
    writer = writer_to(valkey, scripts=(KEEP_LATER, KEEP_LATER_FIELD))
    key = resp("EVALSHA", sha1(KEEP_LATER), "1", "key", ours, "60")
    field = resp("EVALSHA", sha1(KEEP_LATER_FIELD), "1", "hash", "field", ours, "60")
    with valkey.client() as client:
        client.set("key", held, ex=60)
        client.hsetex("hash", mapping={"field": held}, ex=60)
        answer = writer.write(np.array([60, 60]), lambda rows, late_s: block_of([key, field]))
        wanted = (held if kept else ours).encode()
        assert (client.get("key"), client.hget("hash", "field")) == (wanted, wanted)
    assert answer is not None
    assert answer.tolist() == [kept, kept]
    writer.close()


@pytest.mark.parametrize(
    ("held", "expiry_s", "kept"),
    [
        ('{"v":1,"window_start":0,"window_end":10,"events":2}', 90, False),
        ('{"v":1,"window_start":10,"window_end":20,"events":2}', 90, True),
        ('{"v":1,"window_start":10,"window_end":20,"events":2}', 30, False),
        ("by an operator", 90, True),
        ("by an operator", None, True),
    ],
    ids=["same_window", "later", "sooner", "an_operators", "for_ever"],
)
def test_a_script_keeps_what_expires_later_unless_it_is_about_the_same_window(
    held: str, expiry_s: int | None, kept: bool, valkey: ValkeyServer
) -> None:
    ours = '{"v":1,"window_start":0,"window_end":10,"events":3}'
    block = block_of([resp("EVALSHA", sha1(KEEP_LATER), "1", "key", ours, "60")])
    writer = writer_to(valkey, scripts=(KEEP_LATER,))
    with valkey.client() as client:
        client.set("key", held, ex=expiry_s)
        answer = writer.write(np.array([60]), lambda rows, late_s: block)
        assert client.get("key") == (held if kept else ours).encode()
    assert answer is not None
    assert answer.tolist() == [kept]
    writer.close()


def test_a_wrong_password_is_known_before_the_first_write(
    new_valkey: Callable[..., ValkeyServer],
) -> None:
    server = new_valkey(arguments=("--requirepass", "right"))
    with pytest.raises(AuthError, match="Redis refuses us"):
        writer_to(server).open()


def test_an_error_that_does_not_pass_is_told(valkey: ValkeyServer) -> None:
    writer = writer_to(valkey)
    with valkey.client() as client:
        client.rpush("list", "x")
    block = block_of([resp("APPEND", "list", "y")])
    with pytest.raises(UnavailableError, match="WRONGTYPE"):
        writer.write(np.array([60]), lambda rows, late_s: block)
    writer.close()


class Refused:
    """A command that the server answers with this error at the first try, and runs at the next."""

    def __init__(self, error: str) -> None:
        self.n_tries = 0
        self._script = f"return redis.error_reply('{error}')"

    def __call__(self, rows: NDArray[np.int64], late_s: int) -> NDArray[np.uint8]:
        self.n_tries += 1
        refused = resp("EVAL", self._script, "0")
        return block_of([refused if self.n_tries == 1 else resp("SET", "key", "value")])


@pytest.mark.parametrize(
    "error",
    [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script",
        "MASTERDOWN Link with MASTER is down",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "NOREPLICAS Not enough good replicas to write",
        "MISCONF Redis is configured to save RDB snapshots",
    ],
)
def test_r11_an_error_that_passes_is_waited_for(error: str, valkey: ValkeyServer) -> None:
    command, writer = Refused(error), writer_to(valkey)
    assert writer.write(np.array([60]), command) is not None
    with valkey.client() as client:
        assert client.get("key") == b"value"
    assert command.n_tries == 2
    writer.close()


def test_r11_an_error_that_nobody_knows_ends_the_run(valkey: ValkeyServer) -> None:
    writer = writer_to(valkey)
    with pytest.raises(UnavailableError, match="Redis refuses a write: STRANGE"):
        writer.write(np.array([60]), Refused("STRANGE thing"))
    writer.close()
