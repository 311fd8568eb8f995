"""The rights that SECURITY.md prints are those that the engine needs, no more and no less."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable

import pytest
import redis

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import IP, burst, event, window_ago
from tests.end_to_end.rig import TO_THE_END, Rig
from tests.services.kafka import ROOT
from tests.services.monitor import Command, MonitorRecorder

LAYOUTS = ["keys", "hash", "sets"]
OTHER, PASSWORD = "192.0.2.2", "correct-horse"
WITH_SUBCOMMANDS = {"client", "cluster", "script"}
SECURITY = (ROOT / "SECURITY.md").read_text()
SETUSER = dict(re.findall(r"^# (.+)\n(ACL SETUSER .+)$", SECURITY, re.MULTILINE))
"""Heading -> the command below it."""


def words_of(heading: str) -> list[str]:
    """Return a documented command as words, with our password in it."""
    return shlex.split(SETUSER[heading].replace(">PASSWORD", f">{PASSWORD}"))


def granted(heading: str) -> set[str]:
    """Return the commands that a documented user may send."""
    return {word[1:] for word in words_of(heading) if word.startswith("+")}


def names_of(commands: Iterable[Command]) -> set[str]:
    """Return what was sent, in the words of an ACL."""
    words = [[arg.decode("latin-1").lower() for arg in command.args[:2]] for command in commands]
    return {"|".join(some) if some[0] in WITH_SUBCOMMANDS else some[0] for some in words}


def engine_of(here: Rig, layout: str, run: str, *overrides: str) -> EngineProcess:
    """Run an engine over the whole log, with rules of all kinds."""
    watched = "{name: watched, description: Trial, when: 'clicks > 3', mode: shadow}"
    many = "{name: many, description: Many, when: 'events > 10'}"
    told = [f"sink.layout={layout}", f"rules.rules=[{many},{watched}]"]
    engine = here.engine(TO_THE_END, f"source.group_id={run}", *told, *overrides,
                         REDIS_PASSWORD=PASSWORD if "as" in run else "")  # fmt: skip
    engine.ends()
    return engine


def banned_by_an_operator(client: redis.Redis, ip: str) -> None:
    """Let a decision be there that outlasts ours, so that the scripts have to compare."""
    client.set(f"bot_{ip}", "by an operator")
    client.hset("bots", ip, "by an operator")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_r8_the_documented_rights_are_exactly_what_the_engine_sends(
    layout: str, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(), window_ago(60)
    here.produce(0, [*burst(start_s, OTHER), *burst(start_s), event(start_s + 10, OTHER)])
    with here.client() as client:
        if layout != "sets":
            banned_by_an_operator(client, OTHER)
        with MonitorRecorder(here.valkey.url) as recorder:
            engine_of(here, layout, "first")
        sent = names_of(recorder.commands) - {"echo"}  # the recorder's own
        assert sent == granted(f"sink.layout={layout}")

        client.flushall()
        client.execute_command(*words_of(f"sink.layout={layout}"))
        as_user = ["sink.username=botsieve", f"allow.cidrs=[{OTHER}]"]
        engine = engine_of(here, layout, "as-user", *as_user)
        assert (
            "INFO allow: whom Redis holds as flagged already is not looked for: " in engine.stderr
        )
        assert engine.summary["suppressed_allowlisted"] == 1
        decisions = [b"bot_192.0.2.1"] if layout == "keys" else [b"bots"]
        assert sorted(client.scan_iter("bot*")) == decisions

        client.execute_command("ACL", "SETUSER", "botsieve", look_of(layout))
        later = engine_of(here, layout, "as-user-again", "sink.username=botsieve",
                          f"allow.cidrs=[{IP}]")  # fmt: skip
        assert f"that hold a decision already: 1, such as {IP};" in later.stderr


def look_of(layout: str) -> str:
    """Return the right that SECURITY.md names for the look at flags that are there."""
    found = re.search(rf"`(\+\w*scan)` \(`{layout}`\)", SECURITY)
    assert found is not None, layout
    return found[1]


def test_r8_a_reader_may_look_at_decisions_and_nothing_else(rig: Callable[..., Rig]) -> None:
    here = rig()
    with here.client() as client:
        client.execute_command(*words_of("whoever enforces"))
        client.set(f"bot_{IP}", "1", ex=60)
        client.set(f"stat_{IP}", "1")
    with here.valkey.client(username="proxy", password=PASSWORD) as reader:
        assert (reader.exists(f"bot_{IP}"), reader.get(f"bot_{IP}")) == (1, b"1")
        assert 0 < reader.ttl(f"bot_{IP}") <= 60
        for refused in (
            lambda: reader.get(f"stat_{IP}"),
            lambda: reader.set(f"bot_{OTHER}", "1"),
            lambda: reader.delete(f"bot_{IP}"),
            reader.keys,
            reader.flushall,
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                refused()
