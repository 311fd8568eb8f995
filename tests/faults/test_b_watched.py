"""Broker, topic or events are not there: the engine waits, says so, and takes little."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, TopicPartition

from tests.end_to_end.logs import burst, window_ago
from tests.end_to_end.rig import OFTEN, Rig
from tests.faults.watched import READY, Page, busy_share
from tests.services.kafka import KafkaBroker
from tests.services.process import wait_until

UNAVAILABLE, UNREADY = 69, 503
WAITING_S, MAX_WAITING_SHARE = 4.0, 0.05
QUIET_S, MAX_QUIET_SHARE = 8.0, 0.1
MAX_GROWTH_BYTES = 4_000_000


def test_b1_a_broker_that_is_down_at_the_start_is_waited_for_without_work(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here, page, start_s = rig(2, kafka=frail_kafka), Page(), window_ago(60)
    for partition in (0, 1):
        here.produce(partition, burst(start_s, f"192.0.2.{partition + 1}"))
    here.close_windows(start_s + 100)
    frail_kafka.kill()
    hasty = here.engine("source.startup_timeout_s=1")
    line = hasty.ends(UNAVAILABLE)
    assert line.startswith("botsieve: source.bootstrap_servers: no broker answers")
    engine = here.engine(OFTEN, page.override)
    engine.wait_for("no broker answers")
    page.wait_for("broker")
    assert busy_share(engine, WAITING_S) < MAX_WAITING_SHARE
    assert page.health("/healthz") == READY
    frail_kafka.start()
    page.wait_for()
    here.end(engine)
    assert here.wrong_keys(here.judged()) == ""


def test_b2_a_broker_that_dies_and_comes_back_is_missing_only_meanwhile(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here, page = rig(2, kafka=frail_kafka), Page()
    engine = here.engine(OFTEN, page.override)
    page.wait_for()
    frail_kafka.kill()
    page.wait_for("broker")
    assert page.health("/healthz") == READY
    frail_kafka.start()
    page.wait_for()
    engine.terminate()
    engine.ends()


def test_b7_a_topic_that_is_missing_at_the_start_is_waited_for(
    rig: Callable[..., Rig], topic: Callable[[], str]
) -> None:
    here, page, start_s = rig(), Page(), window_ago(60)
    here.topic = topic()
    engine = here.engine("source.start=latest", OFTEN, page.override)
    page.wait_for("topic")
    assert page.health("/healthz") == READY
    assert f"there is no topic '{here.topic}'; waiting for it" in engine.stderr
    here.kafka.create_topic(here.topic, 2)
    here.produce(1, burst(start_s))
    page.wait_for()
    here.close_windows(start_s + 100)
    here.end(engine)
    assert here.wrong_keys(here.judged()) == ""


def test_b11_records_that_were_deleted_before_they_were_counted_are_told_by_their_number(
    rig: Callable[..., Rig],
) -> None:
    here, page, start_s = rig(), Page(), window_ago(60)
    here.produce(0, burst(start_s))
    here.close_windows(start_s + 100)
    first = here.engine(OFTEN)
    here.end(first)
    here.produce(0, burst(start_s + 200))
    here.kafka.admin.delete_records([TopicPartition(here.topic, 0, 35)])
    engine = here.engine("source.on_data_loss=earliest", OFTEN, page.override)
    page.wait_for()
    assert page.metrics()["botsieve_data_loss_records_total"] == 15
    engine.terminate()
    engine.ends()
    assert engine.summary["data_loss_records"] == 15
    assert "lost      15 uncounted records that Kafka had deleted" in engine.stderr


def test_g2_another_member_that_takes_a_part_of_the_topic_is_seen_on_the_page(
    rig: Callable[..., Rig],
) -> None:
    here, page = rig(2), Page()
    engine = here.engine(OFTEN, page.override)
    page.wait_for()
    assert page.metrics()["botsieve_partial_view"] == 0
    properties = {"group.id": here.topic, "partition.assignment.strategy": "range"}
    with Consumer({"bootstrap.servers": here.kafka.bootstrap, **properties}) as other:
        other.subscribe([here.topic])
        wait_until(lambda: other.poll(0.1) or other.assignment(), deadline_s=60, what="a share")
        wait_until(
            lambda: page.metrics()["botsieve_partial_view"] == 1,
            deadline_s=60,
            what="a partial view",
        )
        assert page.health() == (UNREADY, ["partitions"])
    page.wait_for()
    assert page.metrics()["botsieve_partial_view"] == 0
    engine.terminate()
    engine.ends()


def test_b9_an_empty_topic_is_read_without_an_error_and_without_work(
    rig: Callable[..., Rig],
) -> None:
    here, page = rig(4), Page()
    engine = here.engine(OFTEN, page.override)
    page.wait_for()
    before = page.metrics()
    share = busy_share(engine, QUIET_S)
    after = page.metrics()
    assert share < MAX_QUIET_SHARE
    growth_bytes = after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]
    assert growth_bytes < MAX_GROWTH_BYTES
    assert page.health("/healthz") == page.health() == READY
    assert after["botsieve_records_total"] == after["botsieve_lag_records"] == 0
    engine.terminate()
    engine.ends()
    assert "WARNING" not in engine.stderr
    assert "ERROR" not in engine.stderr
