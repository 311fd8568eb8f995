"""Windows where more than the log decides: logs entered in the middle, silence, and limits."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.checkpoint import Checkpoint
from engine.batch.window import WindowSpec
from engine.kernels.triage import NEVER
from engine.windows import Window
from tests import logs, naive
from tests.doubles import IDLE_S, Committed, Poll, Run, rule_set, window_spec
from tests.naive import ModelConfig, ModelRule, Row

IP = "192.0.2.1"
RULES = (ModelRule("many", "events > 3"), ModelRule("no_views", "views == 0"))
CONFIG = ModelConfig(length_s=10, delay_s=10, rules=RULES)
HOPPING = ModelConfig(length_s=20, slide_s=10, delay_s=10, rules=RULES)


def clicks(partition: int, first_offset: int, *times_s: int, ip: str = IP) -> list[Row]:
    """Return a click at each of these times."""
    values = [logs.value_of(time_s, 7, ip, "click") for time_s in times_s]
    return [
        Row(partition, first_offset + i, value, logs.TIMESTAMP_MS) for i, value in enumerate(values)
    ]


def windows_of(run: Run) -> list[tuple[int, int]]:
    """Return the windows whose statistics were written, in the order of the writes."""
    return [(w.verdicts.start_s, w.verdicts.end_s) for w in run.sink.written if not w.decides]


# -- logs entered in the middle --------------------------------------------------------------------


def entered(config: ModelConfig, complete_from_s: dict[int, int]) -> Committed:
    """Return the start of logs entered at offset 0: 0 is a beginning, else the clock + delay."""
    spec = window_spec(config)
    blank = Checkpoint(NEVER, NEVER, 0, spec.mode, spec.windows, rule_set(config).sha8)
    return {
        partition: (0, blank._replace(complete_from_s=complete_s))
        for partition, complete_s in complete_from_s.items()
    }


def test_log_entered_in_the_middle_judges_only_monotone_rules_until_it_is_complete():
    """The first event is of 1003, so windows that begin before 1013 may miss records."""
    rows = clicks(0, 0, 1_003, *[1_012] * 4, 1_021, 1_052)
    run = Run([rows], CONFIG, n_partitions=1, committed=entered(CONFIG, {0: 9_999}))
    assert windows_of(run) == [(1_020, 1_030), (1_050, 1_060)]
    assert run.metrics.windows_partial == 2
    assert run.metrics.windows == 4
    decided = [
        (w.verdicts.start_s, w.verdicts.final, w.verdicts.frame["mask"].to_list())
        for w in run.sink.written
        if w.decides
    ]
    many, no_views = [0b01], [0b10]
    final = [
        (1_000, True, []),
        (1_010, True, many),
        (1_020, True, no_views),
        (1_050, True, no_views),
    ]
    assert decided == [(1_010, False, many), *final]


def test_partition_without_events_makes_windows_partial_by_the_clock_of_its_start():
    rows = clicks(0, 0, 1_003, 1_033)
    committed = entered(CONFIG, {0: 0, 1: 1_030})
    run = Run([rows], CONFIG, n_partitions=2, committed=committed)
    assert windows_of(run) == [(1_030, 1_040)]
    assert run.metrics.windows_partial == 1


def test_log_read_from_its_beginning_is_complete():
    run = Run([clicks(0, 0, 5)], HOPPING, n_partitions=1, committed=entered(HOPPING, {0: 0}))
    assert windows_of(run) == [(-10, 10), (0, 20)]
    assert run.metrics.windows_partial == 0


def complete_from(rows: Sequence[Row], config: ModelConfig, start: dict[int, int]) -> int:
    """Return from where on windows are whole: each entered partition's first event + delay."""
    found = dict(start)
    for row in reversed(rows):
        event = naive.parse_event(row.value, row.timestamp_ms, config)
        if start[row.partition] and isinstance(event, naive.Event):
            found[row.partition] = event.time_s + config.delay_s
    return max(found.values())


def judged_from(rows: Sequence[Row], config: ModelConfig, complete_s: int) -> naive.Judgement:
    """Return the model's answer where windows that begin before complete_s are partial."""
    whole = naive.judge(rows, config)
    monotone = {rule.name for rule in logs.MONOTONE + logs.OWN_MONOTONE}
    found = naive.Judgement(config, whole.accepted, whole.rejected, whole.late)
    for window, judged in whole.verdicts.items():
        verdict = judged
        if complete_s == 0 or window[0] >= complete_s:
            naive.note_verdict(found, window, verdict)
        else:
            reasons = (judged.reasons, judged.shadow_reasons)
            only = [tuple(name for name in names if name in monotone) for names in reasons]
            verdict = judged._replace(reasons=only[0], shadow_reasons=only[1])
            naive.keep_decision(found, window, verdict, shadow=False)
            naive.keep_decision(found, window, verdict, shadow=True)
    return found


@settings(max_examples=60)
@given(st.data())
def test_partial_windows_keep_monotone_decisions_and_have_no_statistics_also_after_a_crash(data):
    config = data.draw(logs.configs())
    rows = data.draw(logs.logs(max_partitions=3))
    n_partitions = logs.n_partitions(rows)
    clocks = st.sampled_from([0, 1_030, 1_500])
    start = {partition: data.draw(clocks, label="clock") for partition in range(n_partitions)}
    polls = data.draw(logs.splits(rows))
    committed = entered(config, start)
    first = Run(polls, config, n_partitions=n_partitions, committed=committed, ends=False)
    commit = data.draw(st.sampled_from(first.commits), label="commit")
    left = [row for row in rows if row.offset >= commit.committed[row.partition][0]]
    second = Run([left], config, n_partitions=n_partitions, committed=commit.committed)
    expected = judged_from(rows, config, complete_from(rows, config, start))
    sink = second.sink
    sink.written = first.sink.written[: commit.n_written] + sink.written
    statistics = {ip: kept.value for ip, kept in sink.statistics().items()}
    assert naive.explain_difference(expected.counted, second.verdicts()) == ""
    assert naive.explain_difference(expected.statistics, statistics) == ""
    assert naive.explain_difference(expected.decisions, sink.decisions()) == ""
    assert naive.explain_difference(expected.shadows, sink.decisions(shadow=True)) == ""


# -- silence ---------------------------------------------------------------------------------------

SILENT = frozenset({0})
OVER_S = 1_010 + CONFIG.delay_s + IDLE_S
"""When the clock closes [1000, 1010)."""


def run_short_of_the_end(*polls: Poll, config: ModelConfig = CONFIG, n_partitions: int = 1) -> Run:
    """Run polls of a log that goes on."""
    return Run(polls, config, n_partitions=n_partitions, ends=False)


def test_last_window_closes_by_the_clock_when_every_partition_is_idle():
    rows = clicks(0, 0, 1_003)
    before = run_short_of_the_end(Poll(rows), Poll([], SILENT, OVER_S - 0.001))
    assert windows_of(before) == []
    after = run_short_of_the_end(Poll(rows), Poll([], SILENT, OVER_S))
    assert windows_of(after) == [(1_000, 1_010)]


def test_clock_closes_nothing_while_a_partition_is_not_idle():
    polls = (Poll(clicks(0, 0, 1_003)), Poll([], SILENT, OVER_S + 1_000))
    assert windows_of(run_short_of_the_end(*polls, n_partitions=2)) == []


def test_hopping_windows_close_by_the_clock_each_at_its_own_end():
    """The event of 1013 is in [1000, 1020) and in [1010, 1030)."""
    rows, over_s = Poll(clicks(0, 0, 1_013)), 1_020 + HOPPING.delay_s + IDLE_S
    clock = [Poll([], SILENT, over_s + later_s) for later_s in (-0.001, 0, 9.9, 10)]
    found = [
        windows_of(run_short_of_the_end(rows, *clock[:n], config=HOPPING)) for n in range(1, 5)
    ]
    both = [(1_000, 1_020), (1_010, 1_030)]
    assert found == [[], both[:1], both[:1], both]


def test_event_for_a_window_that_the_clock_has_closed_is_late_after_idle():
    late, good = clicks(0, 1, 1_009), clicks(0, 2, 1_010)
    polls = (Poll(clicks(0, 0, 1_003)), Poll([], SILENT, OVER_S), Poll(late), Poll(good))
    run = Run(polls, CONFIG, n_partitions=1)
    assert run.metrics.late_after_idle == 1
    assert run.metrics.late == {}
    counts = {window[:2]: verdict.events for window, verdict in run.verdicts().items()}
    assert counts == {(1_000, 1_010): 1, (1_010, 1_020): 1}


def test_whole_silence_does_not_make_a_later_backlog_late():
    """The clock is hours ahead when the backlog comes, but it has closed one window only."""
    backlog = clicks(0, 1, *range(1_010, 1_100))
    silence = Poll([], SILENT, OVER_S + 36_000)
    run = Run([Poll(clicks(0, 0, 1_003)), silence, Poll(backlog)], CONFIG, n_partitions=1)
    assert run.metrics.late_after_idle == 0
    assert sum(verdict.events for verdict in run.verdicts().values()) == 91


def test_idle_partition_holds_no_window_back_and_its_return_moves_nothing_back():
    slow, fast = clicks(0, 0, 1_003), clicks(1, 0, 1_003, 1_040)
    woken = clicks(0, 1, 1_004, 1_035)
    polls = [Poll(slow + fast), Poll([], SILENT), Poll(woken), Poll([])]
    run = run_short_of_the_end(*polls, n_partitions=2)
    assert windows_of(run) == [(1_000, 1_010)]
    assert run.metrics.watermark_s == 1_030
    assert run.metrics.late_after_idle == 1
    ended = Run(polls, CONFIG, n_partitions=2)
    counts = {window[:2]: verdict.events for window, verdict in ended.verdicts().items()}
    assert counts == {(1_000, 1_010): 2, (1_030, 1_040): 1, (1_040, 1_050): 1}


@settings(max_examples=80)
@given(st.data())
def test_silence_at_any_moment_never_counts_an_event_twice_or_loses_one_untold(data):
    config = data.draw(logs.configs(windows=logs.tumbling_windows))
    rows = data.draw(logs.logs(max_partitions=3))
    n_partitions = logs.n_partitions(rows)
    idle = st.frozensets(st.integers(0, n_partitions - 1))
    polls = [
        Poll(poll, data.draw(idle, label="idle"), data.draw(st.integers(0, 1_200), label="clock"))
        for poll in data.draw(logs.splits(rows))
    ]
    run, judgement = Run(polls, config, n_partitions=n_partitions), naive.judge(rows, config)
    verdicts = run.verdicts()
    n_counted = sum(verdict.events for verdict in verdicts.values())
    assert n_counted + run.metrics.late_after_idle == judgement.accepted
    assert verdicts.keys() <= judgement.verdicts.keys()
    assert all(verdict.events <= judgement.verdicts[w].events for w, verdict in verdicts.items())


# -- limits ----------------------------------------------------------------------------------------


def test_new_addresses_overflow_at_the_limit_and_known_ones_stay_exact():
    a, b, c = "192.0.2.1", "192.0.2.2", "192.0.2.3"
    times = [(1_000, a), (1_001, b), (1_002, c), (1_003, a), (1_004, c), (1_010, a), (1_011, b)]
    rows = [row for i, (time_s, ip) in enumerate(times) for row in clicks(0, i, time_s, ip=ip)]
    run = Run([rows[:3], rows[3:]], CONFIG, n_partitions=1, max_keys=2)
    counts = {(start_s, ip): verdict.events for (start_s, _, ip), verdict in run.verdicts().items()}
    assert counts == {(1_000, a): 2, (1_000, b): 1}
    assert run.metrics.overflow == 4


def test_closed_windows_give_their_room_back():
    addresses = [f"192.0.2.{n}" for n in range(5)]
    rows = [row for n, ip in enumerate(addresses) for row in clicks(0, n, 1_000 + 30 * n, ip=ip)]
    run = Run([[row] for row in rows], CONFIG, n_partitions=1, max_keys=2)
    assert run.metrics.overflow == 0
    assert len(run.verdicts()) == 5


def test_pane_is_the_greatest_length_on_which_every_window_begins_and_ends():
    panes = [(10, 10, 10), (15, 10, 5), (20, 5, 5), (7, 3, 1), (86_400, 86_400, 86_400)]
    for length_s, slide_s, pane_s in panes:
        spec = WindowSpec((Window(length_s, slide_s),), 0, IDLE_S, 1, 1)
        assert (spec.pane_s, spec.windows) == (pane_s, f"{length_s}/{slide_s}")
    several = WindowSpec((Window(10, 10), Window(60, 60), Window(45, 15)), 0, IDLE_S, 1, 1)
    assert (several.pane_s, several.windows) == (5, "10/10+60/60+45/15")
