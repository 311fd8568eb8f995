"""task=rekey between real topics: each record once, under its address, in an order that holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable

import pytest

from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import burst, event, log_in, window_ago
from tests.end_to_end.rig import OFTEN, SHORT_SESSION, TO_THE_END, Rig
from tests.faults.engines import KILLED
from tests.naive_config import ModelConfig
from tests.naive_events import Event, parse_event

REKEY, SMALL = "task=rekey", ("batch.max_events=40", "rekey.interval_s=0.01")
CONFIG = 78
N_SOURCE, N_TARGET, N_WINDOWS, N_PEOPLE = 3, 4, 6, 20


def fill(here: Rig, start_s: int) -> None:
    """Produce bots of whom each partition has a part, people, and what is no event."""
    for p in range(N_SOURCE):
        acts: list[bytes | None] = [None, b"no event"]
        for k in range(N_WINDOWS):
            begin_s = start_s + 10 * k
            people = [(begin_s + i % 10, f"2001:db8::{i:x}", i) for i in range(N_PEOPLE)]
            acts += [event(time_s, ip, category=n) for time_s, ip, n in people]
            acts += burst(begin_s, f"192.0.2.{k}", n=5)
        here.produce(p, acts)


def copied(here: Rig, target: str, *overrides: str, **env: str) -> EngineProcess:
    """Start a copy to the end of the topic."""
    words = (REKEY, f"rekey.topic={target}", *SMALL, TO_THE_END, *overrides)
    return here.engine(*words, **env)


def wrong_copies(here: Rig, target: str) -> list[str]:
    """Return what of the copy is not as it should be."""
    source, copies = here.kafka.records(here.topic), here.kafka.records(target)
    found = []
    of = {
        name: Counter((m.value(), m.timestamp()[1]) for m in log)
        for name, log in (("source", source), ("copy", copies))
    }
    if of["source"] != of["copy"]:
        found.append(f"missing {of['source'] - of['copy']}, too many {of['copy'] - of['source']}")
    partitions = defaultdict(set)
    for message in copies:
        said = parse_event(message.value(), message.timestamp()[1], ModelConfig())
        key = said.ip.encode() if isinstance(said, Event) else None
        if message.key() != key:
            found.append(f"key {message.key()} of {message.value()}")
        partitions[key].add(message.partition())
    return found + [str(key) for key, where in partitions.items() if key and len(where) > 1]


@pytest.mark.parametrize(("place", "drain"), [("produced", "auto"), ("rekeyed", "plain")])
def test_killed_again_and_again_each_record_is_copied_once(
    place: str, drain: str, rig: Callable[..., Rig], topic: Callable[[], str]
) -> None:
    here, start_s = rig(N_SOURCE), window_ago(120)
    target = here.kafka.create_topic(topic(), N_TARGET)
    fill(here, start_s)
    for nth in (1, 3):
        env = {"ENGINE_TESTING": "1", "ENGINE_FAILPOINT": f"{place}:{nth}:kill"}
        copy = copied(here, target, f"source.drain={drain}", **env)
        copy.process.wait(60)
        assert copy.process.returncode == KILLED, copy.output
    copy = copied(here, target, f"source.drain={drain}")
    assert f"to '{target}' in " in copy.ends()
    assert "one by one" not in copy.stderr
    assert wrong_copies(here, target) == []
    keyed = Rig(here.kafka, here.valkey, target, here.new_engine)
    words = ("source.keyed=true", OFTEN, TO_THE_END, *SHORT_SESSION)
    engines = [keyed.engine(*words, f"source.instance_id={name}") for name in "ab"]
    for engine in engines:
        engine.ends()
    assert keyed.wrong_keys(here.judged()) == ""
    assert here.judged().decisions


def test_it_goes_on_until_it_is_ended_and_commits_what_it_has_copied(
    rig: Callable[..., Rig], topic: Callable[[], str]
) -> None:
    here, start_s = rig(N_SOURCE), window_ago(120)
    target = here.kafka.create_topic(topic(), N_TARGET)
    copy = here.engine(REKEY, f"rekey.topic={target}", "source.instance_id=one")
    fill(here, start_s)
    here.wait_for_commit(n_open=0)
    fill(here, start_s + 70)
    here.wait_for_commit(n_open=0)
    copy.terminate()
    copy.ends()
    assert wrong_copies(here, target) == []
    n = len(log_in(here.kafka, here.topic))
    assert copy.summary["events"] == n - 4 * N_SOURCE


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), "rekey.topic: task=rekey needs a topic to copy to; give one"),
        (
            ("rekey.topic=bot-logs",),
            "rekey.topic: 'bot-logs' is refused; allowed: another topic than source.topic",
        ),
        (("source=file",), "task: 'rekey' is refused; allowed: only with source=kafka"),
    ],
)
def test_what_cannot_be_copied_is_refused(
    words: tuple[str, ...], wanted: str, new_engine: Callable[..., EngineProcess]
) -> None:
    assert new_engine(REKEY, *words).ends(CONFIG).startswith(f"botsieve: {wanted}")
