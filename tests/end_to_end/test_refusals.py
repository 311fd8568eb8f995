"""What the engine refuses: one line that says what to do, the exit code, and no secret in it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import NewPartitions

from tests.conftest import ALICE, PASSWORD
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import IP, burst, closing, on, window_ago
from tests.end_to_end.rig import OFTEN, TO_THE_END, Rig
from tests.services.process import LOOPBACK, free_port
from tests.services.valkey import ValkeyServer

NewEngine = Callable[..., EngineProcess]
SECRET, OTHER_SECRET = PASSWORD, "battery-staple"

CONFIG, AUTH, PARTIAL, UNAVAILABLE = 78, 77, 75, 69
BAD_CONFIGS = {
    "rules.rules=[{name: a, description: b, when: 'clicks >> 3'}]": "rules.rules[0].when: ",
    "window.lenght_s=10": "window.lenght_s: ",
    "source.kafka.enable.auto.commit=true": "source.kafka.enable.auto.commit: ",
}


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port on which nobody must knock."""
    with socket.create_server((LOOPBACK, 0)) as server:
        server.setblocking(False)
        yield server


def test_f1_a_wrong_config_is_refused_in_one_line_before_anything_is_connected(
    new_engine: NewEngine, trap: socket.socket
) -> None:
    port = trap.getsockname()[1]
    there = [f"source.bootstrap_servers={LOOPBACK}:{port}", f"sink.url=redis://{LOOPBACK}:{port}"]
    refused = {bad: new_engine(*there, bad) for bad in BAD_CONFIGS}
    for bad, engine in refused.items():
        assert engine.ends(CONFIG).startswith(f"botsieve: {BAD_CONFIGS[bad]}")
        assert engine.output.count("\n") == 1
    with pytest.raises(BlockingIOError):
        trap.accept()


def test_b1_b7_no_broker_and_no_topic_are_waited_for_only_so_long(
    rig: Callable[..., Rig], new_engine: NewEngine
) -> None:
    patience = "source.startup_timeout_s=1"
    nowhere = f"{LOOPBACK}:{free_port()}"
    no_broker = new_engine(f"source.bootstrap_servers={nowhere}", patience)
    no_topic = rig().engine("source.topic=not-there", patience)
    assert no_broker.ends(UNAVAILABLE) == (
        f"botsieve: source.bootstrap_servers: no broker answers at {nowhere}; "
        "gave up after source.startup_timeout_s=1"
    )
    assert no_topic.ends(UNAVAILABLE) == (
        "botsieve: source.topic: there is no topic 'not-there'; "
        "gave up after source.startup_timeout_s=1"
    )


def test_b7_b10_a_topic_and_partitions_that_are_made_later_are_read_from_their_beginning(
    rig: Callable[..., Rig], topic: Callable[[], str]
) -> None:
    here = rig()
    here.topic, start_s = topic(), window_ago(60)
    often = "source.kafka.topic.metadata.refresh.interval.ms=500"
    engine = here.engine("source.start=latest", OFTEN, often)
    engine.wait_for(f"there is no topic '{here.topic}'")
    here.kafka.create_topic(here.topic)
    here.produce(0, burst(start_s))
    here.wait_for_key(f"bot_{IP}")
    here.kafka.admin.create_partitions([NewPartitions(here.topic, 3)])[here.topic].result()
    here.wait_until(lambda: len(here.kafka.partitions(here.topic)) == 3, "three partitions")
    anew = {"linger_ms": "1"}  # a producer that does not remember the one partition
    here.kafka.produce(here.topic, on(2, burst(start_s, "192.0.2.2")), **anew)
    here.wait_for_key("bot_192.0.2.2")
    here.kafka.produce(here.topic, closing(here.kafka, here.topic, start_s + 100), **anew)
    here.end(engine)
    assert here.wrong_keys(here.judged()) == ""


def test_g2_a_second_engine_of_the_group_is_refused_and_the_first_goes_on(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(60)
    first = here.engine(OFTEN)
    here.wait_for_commit(n_open=0)
    same, other = here.engine(), here.engine("source.instance_id=other")
    assert same.ends(PARTIAL).startswith("botsieve: source.instance_id: another engine runs")
    assert other.ends(PARTIAL).startswith(f"botsieve: source.group_id: '{here.topic}' is read by")
    here.produce(0, burst(start_s))
    here.close_windows(start_s + 100)
    here.wait_for_commit(n_open=1)
    first.kill()
    after = here.engine(TO_THE_END)
    after.ends()
    assert after.summary["events"] == 2  # what closed the windows, once for each partition
    assert here.get(f"stat_{IP}") is not None


def test_r8_wrong_redis_credentials_and_missing_rights_are_refused(
    rig: Callable[..., Rig], new_valkey: Callable[..., ValkeyServer]
) -> None:
    here, start_s = rig(), window_ago(60)
    here.produce(0, burst(start_s))
    locked = new_valkey(arguments=("--requirepass", SECRET), client_settings={"password": SECRET})
    with locked.client() as client:
        client.acl_setuser("half", enabled=True, passwords=[f"+{OTHER_SECRET}"],
                           keys=["stat_*"], categories=["+@all"])  # fmt: skip
    url = f"sink.url={locked.url}"
    engines = [
        here.engine(url, f"source.group_id={here.topic}-1", REDIS_PASSWORD="wrong-secret"),
        here.engine(url, f"source.group_id={here.topic}-2", "sink.username=half",
                    REDIS_PASSWORD=OTHER_SECRET),
    ]  # fmt: skip
    for engine in engines:
        assert engine.ends(AUTH).startswith("botsieve: sink.url: Redis refuses us: ")
        for secret in (SECRET, OTHER_SECRET, "wrong-secret"):
            assert secret not in engine.output


def test_b6_wrong_sasl_credentials_and_missing_rights_are_refused(
    rig: Callable[..., Rig],
) -> None:
    here = rig()

    def engine_as(password: str) -> EngineProcess:
        return here.engine(
            f"source.bootstrap_servers={here.kafka.sasl_bootstrap}",
            f"source.instance_id={password}"[:22],
            "source.kafka.security.protocol=SASL_PLAINTEXT",
            "source.kafka.sasl.mechanism=PLAIN",
            f"source.kafka.sasl.username={ALICE}",
            "source.kafka.sasl.password=${oc.env:SASL_PASSWORD}",
            SASL_PASSWORD=password,
        )

    wrong, without_rights = engine_as(OTHER_SECRET), engine_as(SECRET)
    for engine in (wrong, without_rights):
        assert engine.ends(AUTH).startswith("botsieve: source.kafka: the broker refuses us")
        assert SECRET not in engine.output
        assert OTHER_SECRET not in engine.output
