"""The rights that SECURITY.md adds for a cluster and for sentinels: enough, and none too many."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from engine.errors import AuthError
from tests.end_to_end.test_acl import PASSWORD, granted, names_of, words_of
from tests.services.monitor import MonitorRecorder
from tests.services.sentinel import Sentinels
from tests.services.valkey_cluster import ValkeyCluster, ask, slot_of
from tests.test_redis_cluster import Writing, key_of, value_of

KEYS, CLUSTER = "sink.layout=keys", "sink.topology=cluster, in addition"
SENTINEL, AT_SENTINELS = "sink.topology=sentinel, in addition", "at the sentinels themselves"
N_ROWS = 300


@pytest.fixture(autouse=True)
def passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the password of the documented users."""
    for name in ("REDIS_PASSWORD", "REDIS_SENTINEL_PASSWORD"):
        monkeypatch.setenv(name, PASSWORD)


def write_all(here: Writing) -> None:
    """Connect and write some rows, of which the server has some already."""
    try:
        here.writer.open()
        here.write(N_ROWS)
    finally:
        here.writer.close()


def written_to(cluster: ValkeyCluster) -> None:
    """Write as the documented user, while a slot is on its way from one node to another."""
    source, target = cluster.nodes[:2]
    for node in cluster.nodes:
        ask(node, "FLUSHALL")
    with cluster.client() as client:
        client.set(key_of(1), value_of(2), ex=600)
    rows = range(2, N_ROWS)
    slot = next(slot_of(key_of(row)) for row in rows if cluster.owner_of(key_of(row)) is source)
    with cluster.migrating(slot, source, target):
        write_all(Writing(cluster.url, topology="cluster", username="botsieve"))
    with cluster.migrating(slot, target, source):
        pass


def test_r8_the_documented_rights_are_what_a_cluster_is_sent(
    new_cluster: Callable[..., ValkeyCluster],
) -> None:
    cluster = new_cluster()
    for node in cluster.nodes:
        for heading in (KEYS, CLUSTER):
            ask(node, *words_of(heading))
    with ExitStack() as stack:
        recorders = [stack.enter_context(MonitorRecorder(node.url)) for node in cluster.nodes]
        written_to(cluster)
    as_user = names_of(command for one in recorders for command in one.commands)
    assert granted(KEYS) | granted(CLUSTER) <= as_user
    for right in granted(CLUSTER):
        for node in cluster.nodes:
            ask(node, "ACL", "SETUSER", "botsieve", f"-{right}")
        with pytest.raises(AuthError, match="NOPERM|no permissions"):
            written_to(cluster)
        for node in cluster.nodes:
            ask(node, "ACL", "SETUSER", "botsieve", f"+{right}")


def test_r8_the_documented_rights_are_what_sentinels_are_sent(sentinels: Sentinels) -> None:
    servers = (sentinels.first, sentinels.second)
    for node in servers:
        for heading in (KEYS, SENTINEL):
            ask(node, *words_of(heading))
    for node in sentinels.sentinels:
        ask(node, *words_of(AT_SENTINELS))

    def write(user: str = "botsieve") -> None:
        users = {"username": "botsieve", "sentinel_username": user}
        write_all(Writing(sentinels.url, topology="sentinel", sentinel_name="keys", **users))

    write()
    assert ask(sentinels.first, "DBSIZE") == N_ROWS
    with pytest.raises(AuthError, match="check sink.sentinel_username, sink.sentinel_password"):
        write("nobody")
    for nodes, heading in ((servers, SENTINEL), (sentinels.sentinels, AT_SENTINELS)):
        for right in granted(heading) - {"client|setinfo"}:  # for which the client needs no answer
            for node in nodes:
                ask(node, "ACL", "SETUSER", "botsieve", f"-{right}")
            with pytest.raises(AuthError, match="NOPERM|no permissions"):
                write()
            for node in nodes:
                ask(node, "ACL", "SETUSER", "botsieve", f"+{right}")
