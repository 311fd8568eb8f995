"""Redis other than plain keys: sets, a hash, shadow keys; and bans that nothing shortens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.judged import is_off
from tests.end_to_end.logs import FAST_RULES, IP, SEED, event, window_ago
from tests.end_to_end.redis_view import held_fields, held_keys, values_of
from tests.end_to_end.rig import TO_THE_END, Rig
from tests.naive_config import ModelConfig, ModelRule
from tests.services.monitor import MonitorRecorder
from tests.services.valkey import ValkeyServer

OTHER = "2001:db8::1"
MEMBER = "ip: {ip}, event rate: {events}, clickRate: {clicks}, viewRate: {views}, "
MEMBER += "categories: {categories}"
SHADOWED_YAML = """
rules:
  - {name: event_rate, description: Too many., when: events > 10}
  - {name: watched, description: A trial., when: clicks > 3, ttl_s: 60, mode: shadow}
  - {name: unused, description: None., when: events > 0, mode: "off"}
"""
SHADOWED = (
    FAST_RULES[0],
    ModelRule("watched", "clicks > 3", ttl_s=60, mode="shadow"),
    ModelRule("unused", "events > 0", mode="off"),
)


def traffic(start_s: int) -> list[bytes]:
    """Return three windows of two addresses; the first one is a bot in the first two."""
    busy = [event(start_s + n // 2, IP, kind="click", category=n // 2) for n in range(36)]
    calm = [event(start_s + n, OTHER) for n in range(0, 30, 7)]
    return [*busy, *calm, event(start_s + 29, IP)]


def test_layout_sets_collects_final_verdicts_and_expires_with_the_last(
    rig: Callable[..., Rig],
) -> None:
    here = rig()
    start_s = window_ago(60)
    here.produce(0, traffic(start_s))
    with MonitorRecorder(here.valkey.url) as recorder:
        here.engine(TO_THE_END, "sink.layout=sets", "rules=seed").ends()
    verdicts = here.judged(SEED).verdicts
    members = {
        window: MEMBER.format(ip=window[2], **verdict.counts).encode()
        for window, verdict in verdicts.items()
    }
    flagged = {members[window] for window, verdict in verdicts.items() if verdict.reasons}
    with here.client() as client:
        assert client.smembers("statistics") == set(members.values())
        assert client.smembers("bots") == flagged
        assert client.expiretime("statistics") == start_s + 30 + 600
        assert client.expiretime("bots") == start_s + 20 + 600
        assert client.dbsize() == 2
    added = [command.args for command in recorder.commands if command.args[0] == b"SADD"]
    assert len(added) == len(verdicts) + len(flagged)


def test_layout_hash_has_one_hash_whose_fields_expire_one_by_one(rig: Callable[..., Rig]) -> None:
    here = rig()
    here.produce(0, traffic(window_ago(60)))
    here.engine(TO_THE_END, "sink.layout=hash", "rules=seed").ends()
    expected = here.judged(SEED)
    decided = {ip: value for ip, (value, _) in expected.decisions.items()}
    with here.client() as client:
        fields = held_fields(client, "bots")
        assert values_of(fields) == decided
        assert not any(is_off(fields[ip].expiry_s - expected.decisions[ip][1]) for ip in fields)
        assert values_of(held_keys(client, "stat_")) == expected.statistics
        assert client.dbsize() == 1 + len(expected.statistics)


def test_layout_hash_on_a_server_without_hsetex_is_refused_in_one_line(
    rig: Callable[..., Rig],
    new_valkey: Callable[..., ValkeyServer],
    new_engine: Callable[..., EngineProcess],
) -> None:
    here = rig()
    here.produce(0, traffic(window_ago(60)))
    old = new_valkey(arguments=("--rename-command", "HSETEX", ""))
    engine = here.engine(TO_THE_END, "sink.layout=hash", f"sink.url={old.url}")
    line = engine.ends(78)
    assert line.startswith("botsieve: sink.layout: 'hash' needs Valkey 9 or Redis 8")


def test_shadow_rules_write_shadow_keys_and_never_a_decision(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here = rig()
    here.produce(0, traffic(window_ago(60)))
    path = tmp_path / "rules.yaml"
    path.write_text(SHADOWED_YAML)
    here.engine(TO_THE_END, f"rules.path={path}").ends()
    expected = here.judged(ModelConfig(rules=SHADOWED))
    assert expected.shadows.keys() == expected.decisions.keys() == {IP}
    assert here.wrong_keys(expected) == ""


def test_a_decision_never_shortens_a_ban_and_replaces_a_shorter_one(
    rig: Callable[..., Rig],
) -> None:
    here = rig()
    start_s = window_ago(60)
    for ip in (IP, OTHER):
        here.produce(0, [event(start_s + n % 10, ip, category=max(n, 2)) for n in range(15)])
    with here.client() as client:
        client.set(f"bot_{IP}", "by an operator", ex=5_000)
        client.set(f"bot_{OTHER}", "by an operator", ex=50)
        banned_until_s = client.expiretime(f"bot_{IP}")
        here.engine(TO_THE_END).ends()
        decision, expiry_s = here.judged().decisions[OTHER]
        assert client.get(f"bot_{IP}") == b"by an operator"
        assert client.expiretime(f"bot_{IP}") == banned_until_s
        assert client.get(f"bot_{OTHER}") == decision
        assert not is_off(held_keys(client, "bot_")[OTHER].expiry_s - expiry_s)
