"""A run that records its history: after a crash nothing is missing and every decision holds."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from pathlib import Path
from random import Random

import polars as pl
import pytest
from confluent_kafka import TopicPartition

from engine.history.tasks import verify
from engine.kafka import chunks
from engine.kafka.history import TopicHistory
from engine.parquet_source import EVENTS, JOURNAL
from engine.rule_windows import rule_set
from engine.settings.compose import compose
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import WINDOW_S, ends_of, event, window_ago
from tests.end_to_end.redis_view import held_keys
from tests.end_to_end.rig import OFTEN, TO_THE_END, Rig
from tests.faults.engines import SMALL, killed_at
from tests.faults.traffic import crowd, windows
from tests.services.valkey import ValkeyServer
from tests.test_verification import tamper

VERIFY = ("task=replay", "replay.verify=true")
DIFFERENT, LOST, UNAVAILABLE, CONFIG = 1, 3, 69, 78
N_PARTITIONS, N_WINDOWS, LATE = 3, 6, "192.0.2.99"
BLOCK = 20


def recording(tmp_path: Path) -> str:
    """Return the override that names the folder."""
    return f"record.path={tmp_path}/record"


def folder(tmp_path: Path) -> Path:
    """Return the folder."""
    return tmp_path / "record"


def produce_shuffled(here: Rig) -> int:
    """Produce windows whose events are shuffled, and late ones behind them; return how many."""
    random, start_s, n = Random(5), window_ago(120), 0
    for partition in range(N_PARTITIONS):
        values = windows(partition, start_s, n=N_WINDOWS)
        for i in range(0, len(values), BLOCK):
            block = values[i : i + BLOCK]
            random.shuffle(block)
            values[i : i + BLOCK] = block
        values += [event(start_s, LATE), event(start_s + (N_WINDOWS - 1) * WINDOW_S)]
        values.insert(len(values) // 2, b"no event")
        here.produce(partition, values)
        n += len(values)
    return n


def recorded_run(here: Rig, tmp_path: Path, failpoint: str) -> EngineProcess:
    """Run to the end of the topic, killed on the way."""
    killed_at(here, failpoint, OFTEN, SMALL, recording(tmp_path))
    engine = here.engine(OFTEN, SMALL, TO_THE_END, recording(tmp_path))
    engine.ends()
    return engine


def verified(here: Rig, tmp_path: Path, *overrides: str, exit_code: int = 0) -> EngineProcess:
    """Verify what was recorded, by the topic where nothing else is said."""
    engine = here.engine(*VERIFY, recording(tmp_path), *overrides)
    engine.ends(exit_code)
    return engine


def by_events(tmp_path: Path) -> tuple[str, str]:
    """Return the overrides that take the recorded events."""
    return "source=file", f"source.path={folder(tmp_path)}"


def file_engine(new_engine: Callable[..., EngineProcess], *overrides: str) -> EngineProcess:
    """Run an engine that knows no Kafka."""
    engine = new_engine(*overrides)
    engine.ends()
    return engine


def recorded(tmp_path: Path, ending: str = EVENTS) -> pl.DataFrame:
    """Return all that was recorded, in the order of names."""
    files = sorted(path for path in folder(tmp_path).iterdir() if path.name.endswith(ending))
    return pl.concat(map(pl.read_parquet, files))


def places(tmp_path: Path) -> set[tuple[int, int]]:
    """Return the places of all recorded events."""
    return set(recorded(tmp_path).select("partition", "offset").iter_rows())


def keys_of(server: ValkeyServer) -> dict[str, bytes]:
    """Return every value by its key."""
    with server.client() as client:
        return {key: held.value for key, held in held_keys(client, "").items()}


@pytest.mark.parametrize(
    "failpoint",
    [
        "recorded:3",
        "commit:2",
        *(pytest.param(one, marks=pytest.mark.soak) for one in ("recorded:1", "counted:9")),
    ],
)
def test_killed_anywhere_all_is_recorded_and_every_decision_is_made_again_as_it_was(
    failpoint: str,
    rig: Callable[..., Rig],
    new_engine: Callable[..., EngineProcess],
    new_valkey: Callable[..., ValkeyServer],
    tmp_path: Path,
) -> None:
    here = rig(N_PARTITIONS)
    n = produce_shuffled(here)
    engine = recorded_run(here, tmp_path, failpoint)
    assert engine.summary["late"] > 0
    wanted = {(p, o) for p, end in ends_of(here.kafka, here.topic).items() for o in range(end)}
    found = places(tmp_path)
    assert len(wanted) == n
    assert len(found) == n - N_PARTITIONS  # the record of each partition that is no event
    assert found < wanted
    assert not list(folder(tmp_path).glob(".*"))
    before, commits = keys_of(here.valkey), here.committed()
    assert any(key.startswith("bot_") for key in before)
    by_topic = verified(here, tmp_path)
    by_file = file_engine(new_engine, *VERIFY, recording(tmp_path), *by_events(tmp_path))
    n_events = f"{len(recorded(tmp_path)):,} events"
    for verifier in (by_topic, by_file):
        last = verifier.output.splitlines()[0]
        assert last.startswith("verified: ")
        assert n_events in last
        assert last.endswith(" verdicts: 0 differences")
    assert (keys_of(here.valkey), here.committed()) == (before, commits)
    other = new_valkey()
    file_engine(new_engine, *by_events(tmp_path), f"sink.url={other.url}", "ttl.clock=event")
    assert keys_of(other) == before


def test_changed_threshold_and_tampered_row_are_found(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here = rig(N_PARTITIONS)
    produce_shuffled(here)
    recorded_run(here, tmp_path, "recorded:2")
    changed = verified(here, tmp_path, "rules.limits.events=5", exit_code=DIFFERENT)
    lines = changed.output.splitlines()
    assert lines[0].startswith("other settings: run ")
    assert re.search(r", offsets [012]: \d+ to \d+", lines[1])
    assert "digest was " in lines[1]
    assert lines[-1].startswith("botsieve: replay.verify: the decisions are not those of ")
    n_batches = len(recorded(tmp_path, JOURNAL).filter(pl.col("kind") == "batch"))
    assert f"verified: {n_batches:,} batches, " in changed.output
    row = recorded(tmp_path, JOURNAL).filter(pl.col("n_verdicts") > 0)["number"][-1]
    tamper(folder(tmp_path), row, digest=1)
    tampered = verified(here, tmp_path, exit_code=DIFFERENT)
    assert "digest was 0000000000000001, is " in tampered.output


def test_records_that_are_gone_are_told_and_the_recorded_events_still_serve(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here = rig(N_PARTITIONS)
    produce_shuffled(here)
    here.engine(TO_THE_END, recording(tmp_path)).ends()
    gone = TopicPartition(here.topic, 1, 25)
    here.kafka.admin.delete_records([gone])[gone].result()
    line = verified(here, tmp_path, exit_code=LOST).stderr
    assert "partition 1 begins at offset 25" in line
    engine = here.new_engine(*VERIFY, recording(tmp_path), *by_events(tmp_path))
    engine.ends()
    assert engine.output.splitlines()[0].endswith(": 0 differences")


@pytest.mark.parametrize("drain", ["auto", "plain"])
def test_partitions_that_are_read_ahead_wait_for_those_that_are_behind(
    drain: str,
    rig: Callable[..., Rig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here, start_s = rig(2), window_ago(100)
    for partition, n in ((0, 30_000), (1, 8_000)):
        here.produce(partition, crowd(start_s, n=n))
    here.engine(TO_THE_END, "batch.max_events=3000", recording(tmp_path)).ends()
    changes = set()
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 4_000)
    monkeypatch.setattr(TopicHistory, "_let_run", noting(changes, TopicHistory._let_run))
    argv = ["rules=fast", *here.overrides(), *VERIFY, recording(tmp_path), f"source.drain={drain}"]
    conf = compose(argv, environ={})
    verify(conf, rule_set(conf))
    assert ", 38,000 events, 30,000 verdicts: 0 differences" in capsys.readouterr().out
    assert {frozenset({0}), frozenset({1})} & changes


def noting(changes: set[frozenset[int]], step: Callable[..., None]) -> Callable[..., None]:
    """Return the step, and note which partitions are paused behind it."""

    def noted(history: TopicHistory, missing: set[int]) -> None:
        step(history, missing)
        changes.add(frozenset(history._paused))

    return noted


def test_run_that_is_ended_records_all_that_it_has_counted_before_it_commits(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, start_s = rig(2), window_ago(100)
    engine = here.engine("batch.interval_s=1000", recording(tmp_path))
    for partition in (0, 1):
        here.produce(partition, [*crowd(start_s, n=2_000), event(start_s + 50)])
    here.wait_for_key("stat_10.0.7.1")
    assert not list(folder(tmp_path).glob("*.parquet"))
    engine.terminate()
    engine.ends()
    assert here.committed() == {0: 2_000, 1: 2_000}
    assert len(places(tmp_path)) == 4_002
    assert verified(here, tmp_path).output.splitlines()[0].endswith(": 0 differences")


def test_disk_that_fills_up_ends_the_run_in_one_line_and_nothing_behind_is_committed(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here, start_s = rig(), window_ago(100)
    engine = here.engine(OFTEN, recording(tmp_path))
    here.produce(0, [event(start_s)])
    here.wait_until(lambda: list(folder(tmp_path).glob(f"*{EVENTS}")), "a file with an event")
    resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (16_384, 16_384))
    here.produce(0, crowd(start_s, n=20_000))
    here.close_windows(start_s + 100)
    line = engine.ends(UNAVAILABLE)
    assert line.startswith(f"botsieve: record.path: '{folder(tmp_path)}' takes no more: ")
    (committed,) = here.committed().values()
    assert committed == 0
    here.engine(TO_THE_END, recording(tmp_path)).ends()
    assert len(places(tmp_path)) == 20_002


def test_folder_that_cannot_be_written_is_refused_before_anything_is_connected(
    rig: Callable[..., Rig], tmp_path: Path
) -> None:
    here = rig()
    folder(tmp_path).write_bytes(b"")
    line = here.engine(recording(tmp_path), "source.bootstrap_servers=nowhere:1").ends(CONFIG)
    assert line.startswith(f"botsieve: record.path: '{folder(tmp_path)}' cannot be written: ")
