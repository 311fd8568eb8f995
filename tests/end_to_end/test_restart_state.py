"""What a restart finds: records that are gone, other windows, partitions that lie far apart."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import TopicPartition

from tests.end_to_end.judged import writes_in, wrong_writes
from tests.end_to_end.logs import burst, event, window_ago
from tests.end_to_end.rig import TO_THE_END, Rig
from tests.services.monitor import MonitorRecorder

DATA_LOSS, CONFIG = 3, 78


def test_b11_records_deleted_before_they_were_counted_end_the_run_until_a_gap_is_accepted(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(), window_ago(120)
    here.produce(0, burst(start_s))
    here.engine(TO_THE_END).ends()
    here.produce(0, burst(start_s + 20, "192.0.2.2", n=30))
    gone = TopicPartition(here.topic, 0, 25)
    here.kafka.admin.delete_records([gone])[gone].result()
    here.produce(0, burst(start_s + 50, "192.0.2.3", n=5))
    line = here.engine(TO_THE_END).ends(DATA_LOSS)
    assert line.startswith(f"botsieve: source.topic: records are lost, {here.topic} partition 0: ")
    assert "offset 20 was to be read, 25 is the first" in line
    engine = here.engine(TO_THE_END, "source.on_data_loss=earliest")
    engine.ends()
    assert engine.summary["events"] == 30
    assert engine.summary["windows_partial"] == 1
    assert here.get("stat_192.0.2.2") is None  # a part of its window is missing
    assert b'"events":5,' in (here.get("stat_192.0.2.3") or b"")
    assert here.get("bot_192.0.2.2") is not None  # what is left was too much already


def test_other_windows_than_the_committed_ones_are_refused_until_accepted(
    rig: Callable[..., Rig],
) -> None:
    here = rig()
    here.produce(0, [event(window_ago(60))])
    here.engine(TO_THE_END).ends()
    line = here.engine(TO_THE_END, "window.length_s=20").ends(CONFIG)
    assert line.startswith("botsieve: window.length_s: the group has committed for windows 10/10")
    assert "accept_state_change=true" in line
    here.engine(TO_THE_END, "window.length_s=20", "accept_state_change=true").ends()


def test_t2_partitions_that_lie_minutes_apart_give_the_same_as_their_log_in_order(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(4), window_ago(480)
    for partition in (3, 1, 0, 2):
        minutes_s = start_s + 120 * partition
        for ahead_s in range(0, 120, 10):
            here.produce(partition, burst(minutes_s + ahead_s, n=8 + ahead_s // 10))
            here.produce(partition, [event(minutes_s + ahead_s + n) for n in range(10)])
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(TO_THE_END, "batch.max_events=100")
        engine.ends()
    expected = here.judged()
    assert (engine.summary["late"], engine.summary["windows"]) == (0, 48)
    assert wrong_writes(writes_in(recorder.commands), expected) == []
    assert here.wrong_keys(expected) == ""
