"""A million events: the same keys and values however they are partitioned, as backlog and live."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.end_to_end.botgen_log import N_BOTS, N_EVENTS, BotgenLog
from tests.end_to_end.judged import writes_in, wrong_writes
from tests.end_to_end.rig import OFTEN, TO_THE_END, Rig
from tests.faults.standard import MOST_RSS_MB
from tests.services.monitor import MonitorRecorder
from tests.services.valkey import ValkeyServer

pytestmark = pytest.mark.timeout(300)  # the model needs its time, and has no other turn to come


def test_m4_a_backlog_ends_with_the_keys_of_the_model_over_1_4_and_16_partitions(
    rig: Callable[..., Rig], new_valkey: Callable[..., ValkeyServer], botgen_log: BotgenLog
) -> None:
    begun = []
    for n_partitions, options in ((1, []), (4, []), (16, ["--keyed"])):
        here = rig(n_partitions, valkey=new_valkey())
        botgen_log.produce(here.kafka, here.topic, *options)
        begun.append((here, here.engine(TO_THE_END, "rules=seed")))
    expected = botgen_log.judged("seed")
    for here, engine in begun:
        engine.ends()
        assert here.wrong_keys(expected) == ""
        summary = engine.summary
        assert (summary["events"], summary["late"], summary["rejected"]) == (N_EVENTS, 0, {})
        assert summary["peak_rss_mb"] < MOST_RSS_MB
        assert summary["verdicts"] == len(expected.verdicts)
        assert summary["addresses_flagged"] == len(expected.decisions) > 10_000


def test_live_every_value_that_redis_was_told_is_true(
    rig: Callable[..., Rig], botgen_log: BotgenLog
) -> None:
    here = rig(4)
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine("source.start=latest", OFTEN)
        here.wait_for_commit(n_open=0)
        botgen_log.produce(here.kafka, here.topic)
        here.close_windows(botgen_log.end_s + 60)
        here.end(engine)
    expected = botgen_log.judged("fast")
    writes = list(writes_in(recorder.commands))
    assert wrong_writes(writes, expected) == []
    assert here.wrong_keys(expected) == ""
    assert len({write.ip for write in writes if not write.final}) == N_BOTS
