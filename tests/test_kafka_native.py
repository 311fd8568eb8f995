"""Batches from librdkafka itself: when they are used, when the plain fetch stands in, and why."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from engine.batch.decode import Records
from engine.config import BatchConf
from engine.kafka import librdkafka, native
from engine.kafka.fetch import Fetch, PlainFetch, Taken
from engine.kafka.librdkafka import Queue, Unusable, load
from engine.kafka.messages import unpack
from engine.kafka.native import NativeFetch, check, open_fetch
from tests.kafka_reader import LINGER_S, conf_of, new_consumer, returns, seen
from tests.services.kafka import KafkaBroker
from tests.services.process import wait_until

NOW_MS = 1_700_000_000_000
NOWHERE = "127.0.0.1:9"
UNKNOWN = 3
"""An error of librdkafka, as far as `unpack` is concerned."""


class CMessage(ctypes.Structure):
    """rd_kafka_message_t, as rdkafka.h has it."""

    _fields_ = (
        ("err", ctypes.c_int),
        ("rkt", ctypes.c_void_p),
        ("partition", ctypes.c_int32),
        ("payload", ctypes.c_char_p),
        ("len", ctypes.c_size_t),
        ("key", ctypes.c_char_p),
        ("key_len", ctypes.c_size_t),
        ("offset", ctypes.c_int64),
        ("private", ctypes.c_void_p),
    )


@contextmanager
def opened(drain: str = "auto") -> Iterator[Fetch]:
    """Open the fetch of a consumer that reaches no broker."""
    conf = conf_of(NOWHERE, "topic", drain=drain)
    consumer = new_consumer(conf)
    fetch = open_fetch(consumer, conf, BatchConf(), pytest.fail)
    yield fetch
    fetch.close()
    consumer.close()


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of the fetch."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == native.__name__ and record.levelno == logging.WARNING
    ]


def test_drain_auto_is_native_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with opened() as fetch:
        assert type(fetch) is NativeFetch
    assert warned(caplog) == []


def test_drain_plain_is_plain_and_does_not_touch_the_library(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "load", lambda: pytest.fail("it was loaded"))
    with opened("plain") as fetch:
        assert type(fetch) is PlainFetch
    assert warned(caplog) == []


@pytest.mark.parametrize("version", ["2.12.9", "3.0.0", "1.9.2", "3.0rc1", "unknown", "2"])
def test_a_version_that_we_do_not_know_is_read_one_by_one(
    version: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(librdkafka.metadata, "version", lambda _name: version)
    with opened() as fetch:
        assert type(fetch) is PlainFetch
    (line,) = warned(caplog)
    assert line.startswith("source.drain: ")
    assert f"confluent-kafka {version} is not a version we know" in line


@pytest.mark.parametrize("version", ["2.13.0", "2.16.1", "2.99.0rc1"])
def test_a_version_that_we_know_is_loaded(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(librdkafka.metadata, "version", lambda _name: version)
    assert load().rd_kafka_version() > 0


@pytest.mark.parametrize(
    ("target", "value", "problem"),
    [
        ("OBJECT_HEADER_BYTES", 24, "lays out its objects in another way"),
        ("SYMBOLS", {"rd_kafka_no_such": (None, [])}, "rd_kafka_no_such"),
        ("cimpl.__file__", "/nonexistent.so", "nonexistent.so"),
        ("confluent_kafka.libversion", lambda: ("0.0.0", 0), "another librdkafka is loaded"),
    ],
)
def test_load_refuses_a_library_that_is_not_as_we_know_it(
    target: str, value: object, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"engine.kafka.librdkafka.{target}", value)
    with pytest.raises(Unusable, match=problem):
        load()


def test_check_passes_with_the_library_that_is_installed() -> None:
    check(load())


DAMAGES: dict[str, Callable[[Records], Records]] = {
    "value": lambda r: r._replace(buffer=np.roll(r.buffer, 1)),
    "null": lambda r: r._replace(ends=np.maximum(r.ends, r.starts)),
    "partition": lambda r: r._replace(partition=r.partition + np.int32(1)),
    "offset": lambda r: r._replace(offset=r.offset + 1),
    "timestamp": lambda r: r._replace(timestamp_ms=r.timestamp_ms + 1),
    "lost": lambda r: Records(r.buffer, *(column[1:] for column in r[1:])),
    "order": lambda r: Records(r.buffer, *(column[::-1] for column in r[1:])),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_trial_that_sees_wrong_records_is_read_one_by_one(
    damage: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = NativeFetch.take

    def damaged(fetch: NativeFetch, linger_s: float) -> Taken:
        records, notices = take(fetch, linger_s)
        return Taken(DAMAGES[damage](records) if len(records.offset) else records, notices)

    monkeypatch.setattr(NativeFetch, "take", damaged)
    with opened() as fetch:
        assert type(fetch) is PlainFetch
    (line,) = warned(caplog)
    assert line.startswith("source.drain: ")
    assert "records of a trial came as" in line


def test_a_trial_that_hears_no_end_is_read_one_by_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = NativeFetch.take
    monkeypatch.setattr(NativeFetch, "take", lambda *given: Taken(take(*given).records, []))
    monkeypatch.setattr(native, "N_TRIES", 5)
    with opened() as fetch:
        assert type(fetch) is PlainFetch
    assert "records of a trial came as" in warned(caplog)[0]


def test_a_trial_whose_broker_does_not_answer_is_read_one_by_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {"test.mock.broker.rtt": 10_000, "socket.timeout.ms": 300}
    monkeypatch.setattr(native, "TRIAL_CLIENT", native.TRIAL_CLIENT | silent)
    monkeypatch.setattr(native, "TRIAL_S", 0.02)
    with opened() as fetch:
        assert type(fetch) is PlainFetch
    (line,) = warned(caplog)
    assert line.startswith("source.drain: ")


def test_a_trial_that_breaks_off_lets_go_of_its_consumer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_fetch: NativeFetch, _linger_s: float) -> Taken:
        raise KafkaException(KafkaError(KafkaError._FAIL))

    def trial() -> None:
        with pytest.raises(KafkaException):
            check(load())

    monkeypatch.setattr(NativeFetch, "take", broken)
    assert returns(trial)


def test_unpack_copies_each_message_and_destroys_it_once() -> None:
    messages = [
        CMessage(partition=7, offset=2**40, payload=b"value", len=5),
        CMessage(partition=7, offset=2**40 + 1, payload=None, len=0),
        CMessage(partition=7, offset=2**40 + 2, payload=b"", len=0, key=b"key", key_len=3),
        CMessage(err=-UNKNOWN, partition=-1, offset=-1001, payload=b"what is wrong", len=13),
        CMessage(partition=2**31 - 1, offset=0, payload=b"x" * 1000, len=1000),
    ]
    addresses = [ctypes.addressof(message) for message in messages]
    stamps = dict(zip(addresses, [5, 0, -1, -1, 9], strict=True))
    destroyed: list[int] = []
    destroy = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(destroyed.append)
    timestamp = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(
        lambda address, _kind: stamps[address]
    )
    functions = (ctypes.cast(f, ctypes.c_void_p).value for f in (destroy, timestamp))
    records, error = unpack(np.array(addresses, np.int64), *functions, NOW_MS)
    assert seen(records) == [
        (b"value", 7, 2**40, 5),
        (None, 7, 2**40 + 1, 0),
        (b"", 7, 2**40 + 2, NOW_MS),
        (b"what is wrong", -1, -1001, NOW_MS),
        (b"x" * 1000, 2**31 - 1, 0, 9),
    ]
    assert error.tolist() == [0, 0, 0, -UNKNOWN, 0]
    assert destroyed == addresses


def test_unpack_of_nothing_is_no_records() -> None:
    records, error = unpack(np.empty(0, np.int64), 0, 0, NOW_MS)
    assert (seen(records), len(error)) == ([], 0)


def test_a_queue_takes_what_comes_and_gives_its_partitions_back(
    kafka: KafkaBroker, topic: Callable[[], str]
) -> None:
    name = kafka.create_topic(topic())
    kafka.produce(name, [(0, b"%d" % n, NOW_MS, None) for n in range(5)])
    with Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": name, "log_level": 0}
    ) as consumer:
        queue = Queue(load(), consumer, capacity=3, on_error=pytest.fail)
        assert len(queue.take(0)[1]) == 0
        queue.forward(name, 0)
        consumer.assign([TopicPartition(name, 0, 0)])
        taken = []

        def has_all() -> bool:
            records, error = queue.take(LINGER_S)
            assert len(error) <= 3
            taken.extend(seen(records))
            return len(taken) == 5

        wait_until(has_all, deadline_s=30, what="five records")
        assert consumer.poll(0) is None
        queue.close()
        assert [one.value for one in taken] == [b"%d" % n for n in range(5)]
