"""Rows B: the broker is killed, frozen or emptied, and topics are changed under the engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions

from tests.end_to_end.logs import CLOSER, IP, burst, event, on, window_ago
from tests.end_to_end.rig import DEADLINE_S, OFTEN, SHORT_SESSION, TO_THE_END, Rig
from tests.faults.standard import finished, what_is_wrong
from tests.faults.traffic import N_WINDOWS, crowd, mix, produce_windows, windows
from tests.services.kafka import KafkaBroker
from tests.services.monitor import MonitorRecorder
from tests.services.process import outlast, wait_until
from tests.services.proxy import Proxy

DATA_LOSS = 3
OUTAGE_S = 8.0
SMALL_PREFETCH = (
    "batch.max_events=100",
    "source.kafka.queued.max.messages.kbytes=64",
    "source.kafka.queued.min.messages=100",
    "source.kafka.max.partition.fetch.bytes=20000",
    "source.kafka.fetch.max.bytes=20000",
    "source.kafka.message.max.bytes=20000",
)
SOON_IDLE = ("window.idle_s=1", "window.delay_s=1")


def test_b2_the_broker_is_killed_in_mid_window(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here, start_s = rig(2, kafka=frail_kafka), window_ago(120)
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, *SHORT_SESSION)
        here.wait_for_key("bot_192.0.2.2")
        here.kafka.kill()
        outlast(OUTAGE_S)
        here.kafka.start()
        produce_windows(here, start_s + 10 * N_WINDOWS)
        finished(here, close_s=start_s + 200, engine=engine)
    assert what_is_wrong(here, recorder.commands) == ""


def test_b3_a_broker_that_is_slow_and_not_dead_makes_no_partition_idle(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here, start_s = rig(2, kafka=frail_kafka), window_ago(120)
    first, rest = (mix(*parts) for parts in halves(start_s))
    here.produce(0, first)
    here.produce(1, first)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, "window.idle_s=20", *SHORT_SESSION)
        here.wait_for_key("bot_192.0.2.0")
        here.kafka.stop()
        outlast(OUTAGE_S)
        here.kafka.cont()
        here.produce(0, rest)
        here.produce(1, rest)
        finished(here, close_s=start_s + 200, engine=engine)
    assert engine.summary["late_after_idle"] == 0
    assert what_is_wrong(here, recorder.commands) == ""


def halves(start_s: int) -> tuple[list[list[bytes]], list[list[bytes]]]:
    """Return the two halves of one window's events of three addresses."""
    logs = [burst(start_s, f"192.0.2.{k}", n=24) for k in range(3)]
    return [log[:12] for log in logs], [log[12:] for log in logs]


def test_b4_commits_that_do_not_get_through_are_tried_again(
    rig: Callable[..., Rig], proxied: tuple[KafkaBroker, Proxy]
) -> None:
    kafka, proxy = proxied
    here, start_s = rig(2, kafka=kafka), window_ago(120)
    produce_windows(here, start_s)
    proxy.n_commits, proxy.on_commit = 0, lambda: not 1 < proxy.n_commits < 6
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(f"source.bootstrap_servers={proxy.address}", OFTEN)
        here.wait_until(lambda: proxy.n_commits > 5, "commits that were cut")
        finished(here, close_s=start_s + 200, engine=engine)
    proxy.on_commit = None
    assert what_is_wrong(here, recorder.commands) == ""


def test_b4_a_commit_that_is_answered_late_holds_nothing_up(
    rig: Callable[..., Rig], proxied: tuple[KafkaBroker, Proxy]
) -> None:
    kafka, proxy = proxied
    here, start_s = rig(2, kafka=kafka), window_ago(120)
    produce_windows(here, start_s, n=2)

    def slow() -> bool:
        outlast(1.0)
        return True

    proxy.n_commits, proxy.on_commit = 0, slow
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(f"source.bootstrap_servers={proxy.address}", OFTEN)
        here.wait_for_key("bot_192.0.2.0")
        produce_windows(here, start_s + 20)
        finished(here, close_s=start_s + 200, engine=engine)
    proxy.on_commit = None
    assert what_is_wrong(here, recorder.commands) == ""


@pytest.mark.parametrize("policy", ["fail", "earliest"])
def test_b8_a_topic_that_is_deleted_and_made_again_is_no_silent_stall(
    policy: str, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(1), window_ago(120)
    here.produce(0, windows(0, start_s))
    often = "source.kafka.topic.metadata.refresh.interval.ms=500"
    engine = here.engine(OFTEN, often, f"source.on_data_loss={policy}")
    # what was committed must be beyond the end of the new log, else nothing tells it from the old
    here.wait_until(lambda: here.committed().get(0, 0) > len(burst(start_s)), "a commit")
    here.kafka.admin.delete_topics([here.topic])[here.topic].result()
    here.wait_until(lambda: not here.kafka.partitions(here.topic), "the end of the topic")
    here.kafka.create_topic(here.topic)
    here.produce(0, burst(start_s + 100, IP))
    if policy == "fail":
        assert engine.ends(DATA_LOSS).startswith("botsieve: source.topic: records ")
        return
    here.wait_for_key(f"bot_{IP}")
    engine.terminate()
    engine.ends()


def test_b10_partitions_that_are_added_under_load_are_counted_from_their_beginning(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    often = "source.kafka.topic.metadata.refresh.interval.ms=500"
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, often)
        here.wait_for_key("bot_192.0.2.0")
        here.kafka.admin.create_partitions([NewPartitions(here.topic, 6)])[here.topic].result()
        here.wait_until(lambda: len(here.kafka.partitions(here.topic)) == 6, "six partitions")
        anew = {"linger_ms": "1"}  # a producer that does not remember two partitions
        for partition in range(6):
            rows = on(partition, windows(partition % 2, start_s + 50))
            here.kafka.produce(here.topic, rows, **anew)
        here.wait_until(lambda: "5 from 0" in engine.stderr, "all partitions")
        closers = [event(start_s + 200, CLOSER)]
        for partition in range(6):
            here.kafka.produce(here.topic, on(partition, closers), **anew)
        here.end(engine)
    assert what_is_wrong(here, recorder.commands) == ""


def test_b12_records_deleted_under_a_paused_engine_end_the_run_and_a_gap_is_exact(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(1), window_ago(300)
    n_records, n_kept = 20_000, 100
    for k in range(20):
        here.produce(0, crowd(start_s + 10 * k, n=n_records // 20))
    here.valkey.stop()
    engine = here.engine(OFTEN, here.impatient(), *SMALL_PREFETCH)
    engine.wait_for("Redis does not answer")
    here.wait_until(lambda: engine.stderr.count("does not answer") > 2, "a pause")
    gone = TopicPartition(here.topic, 0, n_records - n_kept)
    here.kafka.admin.delete_records([gone])[gone].result()
    here.valkey.cont()
    assert engine.ends(DATA_LOSS).startswith("botsieve: source.topic: records ")
    after = here.engine(TO_THE_END, "source.on_data_loss=earliest")
    after.ends()
    assert (after.summary["events"], after.summary["windows_partial"]) == (n_kept, 1)


def test_b13_a_compacted_topic_has_gaps_and_tombstones(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(1), window_ago(120)
    here.topic = here.kafka.create_topic(
        f"{here.topic}-compacted",
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        min_compaction_lag_ms="0",
        max_compaction_lag_ms="200",
    )
    rows = [(0, value, None, b"%d" % (k % 20)) for k, value in enumerate(windows(0, start_s))]
    here.kafka.produce(here.topic, [*rows, (0, None, None, b"3"), (0, None, None, b"4")])

    def is_compacted() -> bool:
        here.kafka.produce(here.topic, [(0, event(start_s + 35, IP), None, b"rolls the segment")])
        return len(here.kafka.records(here.topic)) < len(rows)

    wait_until(is_compacted, deadline_s=DEADLINE_S, what="a compaction")
    closing = event(start_s + 200, CLOSER)
    here.kafka.produce(here.topic, [(0, closing, None, b"closing")])
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = finished(here, close_s=None)
    assert engine.summary["rejected"].get("tombstone", 0) == here.judged().rejected["tombstone"]
    assert what_is_wrong(here, recorder.commands) == ""


def test_b14_aborted_records_do_not_count_and_an_open_transaction_keeps_its_window_open(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(1), window_ago(120)
    name = f"{here.topic}-writer"
    settings = {"bootstrap.servers": here.kafka.bootstrap, "transactional.id": name, "log_level": 0}
    writer = Producer(settings)
    writer.init_transactions()
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, *SOON_IDLE)
        send(writer, here.topic, burst(start_s, "192.0.2.1", n=9)).commit_transaction()
        send(writer, here.topic, burst(start_s, "192.0.2.1", n=9)).abort_transaction()
        opened = send(writer, here.topic, burst(start_s, "192.0.2.2", n=15))
        opened.flush()
        outlast(OUTAGE_S)
        assert here.get("stat_192.0.2.1") is None  # behind the open one is the end, not here
        opened.commit_transaction()
        here.wait_for_key("bot_192.0.2.2")
        finished(here, close_s=start_s + 200, engine=engine)
    assert what_is_wrong(here, recorder.commands) == ""


def send(writer: Producer, topic: str, values: list[bytes]) -> Producer:
    """Begin a transaction with these records."""
    writer.begin_transaction()
    for value in values:
        writer.produce(topic, value, partition=0)
    return writer


def test_b15_every_compression_gives_the_same(rig: Callable[..., Rig]) -> None:
    here, start_s = rig(2), window_ago(120)
    for k, codec in enumerate(("gzip", "snappy", "lz4", "zstd", "none")):
        for partition in (0, 1):
            rows = on(partition, windows(partition, start_s + 10 * k, n=1))
            here.kafka.produce(here.topic, rows, compression_type=codec)
    with MonitorRecorder(here.valkey.url) as recorder:
        finished(here, close_s=start_s + 200)
    assert what_is_wrong(here, recorder.commands, ascending=True) == ""


def test_b16_huge_messages_are_too_big_and_cost_their_neighbours_nothing(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(1), window_ago(120)
    here.topic = here.kafka.create_topic(f"{here.topic}-huge", max_message_bytes=str(12 << 20))
    log = windows(0, start_s)
    values = [*log[:20], b"x" * (900 << 10), *log[20:40], b"y" * (10 << 20), *log[40:]]
    here.kafka.produce(here.topic, on(0, values), message_max_bytes=str(12 << 20))
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = finished(here, close_s=start_s + 200)
    assert engine.summary["rejected"] == {"too_big": 2}
    assert what_is_wrong(here, recorder.commands) == ""


OPERATORS = b"an operator's own"
FOREIGN = {0: "", 1: "made by another tool", 2: "x" * 4_000, 3: "v99|1|2|3|4|5|6"}


def test_b17_commits_of_another_tool_are_gone_on_from_with_a_warning(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(4), window_ago(120)
    for partition in FOREIGN:
        here.produce(partition, windows(partition % 2, start_s))
    commit(here, FOREIGN, offset=0)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = finished(here, close_s=start_s + 200)
    assert engine.stderr.count("is not ours") == len(FOREIGN)
    assert what_is_wrong(here, recorder.commands) == ""


def commit(here: Rig, metadata: dict[int, str], *, offset: int) -> None:
    """Commit for the engine's group, as a tool does that is not the engine."""
    offsets = [
        TopicPartition(here.topic, partition, offset, metadata=text)
        for partition, text in metadata.items()
    ]
    with Consumer({"bootstrap.servers": here.kafka.bootstrap, "group.id": here.topic}) as tool:

        def is_taken() -> bool:
            with suppress(KafkaException):  # the group still waits for the engine that has left
                tool.commit(offsets=offsets, asynchronous=False)
                return True
            return False

        wait_until(is_taken, deadline_s=DEADLINE_S, what="a commit by a tool")


def test_b18_a_group_that_is_set_back_writes_the_same_again_and_shortens_nothing(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(2), window_ago(120)
    produce_windows(here, start_s)
    with MonitorRecorder(here.valkey.url) as recorder:
        finished(here, close_s=start_s + 200, engine=here.engine(OFTEN, *SHORT_SESSION))
        with here.client() as client:
            client.set("bot_192.0.2.0", OPERATORS, ex=5_000)
        commit(here, {0: "", 1: ""}, offset=0)
        again = finished(here, close_s=None)
    assert again.summary["windows"] >= N_WINDOWS
    assert here.get("bot_192.0.2.0") == OPERATORS
    ours = [command for command in recorder.commands if OPERATORS not in command.args]
    set_back = "192.0.2.0'|bot_192.0.2.0 expires|offset=0.: after"
    assert what_is_wrong(here, ours, theirs=set_back) == ""
