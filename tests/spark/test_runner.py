"""`runner=spark` from a real Kafka to a real Valkey, as a process: the keys are the model's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ALICE, PASSWORD
from tests.end_to_end.logs import IP, burst, event, window_ago
from tests.end_to_end.rig import TO_THE_END, Rig
from tests.naive_config import ModelConfig, ModelRule
from tests.services.acl import DESCRIBE, READ, TOPIC, allow
from tests.services.valkey import ValkeyServer

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


OWN_RULES = """
rules:
  - {name: busy, description: A rule., when: events > 10, ttl_s: 1000}
  - {name: busy_minute, description: A rule., when: clicks > 25, window_s: 60, slide_s: 20}
  - {name: watched, description: A rule., when: categories >= 3, mode: shadow}
"""
OWN = ModelConfig(
    rules=(
        ModelRule("busy", "events > 10", 1000),
        ModelRule("busy_minute", "clicks > 25", window_s=60, slide_s=20),
        ModelRule("watched", "categories >= 3", mode="shadow"),
    )
)
ALLOWED = "203.0.113.7"


def test_a_config_with_all_that_it_may_say_is_heeded(
    rig: Callable[..., Rig], new_valkey: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text(OWN_RULES)
    server = new_valkey(
        arguments=("--requirepass", PASSWORD), client_settings={"password": PASSWORD}
    )
    here = rig(1, valkey=server)
    start_s = window_ago(120)
    here.produce(0, burst(start_s, n=12) + burst(start_s + 20, n=14))
    here.produce(0, [*burst(start_s + 20, ALLOWED), event(start_s + 40, "192.0.2.9")])
    allow(here.kafka, ALICE, here.topic, [(TOPIC, READ), (TOPIC, DESCRIBE)])
    sasl = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    login = {"sasl.username": ALICE, "sasl.password": "${oc.env:KAFKA_PASSWORD}"}
    engine = here.engine(
        TO_THE_END,
        *on_spark(tmp_path / "checkpoint"),
        f"source.bootstrap_servers={here.kafka.sasl_bootstrap}",
        *[f"source.kafka.{name}='{value}'" for name, value in {**sasl, **login}.items()],
        f"rules.path={tmp_path / 'rules.yaml'}",
        f"allow.cidrs=[{ALLOWED}/32]",
        REDIS_PASSWORD=PASSWORD,
        KAFKA_PASSWORD=PASSWORD,
    )
    engine.ends(deadline_s=DEADLINE_S)
    expected = here.judged(OWN)
    assert expected.decisions.pop(ALLOWED)
    assert expected.shadows.pop(ALLOWED)
    assert here.wrong_keys(expected) == ""
    assert engine.summary["suppressed_allowlisted"] > 0


def forget_last_batch(commits: Path) -> None:
    """Leave the checkpoint as a kill between the last write and its commit does."""
    last = max(int(path.name) for path in commits.glob("[0-9]*"))
    for name in (f"{last}", f".{last}.crc"):
        (commits / name).unlink()


def test_a_batch_that_is_repeated_writes_the_same_and_closed_windows_stay(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, checkpoint = rig(1), tmp_path / "checkpoint"
    start_s = window_ago(200)
    here.produce(0, [*burst(start_s), event(start_s + 31)])
    here.engine(TO_THE_END, *on_spark(checkpoint)).ends(deadline_s=DEADLINE_S)
    expected = here.judged()
    assert here.wrong_keys(expected) == ""
    with here.client() as client:
        client.delete(f"stat_{IP}")  # what the last batch has written
    forget_last_batch(checkpoint / "query" / "commits")
    here.engine(TO_THE_END, *on_spark(checkpoint)).ends(deadline_s=DEADLINE_S)
    assert here.wrong_keys(expected) == ""
    here.produce(0, [event(start_s + 32), event(start_s + 90)])  # the first one's window is closed
    engine = here.engine(TO_THE_END, *on_spark(checkpoint))
    engine.ends(deadline_s=DEADLINE_S)
    assert engine.summary["late"] == 1
    value = here.get(f"stat_{IP}")
    assert value is not None
    assert f'"window_start":{start_s + 90}'.encode() in value
    refused = here.engine(TO_THE_END, *on_spark(checkpoint), "window.length_s=20")
    assert refused.ends(78, deadline_s=DEADLINE_S) == (
        "botsieve: spark.checkpoint: the checkpoint was made for windows 10/10 delay 10, and the "
        "config says 20/20 delay 10; go back, or begin anew with another folder"
    )


def test_a_password_that_redis_refuses_ends_the_run_as_it_ends_the_local_engine(
    rig: Callable[..., Rig], new_valkey: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    here = rig(1, valkey=new_valkey(arguments=("--requirepass", PASSWORD)))
    start_s = window_ago(100)
    here.produce(0, [*burst(start_s), event(start_s + 31)])
    engine = here.engine(TO_THE_END, *on_spark(tmp_path / "checkpoint"), REDIS_PASSWORD="wrong")
    assert engine.ends(77, deadline_s=DEADLINE_S).startswith("botsieve: sink.url: Redis refuses us")


def test_a_live_run_that_is_killed_goes_on_from_its_checkpoint_and_ends_at_sigterm(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here = rig(2)
    live = [*on_spark(tmp_path / "checkpoint"), "batch.interval_s=0.1"]
    start_s = window_ago(100)
    here.produce(0, [*burst(start_s), event(start_s + 15, "192.0.2.8"), event(start_s + 31)])
    killed = here.engine(*live)
    here.wait_for_key(f"bot_{IP}")
    killed.kill()
    here.produce(1, burst(start_s + 20, "192.0.2.7"))
    here.produce(1, [event(start_s + 60, "192.0.2.10")])
    engine = here.engine(*live)
    here.wait_for_key("bot_192.0.2.7")
    here.wait_until(lambda: here.get("stat_192.0.2.7") is not None, "statistics")
    engine.terminate()
    engine.ends(deadline_s=DEADLINE_S)
    here.engine(TO_THE_END, *live).ends(deadline_s=DEADLINE_S)
    assert here.wrong_keys(here.judged()) == ""
