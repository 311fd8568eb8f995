"""What both fetches promise, on a real broker: all records in order, each once, and every notice.

Each test runs over `Consumer.consume` and over batches from librdkafka itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator

import pytest
from confluent_kafka import KafkaError, Producer, TopicPartition

from tests.kafka_reader import DEADLINE_S, Member, Reader, Seen, conf_of, returns
from tests.services.kafka import KafkaBroker
from tests.services.kafka_client import REQUEST_TIMEOUT_S, Row

TIMESTAMP_MS = 1_700_000_000_000
VALUES = (b"small", None, b"", b"x" * 100_000, "ünï\0".encode(), bytes(range(256)))
KEYS = (None, b"key", b"")


@pytest.fixture(params=["plain", "native"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which fetch."""
    return request.param


@pytest.fixture
def new_reader(kind: str, kafka: KafkaBroker) -> Iterator[Callable[..., Reader]]:
    """Make a reader of a topic: `new_reader(name, max_events=7, of=Member)`."""
    made: list[Reader] = []

    def make(name: str, *, of: type[Reader] = Reader, max_events: int = 100) -> Reader:
        made.append(of(kind, conf_of(kafka.bootstrap, name), max_events=max_events))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


def numbered(numbers: Iterable[int], partition: int = 0) -> list[Row]:
    """Return records whose value is their number, to be produced."""
    return [(partition, b"%d" % n, TIMESTAMP_MS + n, None) for n in numbers]


def expected(rows: Iterable[Row], first: int = 0) -> list[Seen]:
    """Return the records of one partition as they must be seen from an offset on."""
    whole = [
        Seen(value, partition, offset, timestamp_ms or 0)
        for offset, (partition, value, timestamp_ms, _) in enumerate(rows)
    ]
    return whole[first:]


def of_partition(reader: Reader, partition: int) -> list[Seen]:
    """Return what was seen of a partition, as it came."""
    return [one for one in reader.seen if one.partition == partition]


def test_records_come_as_they_were_sent_in_the_order_of_their_partition(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic(), 3)
    rows: list[Row] = [
        (n % 3, VALUES[n // 3 % len(VALUES)], TIMESTAMP_MS - n * 7, KEYS[n % 5 % 3])
        for n in range(90)
    ]
    kafka.produce(name, rows)
    reader = new_reader(name, max_events=7)
    reader.assign({0: 0, 1: 0, 2: 0})
    reader.read_to({0: 30, 1: 30, 2: 30})
    for partition in range(3):
        sent = [row for row in rows if row[0] == partition]
        assert of_partition(reader, partition) == expected(sent)
    assert len(reader.seen) == len(rows)
    assert max(reader.sizes) == 7


def test_a_batch_holds_records_and_the_end_behind_them_apart(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic(), 2)
    rows = numbered(range(40))
    kafka.produce(name, rows)
    reader = new_reader(name, max_events=41)  # the end of the empty partition is the other message
    reader.assign({0: 0, 1: 0})
    reader.read_to({0: 40, 1: 0})
    assert reader.seen == expected(rows)
    ends = [(n.partition, n.offset, n.error.code()) for n in reader.notices]
    eof = KafkaError._PARTITION_EOF
    assert sorted(ends) == [(0, 40, eof), (1, 0, eof)]


def test_the_end_is_told_again_when_it_has_moved(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic())
    reader = new_reader(name)
    reader.assign({0: 0})
    reader.read_to({0: 0})
    rows = numbered(range(5))
    kafka.produce(name, rows)
    reader.read_to({0: 5})
    assert reader.seen == expected(rows)
    assert [notice.offset for notice in reader.notices] == [0, 5]


def test_a_pause_loses_and_doubles_nothing(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic())
    rows = numbered(range(900))
    kafka.produce(name, rows[:300])
    reader = new_reader(name, max_events=10)
    reader.assign({0: 0})
    reader.read_some()
    for first in (300, 500):
        reader.fetch.serve(0.05)  # before the pause: may bring a record, which is kept
        reader.consumer.pause(reader.partitions({0: 0}))
        kafka.produce(name, rows[first : first + 200])
        for _ in range(5):
            reader.fetch.serve(0.05)
        reader.consumer.resume(reader.partitions({0: 0}))
        reader.step()
    kafka.produce(name, rows[700:])
    reader.read_to({0: 900})
    assert reader.seen == expected(rows)


def test_a_paused_partition_is_silent_while_another_goes_on(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic(), 2)
    silent, other = numbered(range(50)), numbered(range(50), partition=1)
    kafka.produce(name, silent + other)
    reader = new_reader(name, max_events=10)
    reader.assign({0: 0, 1: 0})
    reader.consumer.pause(reader.partitions({0: 0}))
    n_before = len(of_partition(reader, 0))
    reader.read_to({1: 50})
    assert len(of_partition(reader, 0)) == n_before
    reader.consumer.resume(reader.partitions({0: 0}))
    reader.read_to({0: 50})
    assert of_partition(reader, 0) == expected(silent)
    assert of_partition(reader, 1) == expected(other)


def test_a_new_assignment_begins_where_it_says_without_leftovers(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic(), 2)
    rows, others = numbered(range(600)), numbered(range(600), partition=1)
    kafka.produce(name, rows + others)
    reader = new_reader(name, max_events=10)
    reader.assign({0: 0, 1: 0})
    for first in (3, 7, 590):
        reader.read_until(lambda: len(reader.seen) >= 10, "a few records")
        reader.fetch.serve(0.05)
        reader.consumer.unassign()
        reader.assign({0: first})
    reader.read_to({0: 600})
    assert reader.seen == expected(rows, 590)


def test_after_a_rebalance_each_member_has_its_own_partitions_alone(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic(), 4)
    log = {p: numbered(range(500), p) for p in range(4)}
    kafka.produce(name, [row for rows in log.values() for row in rows])
    first = new_reader(name, of=Member, max_events=10)
    first.read_until(lambda: len(first.seen) >= 30 and len(first.assigned) == 4, "all for one")
    second = new_reader(name, of=Member, max_events=10)

    def is_shared() -> bool:
        second.step()
        return len(first.assigned) == len(second.assigned) == 2

    first.read_until(is_shared, "two partitions for each")
    assert first.assigned | second.assigned == set(log)
    for member in (first, second):
        member.read_to(dict.fromkeys(member.assigned, 500))
        assert {one.partition for one in member.seen} == member.assigned
        for p in member.assigned:
            assert of_partition(member, p) == expected(log[p])


def test_records_that_are_gone_are_a_notice_with_code_and_text(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic(), 2)
    kafka.produce(name, numbered(range(10), partition=1))
    gone = TopicPartition(name, 1, 5)
    kafka.admin.delete_records([gone])[gone].result(REQUEST_TIMEOUT_S)
    reader = new_reader(name)
    reader.assign({1: 2})
    reader.read_until(lambda: reader.notices, "a notice")
    (notice,) = reader.notices
    assert (notice.partition, notice.error.code()) == (1, KafkaError._AUTO_OFFSET_RESET)
    assert "out of range" in notice.error.str()
    assert reader.seen == []


def test_a_partition_that_does_not_exist_is_told_to_the_error_callback_and_others_go_on(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic())
    reader = new_reader(name)
    reader.assign({0: 0, 7: 0})
    reader.read_until(lambda: reader.errors, "an error")
    (error,) = reader.errors
    assert error.code() == KafkaError._UNKNOWN_PARTITION
    assert f"{name} [7]: desired partition is not available" in error.str()
    kafka.produce(name, numbered([0]))
    reader.read_some()
    assert reader.seen == expected(numbered([0]))


def test_an_error_of_the_group_is_a_notice_with_code_and_text(
    topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    missing = new_reader(topic(), of=Member)
    missing.read_until(lambda: missing.notices, "a notice")
    error = missing.notices[0].error
    assert error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert missing.topic in error.str()


def test_close_returns_while_records_wait(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic(), 2)
    kafka.produce(name, numbered(range(5_000)) + numbered(range(5_000), partition=1))
    reader = new_reader(name, max_events=1)
    reader.assign({0: 0, 1: 0})
    reader.read_some()
    assert len(reader.fetch.take(0).records.offset) == 1, "nothing waits"
    assert returns(reader.close)


def test_close_returns_for_a_member_of_a_group_while_records_wait(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic(), 2)
    kafka.produce(name, numbered(range(5_000)) + numbered(range(5_000), partition=1))
    reader = new_reader(name, of=Member, max_events=1)
    reader.read_some()
    assert returns(reader.close)


@pytest.mark.parametrize("attached", [[], [0, 1]])
def test_close_returns_before_anything_is_assigned(
    kafka: KafkaBroker,
    topic: Callable[[], str],
    new_reader: Callable[..., Reader],
    attached: list[int],
) -> None:
    reader = new_reader(kafka.create_topic(topic(), 2))
    reader.fetch.attach(attached)
    assert returns(reader.close)


def test_only_committed_records_are_handed_over(
    kafka: KafkaBroker, topic: Callable[[], str], new_reader: Callable[..., Reader]
) -> None:
    name = kafka.create_topic(topic())
    producer = Producer(
        {"bootstrap.servers": kafka.bootstrap, "transactional.id": uuid.uuid4().hex, "log_level": 0}
    )
    producer.init_transactions(DEADLINE_S)

    def send(text: bytes) -> None:
        producer.begin_transaction()
        for n in range(3):
            producer.produce(name, text + b"%d" % n, partition=0)
        assert producer.flush(DEADLINE_S) == 0  # in the log, whatever becomes of it

    send(b"a")
    producer.commit_transaction(DEADLINE_S)
    send(b"b")
    producer.abort_transaction(DEADLINE_S)
    send(b"c")
    reader = new_reader(name)
    reader.assign({0: 0})
    reader.read_to({0: 8})  # 3 records and a marker, twice; then the open transaction
    assert [(one.value, one.offset) for one in reader.seen] == [(b"a%d" % n, n) for n in range(3)]
    producer.commit_transaction(DEADLINE_S)
    reader.read_to({0: 12})
    assert [(one.value, one.offset) for one in reader.seen[3:]] == [
        (b"c%d" % n, 8 + n) for n in range(3)
    ]
