"""The published cases through the engine: every verdict, key, reject and late event as stated."""

from __future__ import annotations

import numpy as np
import pytest

from tests import naive
from tests.case_files import Case, case_paths, load_case
from tests.doubles import Run

CASES = [load_case(path) for path in case_paths()]
EACH_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def run_of(case: Case, *, poll_rows: int, threads: bool = False) -> Run:
    """Return the engine over a case, polled a few rows at a time."""
    polls = [case.rows[i : i + poll_rows] for i in range(0, len(case.rows), poll_rows)]
    n_partitions = 1 + max((row.partition for row in case.rows), default=0)
    return Run(polls, case.config, n_partitions=n_partitions, threads=threads)


@EACH_CASE
@pytest.mark.parametrize("poll_rows", [1, 7, 1_000])
def test_case_has_the_stated_verdicts_rejects_and_late_events(case, poll_rows):
    run = run_of(case, poll_rows=poll_rows)
    stated = naive.Judgement(case.config, verdicts=case.verdicts)
    assert naive.explain_difference(stated.counted, run.verdicts()) == ""
    assert naive.explain_difference(stated.flagged, run.flagged()) == ""
    assert run.metrics.rejected == case.rejected
    late = {p: (len(late), sum(late), max(late)) for p, late in case.late.items()}
    assert run.metrics.late == late
    assert run.metrics.records == len(case.rows)
    assert run.metrics.events == len(case.rows) - case.rejected.total()


@EACH_CASE
def test_case_ends_with_the_stated_keys(case):
    run = run_of(case, poll_rows=5)
    judgement = naive.judge(case.rows, case.config)
    statistics = {ip: kept.value for ip, kept in run.sink.statistics().items()}
    stated = judgement.statistics if case.statistics is None else case.statistics
    assert naive.explain_difference(stated, statistics) == ""
    for section, shadow in (("decisions", False), ("shadows", True)):
        stated = getattr(case, section)
        stated = getattr(judgement, section) if stated is None else stated
        assert naive.explain_difference(stated, run.sink.decisions(shadow=shadow)) == ""


@EACH_CASE
def test_case_is_the_same_in_threads(case):
    in_turn, threaded = (run_of(case, poll_rows=3, threads=threads) for threads in (False, True))
    assert threaded.verdicts() == in_turn.verdicts()
    assert threaded.sink.statistics() == in_turn.sink.statistics()
    assert threaded.sink.decisions() == in_turn.sink.decisions()
    assert threaded.metrics.late == in_turn.metrics.late


@EACH_CASE
def test_case_gives_no_early_decision_that_its_verdicts_do_not_bear_out(case):
    judgement = naive.judge(case.rows, case.config)
    for early in run_of(case, poll_rows=2).early():
        assert naive.allowed_early(early.value, judgement, ip=early.ip), early


def test_cases_hold_logs_of_several_partitions():
    assert any(np.unique([row.partition for row in case.rows]).size > 1 for case in CASES)
