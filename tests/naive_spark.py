"""The model of what Spark does otherwise: an event is late for a window that is written already.

Spark's watermark is one for all partitions, and it moves between micro-batches only. So what is
late depends on the batches, where the engine's rule asks each partition's own order alone. Counting
and rules are the same, so they are the model's own.
Invariant: with one batch nothing is late; in any other way the answer is that of `naive.judge`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests import naive
from tests.naive_config import ModelConfig


class SparkJudgement(NamedTuple):
    """The verdicts, and each (window, event time) that was not counted."""

    verdicts: dict[naive.Window, naive.Verdict]
    late: list[tuple[naive.Window, int]]


def judge_batches(batches: Iterable[Sequence[naive.Row]], config: ModelConfig) -> SparkJudgement:
    """Return the answer for a log that comes in these micro-batches; its end closes windows."""
    counted: dict[naive.Window, list[naive.Event]] = defaultdict(list)
    late: list[tuple[naive.Window, int]] = []
    written_until_s = 0
    for batch in batches:
        parsed = (naive.parse_event(row.value, row.timestamp_ms, config) for row in batch)
        events = [event for event in parsed if isinstance(event, naive.Event)]
        for event in events:
            for window in naive.windows_of(event, config):
                if window[1] <= written_until_s:
                    late.append((window, event.time_s))
                else:
                    counted[window].append(event)
        newest_s = max((event.time_s for event in events), default=0)
        written_until_s = max(written_until_s, newest_s - config.delay_s)
    verdicts = {
        window: naive.verdict_of(window, events, config) for window, events in counted.items()
    }
    return SparkJudgement(verdicts, late)
