"""The recorder: every event in the order of counting, nothing acked before it is in a closed file.

Files are read here by Polars alone, as another program would.
"""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import record as record_module
from engine.batch.decode import EVENT_SCHEMA, NO_EVENTS, decode
from engine.batch.journal import ASSIGNED, BATCH, JOURNAL_SCHEMA, digest_of, runs_of
from engine.batch.verdict import VERDICT_SCHEMA
from engine.errors import ConfigError, UnavailableError
from engine.record import EVENTS, JOURNAL, Recorder
from engine.state import Outcome
from tests import logs, naive
from tests.doubles import Rebalance, Run, options_of, records_of
from tests.naive_config import ModelConfig, ModelRule
from tests.test_restart import as_read_back, burst, rows_from
from tests.test_writer import Bench, outcome, window

HOUR_S = 3600.0
CONFIG = ModelConfig(rules=(ModelRule("many", "events > 3"),))


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return what it shows."""
        return self.now_s


def recorder(folder: Path, *, interval_s: float = HOUR_S, run_id: str = "r") -> Recorder:
    """Return a recorder into a folder, whose clock is an attribute."""
    return Recorder(
        str(folder),
        run_id=run_id,
        rules_sha8="rules",
        windows="10/10",
        interval_s=interval_s,
        clock=Clock(),
    )


def recorded(folder: Path, ending: str = EVENTS) -> pl.DataFrame:
    """Return all that the files with this ending hold, in the order of their names."""
    schema = EVENT_SCHEMA if ending == EVENTS else JOURNAL_SCHEMA
    names = sorted(path for path in folder.iterdir() if path.name.endswith(ending))
    return pl.concat([pl.DataFrame(schema=schema), *map(pl.read_parquet, names)])


def events_in(rows: list[naive.Row], config: ModelConfig) -> pl.DataFrame:
    """Return the events of rows, in their order."""
    return decode(records_of(rows), options_of(config)).events


def one_event(offset: int = 0) -> Outcome:
    """Return what a batch with one event led to, by a run of the engine."""
    taken: list[Outcome] = []

    class Taking:
        def write(self, outcome: Outcome) -> None:
            taken.append(outcome)

        def is_kept(self) -> bool:
            return True

        def close(self) -> None:
            pass

    Run([burst(1_000, 1, offset=offset)], CONFIG, n_partitions=1, ends=False, record=Taking())
    return next(one for one in taken if len(one.events))


@settings(max_examples=40)
@given(st.data(), st.booleans())
def test_recorded_is_every_event_in_the_order_of_counting_over_crashes(
    tmp_path_factory, data, threads
):
    folder = tmp_path_factory.mktemp("record")
    config, rows = data.draw(logs.configs()), data.draw(logs.logs())
    random = data.draw(st.randoms(use_true_random=False))
    n_partitions, committed, expected = logs.n_partitions(rows), {}, []
    for n in range(data.draw(st.integers(1, 3), label="runs")):
        ahead = logs.interleaved(rows_from(rows, committed), random)
        polls = data.draw(logs.splits(ahead))
        kept = recorder(folder, interval_s=0.0, run_id=f"{n}")
        run = Run(
            polls,
            config,
            n_partitions=n_partitions,
            committed=committed,
            ends=False,
            threads=threads,
            record=kept,
        )
        expected.append(events_in(ahead, config))
        committed = as_read_back(run.commits[-1].committed)
    assert recorded(folder).equals(pl.concat(expected))
    journal = recorded(folder, JOURNAL)
    assert journal["n_events"].sum() == sum(map(len, expected))
    for _, of_run in journal.group_by("run_id"):
        assert of_run["number"].to_list() == list(range(len(of_run)))
        assert of_run["kind"].to_list() == [ASSIGNED] + [BATCH] * (len(of_run) - 1)


def test_new_assignment_has_a_row_with_its_checkpoints(tmp_path):
    first = Run([burst(1_000, 3)], CONFIG, n_partitions=1, ends=False)
    committed = as_read_back(first.commits[-1].committed)
    polls = [burst(1_000, 3), Rebalance(committed), burst(1_000, 3)]
    Run(polls, CONFIG, n_partitions=1, record=recorder(tmp_path))
    rows = recorded(tmp_path, JOURNAL).filter(pl.col("kind") == ASSIGNED)
    assert rows["epoch"].to_list() == [1, 2]
    assert rows["checkpoints"].to_list() == [[""], [committed[0][1].metadata()]]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=20))
def test_runs_say_which_records_came_in_which_order(pieces):
    rows, next_offset = [], dict.fromkeys(range(4), 0)
    for partition, size in pieces:
        for _ in range(size):
            rows.append((partition, next_offset[partition]))
            next_offset[partition] += 1
    records = records_of([naive.Row(*row, b"", 0) for row in rows])
    runs = list(zip(*runs_of(records.partition, records.offset), strict=True))
    told = [(p, offset) for p, first, last, _ in runs for offset in range(first, last + 1)]
    assert told == rows
    assert [last - first + 1 for _, first, last, _ in runs] == [n for *_, n in runs]
    assert all(one[0] != other[0] for one, other in zip(runs, runs[1:], strict=False))


# -- the digest ------------------------------------------------------------------------------------


def test_digest_is_that_of_the_day_it_was_written():
    verdicts = window(3, {7: 5, 2**63: 1})
    assert digest_of(verdicts) == 12_003_073_123_887_265_241
    assert digest_of(verdicts._replace(frame=verdicts.frame.clear())) == 0


@given(st.permutations(range(6)), st.integers(0, 6))
def test_digest_is_a_sum_over_rows_in_whatever_order_and_parts(order, cut):
    verdicts = window(1, {ip: ip + 1 for ip in range(6)})
    shuffled = verdicts.frame[list(order)]
    parts = [verdicts._replace(frame=part) for part in (shuffled[:cut], shuffled[cut:])]
    assert sum(map(digest_of, parts)) % 2**64 == digest_of(verdicts)


@pytest.mark.parametrize("name", VERDICT_SCHEMA)
def test_digest_depends_on_every_column(name):
    verdicts = window(1, {1: 1, 2: 2})
    changed = pl.col(name).cast(pl.Int64).xor(1).cast(VERDICT_SCHEMA[name])
    other = verdicts._replace(frame=verdicts.frame.with_columns(changed))
    assert digest_of(other) != digest_of(verdicts)


@pytest.mark.parametrize("field", ["start_s", "end_s", "final", "partial", "is_base"])
def test_digest_depends_on_the_window(field):
    verdicts = window(1, {1: 1})
    other = verdicts._replace(**{field: not getattr(verdicts, field)})
    assert digest_of(other) != digest_of(verdicts)


# -- when a file closes, and what is acked then ----------------------------------------------------


def test_nothing_is_acked_before_the_file_of_what_precedes_it_is_closed(tmp_path):
    bench, kept = Bench(), recorder(tmp_path, interval_s=10.0)
    bench.writer.record = kept
    bench.take(one_event()._replace(checkpoints=outcome(offset=5).checkpoints))
    bench.finish()
    assert (bench.offset, len(recorded(tmp_path))) == (None, 0)
    kept._clock.now_s += 9.9
    bench.finish()
    assert (bench.offset, len(recorded(tmp_path))) == (None, 0)
    kept._clock.now_s += 0.1
    bench.finish()
    assert (bench.offset, len(recorded(tmp_path))) == (5, 1)


def test_file_closes_when_it_has_enough_events_and_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(record_module, "MAX_EVENTS", 2)
    bench = Bench()
    bench.writer.record = recorder(tmp_path)
    for offset in range(3):
        bench.take(one_event(offset)._replace(checkpoints=outcome(offset=offset).checkpoints))
        bench.finish()
    assert (bench.offset, recorded(tmp_path)["offset"].to_list()) == (1, [0, 1])
    bench.writer.finish()
    assert (bench.offset, recorded(tmp_path)["offset"].to_list()) == (2, [0, 1, 2])


def test_names_sort_in_the_order_of_writing_over_runs(tmp_path):
    for n, run_id in enumerate("zya"):
        kept = recorder(tmp_path, run_id=run_id)
        for offset in (2 * n, 2 * n + 1):
            kept.write(one_event(offset))
            kept.close()
    assert recorded(tmp_path)["offset"].to_list() == list(range(6))


def test_reader_never_sees_half_a_file_and_what_a_crash_left_is_deleted(tmp_path, monkeypatch):
    kept = recorder(tmp_path)
    kept.write(one_event())
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(sorted(os.listdir(tmp_path))))
    left = tmp_path / ".00000009.x.events.parquet.part"
    left.write_bytes(b"half")
    kept.close()
    assert not left.exists()
    assert not list(tmp_path.glob(".*"))
    assert [name for names in seen for name in names if name[0] != "."] == [
        "00000001.r.events.parquet",  # before its folder is synced
        "00000001.r.events.parquet",
        "00000001.r.events.parquet",
        "00000001.r.journal.parquet",
    ]


@pytest.mark.parametrize("broken", ["a file", "a parent that is a file"])
def test_folder_that_cannot_be_written_is_refused(broken, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" if broken == "a file" else tmp_path / "file" / "folder"
    with pytest.raises(ConfigError, match=r"^record\.path: '.*' cannot be written: "):
        recorder(path)


def test_disk_that_is_full_is_one_line_and_acks_nothing(tmp_path, monkeypatch):
    bench, kept = Bench(), recorder(tmp_path, interval_s=0.0)
    bench.writer.record = kept
    monkeypatch.setattr(os, "fsync", full)
    bench.take(one_event()._replace(checkpoints=outcome(offset=5).checkpoints))
    with pytest.raises(UnavailableError, match=r"record\.path: .*No space left.*make room"):
        bench.finish()
    assert (bench.offset, [p for p in tmp_path.iterdir() if p.name[0] != "."]) == (None, [])


def full(_: int) -> None:
    """Refuse as a full disk does."""
    raise OSError(28, os.strerror(28))


def test_batch_of_an_earlier_assignment_leaves_no_row(tmp_path):
    kept = recorder(tmp_path)
    kept.write(Outcome(1, [], NO_EVENTS, None, ended=False))
    assert kept.is_kept()
    kept.close()
    assert list(tmp_path.iterdir()) == []
