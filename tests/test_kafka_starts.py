"""Where a partition is read from, asked of a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from confluent_kafka import Consumer, TopicPartition

from engine.batch.checkpoint import Checkpoint
from engine.errors import DataLossError
from engine.kafka.starts import Start, resolve_starts
from engine.source_config import KafkaConf
from tests.kafka_reader import conf_of, new_consumer
from tests.services.kafka import KafkaBroker

N_RECORDS, N_COMMITTED = 5, 3
MIDDLE_S = 1000
BLANK = Checkpoint(
    pmax_s=0, closed_s=0, complete_from_s=0, mode="stream", windows="10/10", rules_sha8="0" * 8
)
RECORD = (0, b"{}", None, None)


@pytest.fixture
def conf(kafka: KafkaBroker, topic: Callable[[], str]) -> KafkaConf:
    """The settings for a topic with a few records."""
    name = kafka.create_topic(topic())
    kafka.produce(name, [RECORD] * N_RECORDS)
    assert kafka.committed(name, name) == {}  # waits for the coordinator of a broker that is new
    return replace(conf_of(kafka.bootstrap, name), start="latest")


@pytest.fixture
def consumer(conf: KafkaConf) -> Iterator[Consumer]:
    """A consumer that reads nothing."""
    with new_consumer(conf) as consumer:
        yield consumer


def commit(consumer: Consumer, conf: KafkaConf, offset: int) -> None:
    """Commit as the engine does."""
    wanted = TopicPartition(conf.topic, 0, offset, metadata=BLANK.metadata())
    consumer.commit(offsets=[wanted], asynchronous=False)


def start(consumer: Consumer, conf: KafkaConf, *, begun: bool = False) -> Start:
    """Return where partition 0 is read from; `begun` says that it had a commit before."""
    return resolve_starts(
        consumer,
        conf,
        [0],
        blank=BLANK,
        complete_from_s=MIDDLE_S,
        from_beginning=set(),
        begun={0} if begun else set(),
    )[0]


@pytest.mark.parametrize(
    ("name", "offset", "complete_from_s"),
    [("earliest", 0, 0), ("latest", N_RECORDS, MIDDLE_S), ("1", 0, 0)],
)
def test_a_partition_without_a_commit_begins_where_the_config_says(
    name: str, offset: int, complete_from_s: int, consumer: Consumer, conf: KafkaConf
) -> None:
    checkpoint = BLANK._replace(complete_from_s=complete_from_s)
    wanted = Start(offset, checkpoint, is_new=True)
    assert start(consumer, replace(conf, start=name)) == wanted


def test_a_partition_begins_at_its_commit(consumer: Consumer, conf: KafkaConf) -> None:
    commit(consumer, conf, N_COMMITTED)
    assert start(consumer, conf) == Start(N_COMMITTED, BLANK, is_new=False)


def test_a_commit_that_is_gone_while_the_engine_runs_is_a_loss(
    consumer: Consumer, conf: KafkaConf
) -> None:
    with pytest.raises(DataLossError, match="partition 0: its commit is gone, 0 is the first"):
        start(consumer, conf, begun=True)


@pytest.mark.parametrize(("policy", "offset"), [("earliest", 0), ("latest", N_RECORDS)])
def test_after_a_commit_that_is_gone_a_policy_says_where_to_go_on(
    policy: str, offset: int, consumer: Consumer, conf: KafkaConf
) -> None:
    checkpoint = BLANK._replace(complete_from_s=MIDDLE_S)
    wanted = Start(offset, checkpoint, is_new=True, n_lost=offset)
    assert start(consumer, replace(conf, on_data_loss=policy), begun=True) == wanted


def test_commits_are_ignored_only_until_the_engine_has_made_its_own(
    consumer: Consumer, conf: KafkaConf
) -> None:
    commit(consumer, conf, N_COMMITTED)
    ignoring = replace(conf, ignore_commits=True)
    assert start(consumer, ignoring).offset == N_RECORDS
    assert start(consumer, ignoring, begun=True) == Start(N_COMMITTED, BLANK, is_new=False)
