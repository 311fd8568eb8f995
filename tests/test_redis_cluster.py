"""Mass insertion into a real cluster: rows and their replies find each other again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import redis_writer
from engine.errors import AuthError, ConfigError
from engine.redis_flags import Found, look, scan_of
from engine.redis_scripts import KEEP_LATER, sha1
from engine.redis_sink import resp
from engine.redis_topology import servers_of
from engine.redis_watch import ServerWatch
from engine.redis_writer import RedisWriter
from engine.sink_config import SinkConf
from tests.services.process import wait_until
from tests.services.sentinel import Sentinels
from tests.services.valkey import ValkeyServer
from tests.services.valkey_cluster import DEADLINE_S, ValkeyCluster, ask, slot_of

pytestmark = pytest.mark.xdist_group("cluster")  # one for all tests of this file

N_ROWS = 4_000
SCRIPT = sha1(KEEP_LATER)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """A cluster of three masters for all tests of this file."""
    with ValkeyCluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture(autouse=True)
def emptied(cluster: ValkeyCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Begin with no key, and hear all that is said."""
    for node in cluster.nodes:
        ask(node, "FLUSHALL")
    caplog.set_level(logging.INFO)


class Writing:
    """A writer, whether it said to be ready, and what it was asked to render at each try."""

    def __init__(self, url: str, **settings: str) -> None:
        self.ready: list[bool] = []
        self.asked: list[list[int]] = []
        conf = SinkConf(url=url, **settings)
        self.writer = RedisWriter(
            servers_of(conf, new_watch=lambda: ServerWatch(on_evicted=int, replay="task=replay")),
            stopping=threading.Event(),
            on_state=self.ready.append,
        )

    def render(self, rows: NDArray[np.int64], _late_s: int) -> NDArray[np.uint8]:
        """Return commands of which two in three are scripts."""
        self.asked.append(rows.tolist())
        return block_of([command_of(row) for row in rows.tolist()])

    def write(self, n_rows: int = N_ROWS) -> list[bool]:
        """Write rows; return which of them were kept."""
        kept = self.writer.write(np.full(n_rows, 60), self.render)
        assert kept is not None
        return [bool(one) for one in kept]


def writing(cluster: ValkeyCluster, **settings: str) -> Writing:
    """Return a writer to a cluster."""
    return Writing(cluster.url, topology="cluster", **settings)


def block_of(commands: list[bytes]) -> NDArray[np.uint8]:
    """Return commands as the bytes to send."""
    return np.frombuffer(b"".join(commands), np.uint8)


def command_of(row: int) -> bytes:
    """Return the command of a row."""
    if row % 3 == 0:
        return resp("SET", key_of(row), value_of(row), "EX", "60")
    return resp("EVALSHA", SCRIPT, "1", key_of(row), value_of(row), "60")


def key_of(row: int) -> str:
    """Return the key of a row."""
    return f"bot_192.0.{row >> 8}.{row & 255}"


def value_of(row: int) -> str:
    """Return the value of a row."""
    return f'{{"window":{row},"events":1}}'


def held(cluster: ValkeyCluster) -> dict[str, str]:
    """Return all keys of the cluster."""
    with cluster.client(decode_responses=True) as client:
        return {key: client.get(key) for key in client.scan_iter(count=1_000)}


def all_of(n_rows: int = N_ROWS) -> dict[str, str]:
    """Return what was to be written."""
    return {key_of(row): value_of(row) for row in range(n_rows)}


def test_each_reply_is_that_of_its_row(cluster: ValkeyCluster) -> None:
    here, ours = writing(cluster), [row for row in range(N_ROWS) if row % 3]
    theirs = set(ours[::7])
    with cluster.client() as client:
        for row in theirs:
            client.set(key_of(row), "by an operator")
    kept = here.write()
    assert {row for row in range(N_ROWS) if kept[row]} == theirs
    assert held(cluster) == all_of() | {key_of(row): "by an operator" for row in theirs}
    assert here.ready[-1]
    here.writer.close()


def test_only_rows_of_the_node_that_refuses_are_sent_again(cluster: ValkeyCluster) -> None:
    here, full = writing(cluster), cluster.nodes[0]
    here.writer.open()
    with full.client() as client:
        client.config_set("maxmemory", "1")
        answers: list[list[bool]] = []
        thread = threading.Thread(target=lambda: answers.append(here.write()))
        thread.start()
        wait_until(lambda: len(sum(here.asked, [])) > N_ROWS, deadline_s=DEADLINE_S, what="a retry")
        assert here.ready[-1] is False
        client.config_set("maxmemory", "0")
    thread.join(DEADLINE_S)
    slots = cluster.slots_of(full)
    again = set(sum(here.asked, [])[N_ROWS:])
    assert again == {row for row in range(N_ROWS) if slot_of(key_of(row)) in slots}
    assert held(cluster) == all_of()
    here.writer.close()


def test_a_script_that_one_node_forgot_is_loaded_again_there(cluster: ValkeyCluster) -> None:
    here = writing(cluster)
    here.write(10)
    ask(cluster.nodes[1], "SCRIPT", "FLUSH")
    here.write()
    assert held(cluster) == all_of()
    here.writer.close()


def test_a_slot_under_way_and_a_slot_that_went_cost_no_waiting(
    cluster: ValkeyCluster, caplog: pytest.LogCaptureFixture
) -> None:
    here, source, target = writing(cluster), *cluster.nodes[:2]
    here.write(30)
    slots = sorted({slot_of(key_of(row)) for row in range(N_ROWS)} & cluster.slots_of(source))[:3]
    for slot in slots:
        with cluster.migrating(slot, source, target):
            here.write()
    here.write()
    assert held(cluster) == all_of()
    assert set(slots) <= cluster.slots_of(target)
    assert False not in here.ready
    assert caplog.messages == []
    for slot in slots:
        with cluster.migrating(slot, target, source):
            pass
    here.writer.close()


def test_flags_are_looked_for_on_every_node(cluster: ValkeyCluster) -> None:
    here = writing(cluster)
    here.writer.open()
    here.write(200)
    found = look(here.writer.askers(None), scan_of(SinkConf()), lambda addresses: addresses)
    assert found == Found(sorted(key_of(row)[4:].encode() for row in range(200)), whole=True)
    with cluster.client() as client:
        client.hset("bots", "192.0.2.9", "1")
    fields = scan_of(SinkConf(layout="hash"))
    found = look(here.writer.askers(fields.key), fields, lambda addresses: addresses)
    assert found == Found([b"192.0.2.9"], whole=True)
    here.writer.close()


def test_seeds_that_are_gone_do_no_harm_as_long_as_one_is_there(cluster: ValkeyCluster) -> None:
    here = Writing(f"redis://127.0.0.1:1,127.0.0.1:{cluster.nodes[2].port}", topology="cluster")
    here.write()
    assert held(cluster) == all_of()
    here.writer.close()


def test_a_cluster_that_is_not_there_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    here = Writing("redis://127.0.0.1:1,127.0.0.1:2", topology="cluster")
    here.writer.open()
    assert not any(here.ready)
    assert [text for text in caplog.messages if "no node of the cluster answers" in text]
    here.writer.close()


def test_a_topology_that_is_not_what_is_there_is_refused(
    cluster: ValkeyCluster, valkey: ValkeyServer
) -> None:
    with pytest.raises(ConfigError, match="sink.topology: .* belongs to no cluster: use 'single'"):
        Writing(valkey.url, topology="cluster").writer.open()
    alone = Writing(cluster.nodes[0].url)
    with pytest.raises(ConfigError, match="sink.topology: .* belongs to a cluster"):
        alone.write()
    alone.writer.close()


def test_a_password_that_a_cluster_refuses_ends_the_run(cluster: ValkeyCluster) -> None:
    with pytest.raises(AuthError, match="Redis refuses us: .*; check sink.username"):
        writing(cluster, username="nobody").writer.open()


def test_sentinels_that_know_no_such_master_are_an_error_of_the_config(
    sentinels: Sentinels,
) -> None:
    with pytest.raises(ConfigError, match="sink.sentinel_name: the sentinels know no 'other'"):
        Writing(sentinels.url, topology="sentinel", sentinel_name="other").writer.open()


def test_a_master_that_the_sentinels_have_replaced_is_left_though_it_answers(
    sentinels: Sentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_writer, "LOOK_S", 0.0)
    here = Writing(sentinels.url, topology="sentinel", sentinel_name="keys")
    here.writer.open()
    for sentinel in sentinels.sentinels:
        ask(sentinel, "SENTINEL", "REMOVE", "keys")
        ask(sentinel, "SENTINEL", "MONITOR", "keys", "127.0.0.1", sentinels.second.port, 2)
    here.writer.check()
    assert here.ready[-1] is False, "it is a replica still"
    ask(sentinels.second, "REPLICAOF", "NO", "ONE")
    here.writer.check()
    assert here.ready[-1] is True
    here.write()
    assert ask(sentinels.second, "DBSIZE") == N_ROWS
    assert ask(sentinels.first, "DBSIZE") == 0
    here.writer.close()


@pytest.mark.parametrize("is_frozen", [False, True], ids=["killed", "frozen"])
def test_r7_the_replica_of_a_master_that_went_is_written_to_and_told(
    is_frozen: bool, new_cluster: Callable[..., ValkeyCluster], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = new_cluster(n_replicas=3)
    here, gone = Writing(f"{cluster.url}?socket_timeout=0.5", topology="cluster"), cluster.nodes[0]
    here.write(100)
    if is_frozen:
        gone.stop()
    else:
        gone.kill()
    here.write()
    assert "came back as another server" in caplog.text
    gone.mend()
    wait_until(lambda: ask(gone, "ROLE")[0] == "slave", deadline_s=DEADLINE_S, what="a replica")
    assert held(cluster) == all_of()
    here.writer.close()
