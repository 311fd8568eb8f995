"""A million events of botgen on Spark: the keys are the model's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.botgen_log import N_EVENTS, BotgenLog
from tests.end_to_end.rig import TO_THE_END, Rig
from tests.spark.test_runner import DEADLINE_S, on_spark

pytestmark = [pytest.mark.spark, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def botgen_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BotgenLog]:
    """The log of a million events; the model judges it in the background."""
    log = BotgenLog(tmp_path_factory.mktemp("botgen"))
    yield log
    log.close()


def test_a_million_events_end_with_the_keys_of_the_model(
    rig: Callable[..., Rig], botgen_log: BotgenLog, tmp_path: Path
) -> None:
    here = rig(4)
    botgen_log.produce(here.kafka, here.topic)
    engine = here.engine(TO_THE_END, *on_spark(tmp_path / "checkpoint"))
    engine.ends(deadline_s=DEADLINE_S)
    expected = botgen_log.judged("fast")
    assert here.wrong_keys(expected) == ""
    summary = engine.summary
    assert (summary["events"], summary["late"], summary["rejected"]) == (N_EVENTS, 0, {})
    assert summary["verdicts"] == len(expected.verdicts)
    here.record("summary", summary)
