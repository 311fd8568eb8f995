"""The model of Spark's lateness, worked out by hand: what docs/spark.md says differs."""

from __future__ import annotations

from tests import naive
from tests.case_files import CASES, load_case
from tests.naive_config import ModelConfig
from tests.naive_spark import judge_batches

LATE_HOPPING = load_case(CASES / "late_hopping.yaml")
IP = "192.0.2.1"


def log(*times: int, partition: int = 0) -> list[naive.Row]:
    """Records of one address at these times."""
    value = '{"unix_time":%d,"category_id":7,"ip":"192.0.2.1","type":"view"}'
    return [
        naive.Row(partition, i, (value % time_s).encode(), time_s * 1000)
        for i, time_s in enumerate(times)
    ]


def events_by_window(batches: list[list[naive.Row]], config: ModelConfig) -> dict[int, int]:
    """Window start -> events."""
    return {w[0]: verdict.events for w, verdict in judge_batches(batches, config).verdicts.items()}


def test_within_one_batch_nothing_is_late():
    found = judge_batches([LATE_HOPPING.rows], LATE_HOPPING.config)
    assert found.late == []
    assert len(naive.judge(LATE_HOPPING.rows, LATE_HOPPING.config).late[0]) == 1


def test_an_event_is_late_when_its_window_was_written_by_an_earlier_batch():
    config = ModelConfig(length_s=10, delay_s=10)
    assert events_by_window([log(19, 40, 19)], config) == {10: 2, 40: 1}
    assert events_by_window([log(19, 40), log(19)], config) == {10: 1, 40: 1}
    assert events_by_window([log(19, 29), log(19)], config) == {10: 2, 20: 1}


def test_another_partition_that_is_ahead_makes_events_late():
    config = ModelConfig(length_s=10, delay_s=10)
    batches = [log(100), log(19, partition=1)]
    assert events_by_window(batches, config) == {100: 1}
    rows = [row for batch in batches for row in batch]
    assert {w[0] for w in naive.judge(rows, config).verdicts} == {10, 100}


def test_a_late_event_still_counts_in_those_of_its_windows_that_are_open():
    found = judge_batches([[row] for row in LATE_HOPPING.rows], LATE_HOPPING.config)
    assert found.late == [((540, 660, IP), 655), ((540, 660, IP), 655)]
    assert {w[:2]: (v.events, v.clicks) for w, v in found.verdicts.items()} == {
        (600, 720): (4, 2),
        (660, 780): (2, 0),
    }
