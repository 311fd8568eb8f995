"""Rows C again, with rules over windows of their own: a minute is open while many others close."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.end_to_end.logs import event, window_ago
from tests.end_to_end.rig import OFTEN, Rig
from tests.faults.engines import SMALL, killed_at
from tests.faults.standard import finished, what_is_wrong
from tests.naive_config import ModelConfig, ModelRule
from tests.services.monitor import MonitorRecorder

RULES = (
    ModelRule("busy", "events > 10"),
    ModelRule("slow", "events > 15", window_s=60),
    ModelRule("clicker", "clicks >= 12 and views == 0", ttl_s=900, window_s=30, slide_s=10),
    ModelRule("watched", "events > 4", ttl_s=700, mode="shadow", window_s=60),
)
SPAN_S = 120


def rules_file(folder: Path) -> str:
    """Write the rules as a user does; return the override that names the file."""
    path = folder / "rules.yaml"
    described = [{"description": "A rule.", **vars(rule)} for rule in RULES]
    path.write_text(yaml.safe_dump({"rules": described}))
    return f"rules.path={path}"


def traffic(start_s: int) -> list[bytes]:
    """Return two minutes of people, and a bot of each rule: one alone is too fast for 10 s."""
    found = []
    for s in range(start_s, start_s + SPAN_S):
        found.append(event(s, f"203.0.113.{s % 40}", category=s % 7))
        found += [event(s, "192.0.2.1")] if s % 6 == 0 else []
        found += [event(s, "192.0.2.2", kind="click")] if s % 4 == 0 else []
        found += [event(s, "192.0.2.3", category=s)] if 60 <= s - start_s < 80 else []
    return found


@pytest.mark.parametrize("failpoint", ["counted:9", "decisions:6", "statistics:4", "commit:6"])
def test_c2_c3_c5_killed_with_several_kinds_of_windows_open(
    failpoint: str, rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, start_s, rules = rig(2), window_ago(240), rules_file(tmp_path)
    for partition in (0, 1):
        here.produce(partition, traffic(start_s))
    with MonitorRecorder(here.valkey.url) as recorder:
        killed_at(here, failpoint, OFTEN, SMALL, rules)
        engine = finished(here, close_s=start_s + 300, engine=here.engine(OFTEN, rules))
    judgement = here.judged(ModelConfig(rules=RULES))
    reasons = {name for found in judgement.flagged.values() for name in found}
    assert reasons == {"busy", "slow", "clicker"}
    assert "windows: 10/10+60/60+30/10; a restart reads 70 s again" in engine.stderr
    assert what_is_wrong(here, recorder.commands, config=ModelConfig(rules=RULES)) == ""
