"""The allowlist on real services: no decision for whom it allows, not for a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import IP, burst, window_ago
from tests.end_to_end.rig import OFTEN, TO_THE_END, Rig
from tests.services.monitor import Command, MonitorRecorder

NEIGHBOUR, V6 = "192.0.2.2", "2001:db8::7"
STATISTICS = {"keys": "stat_", "hash": "stat_", "sets": "statistics"}
RULES = """
rules:
  - {name: event_rate, description: Too many., when: events > 10}
  - {name: at_the_close, description: Not monotone., when: "clicks / max(views, 1) > 3"}
  - {name: watched, description: A trial., when: clicks > 3, mode: shadow}
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    """The override for rules of every kind: early, at the close, and watched."""
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return f"rules.path={path}"


def writes_about(ip: str, commands: list[Command]) -> set[bytes]:
    """Return the keys, of any layout, that a command ever named together with this address."""
    name = ip.encode()
    return {
        part.replace(name, b"<ip>")
        for command in commands
        if any(name in arg for arg in command.args)
        for part in command.args[1:]
        if part.startswith((b"bot", b"stat", b"shadow"))
    }


@pytest.mark.parametrize("layout", ["keys", "hash", "sets"])
def test_allowed_address_never_has_a_decision_while_its_neighbour_has(
    layout: str, rules: str, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(), window_ago(60)
    for ip in (IP, NEIGHBOUR, V6):
        here.produce(0, burst(start_s, ip))
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(
            TO_THE_END,
            rules,
            f"sink.layout={layout}",
            f"allow.cidrs=[::ffff:{IP}/128,2001:db8::/64]",
        )
        engine.ends()
    statistics = STATISTICS[layout].encode() + b"<ip>" * (layout != "sets")
    for ip in (IP, V6):
        assert writes_about(ip, recorder.commands) == {statistics}
    decisions = {"keys": {b"bot_<ip>", b"shadow_<ip>"}}.get(layout, {b"bots", b"shadow_bots"})
    assert writes_about(NEIGHBOUR, recorder.commands) == {statistics} | decisions
    summary = engine.summary
    assert (summary["verdicts"], summary["flagged"], summary["addresses_flagged"]) == (3, 1, 1)
    assert summary["suppressed_allowlisted"] == 2
    assert "2 verdicts without a decision" in engine.stderr


def replaced(path: Path, text: str) -> None:
    """Put another file in its place in one step."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_list_is_read_again_without_a_restart_and_a_bad_one_is_refused(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, start_s = rig(), window_ago(120)
    path = tmp_path / "allow.txt"
    path.write_text(f"{IP}  # the office\n")
    engine = here.engine(OFTEN, f"allow.path={path}")

    def decided(number: int, *, bot: str, allowed: str) -> None:
        """Let both be busy in a window; the one gets a decision at once, the other none."""
        here.produce(
            0, [*burst(start_s + number * 10, allowed), *burst(start_s + number * 10, bot)]
        )
        window = f'"window_start":{start_s + number * 10},'.encode()
        here.wait_until(lambda: window in (here.get(f"bot_{bot}") or b""), f"bot_{bot}")
        assert window not in (here.get(f"bot_{allowed}") or b"")

    decided(0, bot=NEIGHBOUR, allowed=IP)
    replaced(path, f"{NEIGHBOUR}/32\n")
    engine.wait_for(f"allow.path: '{path}' is read again")
    engine.wait_for(f"that hold a decision already: 1, such as {NEIGHBOUR}; each")
    decided(1, bot=IP, allowed=NEIGHBOUR)
    replaced(path, f"{IP}\nnobody\n")
    engine.wait_for(f"allow.path: '{path}' line 2: 'nobody' is refused")
    decided(2, bot=IP, allowed=NEIGHBOUR)
    path.unlink()
    engine.wait_for(f"allow.path: '{path}' cannot be read")
    here.close_windows(start_s + 200)
    here.wait_for_commit(n_open=1)
    assert f'"window_start":{start_s},'.encode() in (here.get(f"bot_{NEIGHBOUR}") or b"")
    engine.terminate()
    engine.ends()
    assert engine.summary["suppressed_allowlisted"] == 3  # each window closed under the new list
    assert engine.stderr.count("the list read before stays") == 2


@pytest.mark.parametrize("layout", ["keys", "hash", "sets"])
def test_flags_that_are_there_at_the_start_are_told_and_left(
    layout: str, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(), window_ago(60)
    here.produce(0, [row for n in range(1, 9) for row in burst(start_s, f"192.0.2.{n}")])
    there = [TO_THE_END, f"sink.layout={layout}"]
    here.engine(*there).ends()
    with here.client() as client:
        before = {key: client.dump(key) for key in client.scan_iter("bot*")}
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(*there, "allow.cidrs=[192.0.2.0/29]", "allow.named=[loopback]")
        engine.ends()
    assert (
        "WARNING allow: allowed addresses that hold a decision already: 7, such as 192.0.2.1, "
        "192.0.2.2, 192.0.2.3, 192.0.2.4, 192.0.2.5; each stays" in engine.stderr
    )
    with here.client() as client:
        assert {key: client.dump(key) for key in client.scan_iter("bot*")} == before
    assert not [command for command in recorder.commands if command.args[0].upper() == b"KEYS"]


def test_f1_bad_list_is_refused_before_anything_is_connected(
    new_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    path = tmp_path / "allow.txt"
    path.write_text("10.0.0.0/8\n10.0.0.1/8\n")
    nowhere = ["sink.url=redis://127.0.0.1:9", "source.bootstrap_servers=127.0.0.1:9"]
    engine = new_engine(*nowhere, f"allow.path={path}")
    assert engine.ends(78) == (
        f"botsieve: allow.path: '{path}' line 2: '10.0.0.1/8' is refused; allowed: an address, or "
        "a CIDR without host bits"
    )
    assert engine.output.count("\n") == 1
