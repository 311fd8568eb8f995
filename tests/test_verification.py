"""Decisions made again from a journal are those of the day; what was changed since is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.journal import BATCH, JOURNAL_SCHEMA, settings_of
from engine.errors import UnavailableError
from engine.history.verification import Verification
from engine.kafka import chunks
from engine.kafka.chunks import Index, chunks_of, last_offsets
from engine.metrics import Metrics
from engine.record import JOURNAL, Recorder
from engine.recorded import journal_entries, recorded_pairs
from engine.state import State
from tests import logs
from tests.doubles import SEED, Poll, Rebalance, Run, options_of, rule_set, window_spec
from tests.naive_config import ModelConfig, ModelRule
from tests.test_restart import as_read_back, burst, rows_from

CONFIG = ModelConfig(rules=(ModelRule("many", "events > 3"), ModelRule("quiet", "events < 2")))
OTHER = ModelConfig(rules=(ModelRule("many", "events > 2"), ModelRule("quiet", "events < 2")))


def recorder(folder: Path, config: ModelConfig = CONFIG, run_id: str = "a") -> Recorder:
    """Return a recorder that closes a file whenever something is acknowledged."""
    return Recorder(
        str(folder),
        run_id=run_id,
        rules_sha8=rule_set(config).sha8,
        windows=settings_of(window_spec(config)),
        interval_s=0.0,
    )


def verified(
    folder: Path, config: ModelConfig = CONFIG, said: list[str] | None = None
) -> Verification:
    """Verify a folder with the rules of a config, by tables that are placed in another way."""
    spec, rules = window_spec(config), rule_set(config)
    state = State(
        options_of(config),
        spec,
        rules,
        seed=SEED + 1,
        metrics=Metrics(),
        accept_state_change=True,
    )
    told: list[str] = [] if said is None else said
    found = Verification(state, settings=(rules.sha8, settings_of(spec)), say=told.append)
    found.verify(recorded_pairs(str(folder), str(folder)))
    return found


@settings(max_examples=40)
@given(st.data())
def test_runs_that_crash_and_are_assigned_anew_decide_again_as_they_did(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("record")
    config, rows = data.draw(logs.configs()), data.draw(logs.logs())
    random = data.draw(st.randoms(use_true_random=False))
    n_partitions, committed, n_events = logs.n_partitions(rows), {}, 0
    idle = st.frozensets(st.integers(0, n_partitions - 1))
    clock_s = st.sampled_from([None, 900.0, 1_050.0, 1e9])
    for n in range(data.draw(st.integers(1, 3), label="runs")):
        ahead = logs.interleaved(rows_from(rows, committed), random)
        polls: list[Any] = [
            Poll(poll, data.draw(idle), data.draw(clock_s))
            for poll in data.draw(logs.splits(ahead))
        ]
        polls.insert(data.draw(st.integers(0, len(polls))), Rebalance(committed))
        kept = recorder(folder, config, run_id=str(n))
        ends = data.draw(st.booleans())
        run = Run(
            polls,
            config,
            n_partitions=n_partitions,
            committed=committed,
            ends=ends,
            record=kept,
        )
        n_events += run.metrics.events
        committed = as_read_back(run.commits[-1].committed)
    found = verified(folder, config)
    assert (found.n_differences, found.differences, found.n_skipped) == (0, [], 0)
    assert found.n_events == n_events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recorded folder: two files of one run, with an early and two late decisions."""
    polls = [burst(1_000, 5), burst(1_010, 1, offset=5), burst(1_030, 5, offset=6)]
    run = Run(
        [*polls, burst(1_000, 1, offset=11)], CONFIG, n_partitions=1, record=recorder(tmp_path)
    )
    assert run.metrics.late != {}
    assert len(run.early()) == 2
    return tmp_path


def test_what_is_verified_is_counted(folder):
    lines = list(verified(folder).lines())
    assert lines == ["verified: 5 batches, 12 events, 5 verdicts: 0 differences"]


def test_changed_rule_is_told_first_and_its_decisions_are_differences(folder):
    said: list[str] = []
    found = verified(folder, OTHER, said)
    assert found.n_differences > 0
    was, now = rule_set(CONFIG).sha8, rule_set(OTHER).sha8
    assert said == [
        f"other settings: run a had rules {was} and windows 10/10, delay 10 s; "
        f"now rules {now} and windows 10/10, delay 10 s"
    ]
    assert "row 1, offsets 0: 0 to 4: digest was " in found.differences[0]
    assert "windows now: 1000 to 1010" in found.differences[0]


def tamper(folder: Path, row: int, **changed: Any) -> None:
    """Change a row of the journal, by its number."""
    for path in folder.glob(f"*{JOURNAL}"):
        frame = pl.read_parquet(path)
        columns = {
            name: pl.when(pl.col("number") == row)
            .then(pl.lit(value, JOURNAL_SCHEMA[name]))
            .otherwise(pl.col(name))
            for name, value in changed.items()
        }
        frame.with_columns(**columns).write_parquet(path)


CHANGES = {
    "digest": 1,
    "n_verdicts": 7,
    "n_late": 1,
    "watermark_s": 5,
    "number": 9,
}


@pytest.mark.parametrize("name", CHANGES)
def test_row_that_was_tampered_with_is_found(name, folder):
    tamper(folder, 1, **{name: CHANGES[name]})
    found = verified(folder)
    assert found.n_differences > 0
    assert f"{found.n_differences} difference" in list(found.lines())[-1]


def test_number_of_events_that_was_tampered_with_is_found(folder):
    tamper(folder, 1, n_events=4)
    with pytest.raises(UnavailableError, match=r"source\.path: .* holds 5 events, its journal say"):
        verified(folder)


@pytest.mark.parametrize(("row", "changed"), [(1, {"kind": "assigned"}), (1, {"idle": []})])
def test_row_whose_partitions_are_not_those_of_its_assignment_is_refused(row, changed, folder):
    tamper(folder, row, **changed)
    with pytest.raises(UnavailableError, match=r"^record\.path: run a, row .: its partitions are"):
        verified(folder)


def test_event_of_a_partition_that_was_not_assigned_is_refused(folder):
    path = sorted(folder.glob("*.events.parquet"))[0]
    pl.read_parquet(path).with_columns(partition=pl.lit(7, pl.Int32)).write_parquet(path)
    with pytest.raises(UnavailableError, match=r"^record\.path: run a, row 1: its partitions are"):
        verified(folder)


def test_clock_that_was_tampered_with_is_found(tmp_path):
    polls = [burst(1_000, 5), Poll([], frozenset({0}), 5_000.0)]
    Run(polls, CONFIG, n_partitions=1, ends=False, record=recorder(tmp_path))
    assert verified(tmp_path).n_differences == 0
    tamper(tmp_path, 2, clock_s=10.0)
    assert verified(tmp_path).n_differences > 0


def test_changed_event_is_found(folder):
    path = sorted(folder.glob("*.events.parquet"))[0]
    events = pl.read_parquet(path)
    events.with_columns(high=pl.col("high") + 1).write_parquet(path)
    assert verified(folder).n_differences > 0


def test_rows_that_are_missing_are_told_and_what_follows_is_left_out(folder):
    files = sorted(folder.glob(f"*{JOURNAL}"))
    files[1].unlink()
    found = verified(folder)
    assert (found.n_differences, found.n_batches) == (1, 1)
    assert found.differences == [
        "run a: rows 2 to 2 of the journal are not there; left out up to the next assignment"
    ]
    assert (
        list(found.lines())[-2] == "left out: 3 batches whose assignment the journal does not hold"
    )


def test_rows_that_are_missing_before_an_assignment_are_told(tmp_path):
    first = Run([burst(1_000, 3)], CONFIG, n_partitions=1, ends=False)
    committed = as_read_back(first.commits[-1].committed)
    polls = [burst(1_000, 3), burst(1_000, 2, offset=3), Rebalance(committed), burst(1_000, 5)]
    Run(polls, CONFIG, n_partitions=1, record=recorder(tmp_path))
    sorted(tmp_path.glob(f"*{JOURNAL}"))[1].unlink()
    found = verified(tmp_path)
    assert found.differences == [
        "run a: rows 2 to 2 of the journal are not there; left out up to the next assignment"
    ]
    assert (found.n_differences, found.n_batches, found.n_skipped) == (1, 3, 0)


def test_history_whose_beginning_is_deleted_is_verified_from_the_next_assignment_on(folder):
    Run([burst(1_000, 5)], CONFIG, n_partitions=1, record=recorder(folder, run_id="b"))
    for path in sorted(folder.iterdir())[:2]:
        path.unlink()
    found = verified(folder)
    assert (found.n_differences, found.n_batches, found.n_skipped) == (0, 2, 4)


def test_journal_that_says_nothing_is_refused(tmp_path, folder):
    for path in sorted(folder.iterdir())[:2]:
        path.unlink()
    with pytest.raises(UnavailableError, match="no batch that can be verified"):
        list(verified(folder).lines())


@pytest.mark.parametrize("broken", ["none", "cut", "columns", "checkpoint"])
def test_journal_that_cannot_be_read_is_one_line(broken, folder):
    files = sorted(folder.glob(f"*{JOURNAL}"))
    told = "cannot be read"
    if broken == "none":
        told = "holds no journal"
        for path in files:
            path.unlink()
    if broken == "cut":
        files[0].write_bytes(files[0].read_bytes()[:-9])
    if broken == "columns":
        told = "is no journal of this version"
        pl.read_parquet(files[0]).drop("digest").write_parquet(files[0])
    if broken == "checkpoint":
        told = "no checkpoint: nonsense"
        tamper(folder, 0, checkpoints=["nonsense"])
    with pytest.raises(UnavailableError, match=rf"^record\.path: .*{told}[^\n]*$"):
        verified(folder)


# -- pieces of a journal ---------------------------------------------------------------------------


def test_pieces_begin_with_assignments_and_hold_a_bounded_number_of_records(folder, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 6)
    Run([burst(1_000, 2)], CONFIG, n_partitions=1, record=recorder(folder, run_id="b"))
    entries = list(journal_entries(str(folder)))
    pieces = list(chunks_of(entries))
    assert [entry for piece in pieces for entry in piece] == entries
    assert [[entry.kind == BATCH for entry in piece][0] for piece in pieces] == [
        False,
        True,
        True,
        False,
    ]
    assert [last_offsets(piece) for piece in pieces] == [{0: 5}, {0: 11}, {}, {0: 1}]


def test_pieces_hold_a_bounded_number_of_rows(folder, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 2)
    entries = list(journal_entries(str(folder)))
    assert [len(piece) for piece in chunks_of(entries)] == [2, 2, 2]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), max_size=20), st.data())
def test_index_finds_the_rows_of_a_range(steps, data):
    offsets, rows = dict.fromkeys(range(3), -1), []
    for partition, step in steps:
        offsets[partition] += step
        rows.append((partition, offsets[partition]))
    columns = pl.DataFrame(rows, schema={"p": pl.Int32, "o": pl.Int64}, orient="row")
    index = Index(columns["p"].to_numpy(), columns["o"].to_numpy())
    first = data.draw(st.integers(0, 30))
    last = data.draw(st.integers(first, 40))
    for partition in range(4):
        expected = [i for i, (p, o) in enumerate(rows) if p == partition and first <= o <= last]
        assert index.rows(partition, first, last).tolist() == expected
