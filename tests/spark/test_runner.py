"""`runner=spark` from a real Kafka to a real Valkey, as a process: the keys are the model's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.logs import burst, event, window_ago
from tests.end_to_end.rig import TO_THE_END, Rig

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

DEADLINE_S = 200.0


def on_spark(checkpoint: Path) -> list[str]:
    """The overrides of an engine on Spark in its own process."""
    properties = ["driver.host=127.0.0.1", "driver.bindAddress=127.0.0.1", "ui.enabled=false"]
    return [
        "runner=spark",
        f"spark.checkpoint={checkpoint}",
        "spark.master='local[2]'",
        *[f"spark.properties.spark.{text}" for text in properties],
    ]


def test_a_topic_read_to_its_end_leaves_the_keys_of_the_model(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here = rig(2)
    start_s = window_ago(100)
    here.produce(0, [*burst(start_s), b"{", event(start_s + 20, "2001:db8::1")])
    here.produce(1, [event(start_s + 5, kind="click"), None, event(start_s + 31)])
    engine = here.engine(TO_THE_END, *on_spark(tmp_path / "checkpoint"))
    engine.ends(deadline_s=DEADLINE_S)
    assert here.wrong_keys(here.judged()) == ""
    summary = engine.summary
    assert summary["events"] == 23
    assert summary["rejected"] == {"not_json": 1, "tombstone": 1}
    assert (summary["verdicts"], summary["flagged"]) == (3, 1)
