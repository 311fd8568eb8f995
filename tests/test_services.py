"""The test services are what they claim to be: real, durable where promised, and fully recorded."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import redis
from confluent_kafka import Consumer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.conftest import ALICE, PASSWORD
from tests.services.kafka import KafkaBroker
from tests.services.kafka_client import Row
from tests.services.monitor import MonitorRecorder, parse
from tests.services.process import wait_until
from tests.services.valkey import ValkeyServer

TIMESTAMP_MS = 1_700_000_000_000


def rows_of(broker: KafkaBroker, topic: str) -> list[Row]:
    """What the broker holds, in the shape that was produced."""
    return [
        (record.partition(), record.value(), record.timestamp()[1], record.key())
        for record in broker.records(topic)
    ]


def test_kafka_returns_every_record_in_the_order_of_its_partition(
    kafka: KafkaBroker, topic: Callable[[], str]
) -> None:
    name = kafka.create_topic(topic(), 3)
    rows = [(n % 3, b"%d" % n, TIMESTAMP_MS - n, b"key") for n in range(3_000)]
    kafka.produce(name, rows)
    assert rows_of(kafka, name) == sorted(rows, key=lambda row: row[0])


def test_kafka_keeps_tombstones_missing_keys_and_very_old_records(
    kafka: KafkaBroker, topic: Callable[[], str]
) -> None:
    name = kafka.create_topic(topic())
    rows: list[Row] = [(0, None, 1, None), (0, b"", 2, b"k")]
    kafka.produce(name, rows)
    assert rows_of(kafka, name) == rows


def test_kafka_tests_that_are_no_faults_share_one_worker_and_so_one_broker(
    kafka: KafkaBroker, request: pytest.FixtureRequest
) -> None:
    is_parallel = "PYTEST_XDIST_WORKER" in os.environ
    assert request.node.nodeid.endswith("@kafka others") == is_parallel


def test_kafka_never_makes_a_topic_by_itself(kafka: KafkaBroker, topic: Callable[[], str]) -> None:
    name = topic()
    assert kafka.partitions(name) == []
    with pytest.raises(RuntimeError, match="1 records refused"):
        kafka.produce(name, [(0, b"x", None, None)], message_timeout_ms="500")


def test_kafka_produce_raises_when_a_record_is_refused(
    kafka: KafkaBroker, topic: Callable[[], str]
) -> None:
    name = kafka.create_topic(topic(), max_message_bytes="1000")
    with pytest.raises(RuntimeError, match="1 records refused"):
        kafka.produce(name, [(0, b"x" * 5_000, None, None)])


def test_kafka_committed_shows_offsets_and_metadata(
    kafka: KafkaBroker, topic: Callable[[], str]
) -> None:
    name = kafka.create_topic(topic(), 2)
    with Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": name}) as member:
        offset = TopicPartition(name, 1, 7, metadata="v1|state")
        member.commit(offsets=[offset], asynchronous=False)
    assert kafka.committed(name, name) == {1: (7, "v1|state")}


def test_kafka_killed_and_restarted_keeps_what_it_acknowledged(
    frail_kafka: KafkaBroker, topic: Callable[[], str]
) -> None:
    broker, name = frail_kafka, frail_kafka.create_topic(topic(), 2)
    before = [(n % 2, b"before-%d" % n, TIMESTAMP_MS, None) for n in range(500)]
    after = [(n % 2, b"after-%d" % n, TIMESTAMP_MS, None) for n in range(500)]
    broker.produce(name, before)
    first_pid = broker.pid
    broker.restart()
    broker.produce(name, after)
    assert broker.pid != first_pid
    assert rows_of(broker, name) == sorted([*before, *after], key=lambda row: row[0])


def test_kafka_stopped_answers_nothing_until_it_goes_on(frail_kafka: KafkaBroker) -> None:
    frail_kafka.stop()
    assert not frail_kafka.is_ready()
    frail_kafka.cont()
    wait_until(frail_kafka.is_ready, deadline_s=30, what="the broker after SIGCONT")


@pytest.mark.parametrize("harm", ["kill", "stop"])
def test_kafka_that_a_test_leaves_harmed_is_mended(harm: str, frail_kafka: KafkaBroker) -> None:
    getattr(frail_kafka, harm)()
    frail_kafka.mend()
    assert frail_kafka.is_ready()


def test_kafka_with_users_refuses_a_wrong_password_and_a_missing_right(
    kafka: KafkaBroker, topic: Callable[[], str]
) -> None:
    name = kafka.create_topic(topic())

    def refusal(password: str, expected: str) -> None:
        errors: set[str] = set()
        client = {
            "bootstrap.servers": kafka.sasl_bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": ALICE,
            "sasl.password": password,
            "group.id": name,
            "log_level": "0",
            "error_cb": lambda error: errors.add(error.name()),
        }
        with Consumer(client) as reader:
            reader.assign([TopicPartition(name, 0, 0)])

            def is_refused() -> bool:
                record = reader.poll(0.1)
                if record is not None and record.error() is not None:
                    errors.add(record.error().name())
                return expected in errors

            wait_until(is_refused, deadline_s=30, what=expected)

    refusal("wrong", "_AUTHENTICATION")
    refusal(PASSWORD, "GROUP_AUTHORIZATION_FAILED")


def test_kafka_that_cannot_start_shows_the_end_of_its_log(
    new_kafka: Callable[..., KafkaBroker],
) -> None:
    with pytest.raises(RuntimeError, match="(?s)could not be formatted.*num.network.threads"):
        new_kafka(properties={"num.network.threads": "-1"})
    with pytest.raises(RuntimeError, match="(?s)ended with code 1.*no.such.Authorizer"):
        new_kafka(properties={"authorizer.class.name": "no.such.Authorizer"})


def test_valkey_keeps_a_value_until_its_time_to_live_ends(valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        client.set("stays", "v", ex=100)
        client.set("goes", "v", px=50)
        assert 0 < client.ttl("stays") <= 100
        wait_until(lambda: client.get("goes") is None, deadline_s=10, what="the expiry")
        assert client.get("stays") == b"v"


def test_valkey_databases_are_apart(valkey: ValkeyServer) -> None:
    with valkey.client(0) as first, valkey.client(1) as second:
        first.set("key", "first")
        assert second.get("key") is None


def test_valkey_killed_and_restarted_is_empty_on_the_same_port(valkey: ValkeyServer) -> None:
    url, first_pid = valkey.url, valkey.pid
    with valkey.client() as client:
        client.set("key", "value")
        valkey.restart()
        assert (valkey.url, client.dbsize()) == (url, 0)
    assert valkey.pid != first_pid


def test_valkey_stopped_answers_nothing_until_it_goes_on(valkey: ValkeyServer) -> None:
    with valkey.client(socket_timeout=0.2, retry=Retry(NoBackoff(), 0)) as client:
        valkey.stop()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        valkey.cont()
    assert valkey.is_ready()


def test_valkey_takes_arguments_of_its_own(new_valkey: Callable[..., ValkeyServer]) -> None:
    server = new_valkey(
        arguments=("--requirepass", "secret"), client_settings={"password": "secret"}
    )
    with (
        server.client() as allowed,
        server.client(password="wrong", retry=Retry(NoBackoff(), 0)) as stranger,
    ):
        assert allowed.ping()
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_monitor_sees_ten_thousand_sets_exactly_and_in_order(valkey: ValkeyServer) -> None:
    keys = [b"key-%d" % n for n in range(10_000)]
    with valkey.client() as client, MonitorRecorder(valkey.url) as recorder:
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.set(key, b'{"n":1}', ex=60)
        pipeline.execute()
    seen = [command.args for command in recorder.commands if command.args[0] == b"SET"]
    assert seen == [[b"SET", key, b'{"n":1}', b"EX", b"60"] for key in keys]
    assert recorder.complete


def test_monitor_returns_every_byte_as_it_was_sent(valkey: ValkeyServer) -> None:
    values = [bytes(range(256)), b"", b'\\"', b"\\\\x41", b"\r\n+OK\r\n", b'] "x" [', b"\\"]
    with valkey.client() as client, MonitorRecorder(valkey.url) as recorder:
        for value in values:
            client.set(b"key \xff", value)
    sets = [command.args for command in recorder.commands if command.args[0] == b"SET"]
    assert sets == [[b"SET", b"key \xff", value] for value in values]


def test_monitor_tells_the_database_the_time_and_scripts(valkey: ValkeyServer) -> None:
    with valkey.client(3) as client, MonitorRecorder(valkey.url) as recorder:
        before_s = client.time()[0]
        client.eval("return redis.call('SET', KEYS[1], 'v')", 1, "key")
    by_script = [command for command in recorder.commands if command.source == "lua"]
    assert [(command.db, command.args) for command in by_script] == [(3, [b"SET", b"key", b"v"])]
    assert before_s <= by_script[0].time_s < before_s + 60


def test_monitor_keeps_what_a_killed_server_still_sent(valkey: ValkeyServer) -> None:
    recorder = MonitorRecorder(valkey.url).start()
    with valkey.client() as client:
        client.set("key", "value")
    valkey.kill()
    sets = [command.args for command in recorder.stop() if command.args[0] == b"SET"]
    assert sets == [[b"SET", b"key", b"value"]]
    assert not recorder.complete


def test_monitor_passes_by_a_password(new_valkey: Callable[..., ValkeyServer]) -> None:
    server = new_valkey(
        arguments=("--requirepass", "secret"), client_settings={"password": "secret"}
    )
    url = server.url.replace("//", "//:secret@")
    with server.client() as client, MonitorRecorder(url) as recorder:
        client.set("key", "value")
    assert [b"SET", b"key", b"value"] in [command.args for command in recorder.commands]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_monitor_parse_undoes_the_escapes_of_the_server(args: list[bytes]) -> None:
    line = b"+1700000000.250000 [2 127.0.0.1:5000] " + b" ".join(map(escaped, args)) + b"\r\n"
    assert parse(line + b"+1700000000.3 [0 half")[0] == (
        1_700_000_000.25,
        2,
        "127.0.0.1:5000",
        args,
    )


def escaped(value: bytes) -> bytes:
    """Write a value as MONITOR does."""
    named = {0x5C: "\\\\", 0x22: '\\"', 10: "\\n", 13: "\\r", 9: "\\t", 7: "\\a", 8: "\\b"}
    plain = range(0x20, 0x7F)
    texts = (named.get(b) or (chr(b) if b in plain else f"\\x{b:02x}") for b in value)
    return f'"{"".join(texts)}"'.encode()
