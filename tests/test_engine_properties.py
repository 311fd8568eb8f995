"""The engine is the model: whatever the log, its interleaving, its polls, and the rules."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import state
from engine.batch import panes
from tests import logs, naive
from tests.doubles import Run

randoms = st.randoms(use_true_random=False)
ANY_CONFIG = logs.configs()


def explain(run: Run, judgement: naive.Judgement) -> str:
    """Return what of the engine's answer is not the model's; nothing when they are equal."""
    sink, differences = run.sink, naive.explain_difference
    statistics = {
        ip: (value, judgement.statistics_expiry_s[ip]) for ip, value in judgement.statistics.items()
    }
    late = {p: (len(by), sum(by), max(by)) for p, by in judgement.late.items()}
    parts = (
        differences(judgement.counted, run.verdicts()),
        differences(judgement.flagged, run.flagged()),
        differences(statistics, sink.statistics()),
        differences(judgement.decisions, sink.decisions()),
        differences(judgement.shadows, sink.decisions(shadow=True)),
        differences(judgement.rejected, run.metrics.rejected),
        differences(late, run.metrics.late),
    )
    return "\n".join(part for part in parts if part)


def outputs(run: Run) -> tuple[object, ...]:
    """Return all that a run has led to, for two runs to be compared."""
    sink, metrics = run.sink, run.metrics
    keys = (sink.statistics(), sink.decisions(), sink.decisions(shadow=True))
    return (*keys, run.verdicts(), metrics.rejected, metrics.late, metrics.records)


@st.composite
def polled_logs(draw, configs=ANY_CONFIG, **sizes):
    """Draw a config, a log (any order, or within the delay) and its polls."""
    config = draw(configs)
    in_time = logs.logs_in_time(config.delay_s, **sizes)
    rows = draw(st.one_of(logs.logs(**sizes), in_time))
    return config, rows, draw(logs.splits(rows))


@settings(max_examples=150)
@given(polled_logs())
def test_engine_gives_the_answer_of_the_model(drawn):
    config, rows, polls = drawn
    run = Run(polls, config, n_partitions=logs.n_partitions(rows))
    judgement = naive.judge(rows, config)
    assert explain(run, judgement) == ""
    assert run.metrics.records == len(rows)
    assert run.metrics.events == len(rows) - judgement.rejected.total()
    assert run.metrics.verdicts == len(judgement.verdicts)
    assert run.metrics.windows == len({window[:2] for window in judgement.verdicts})
    assert run.metrics.flagged == sum(bool(v.reasons) for v in judgement.verdicts.values())
    assert run.metrics.addresses_flagged == len(judgement.decisions)
    assert run.metrics.late_after_idle == run.metrics.replayed == run.metrics.overflow == 0


@settings(max_examples=40)
@given(polled_logs())
def test_windows_that_close_at_once_may_be_passed_on_one_by_one(drawn):
    config, rows, polls = drawn
    whole = Run(polls, config, n_partitions=logs.n_partitions(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "MAX_ROWS", 1)
        patch.setattr(panes, "MAX_ROWS", 1)
        in_parts = Run(polls, config, n_partitions=logs.n_partitions(rows))
    assert outputs(in_parts) == outputs(whole)


@settings(max_examples=40)
@given(polled_logs(), randoms)
def test_threads_seed_interleaving_and_polls_change_nothing(drawn, random):
    config, rows, polls = drawn
    n_partitions = logs.n_partitions(rows)
    expected = outputs(Run(polls, config, n_partitions=n_partitions))
    assert outputs(Run(polls, config, n_partitions=n_partitions, threads=True)) == expected
    other_seed = random.getrandbits(64)
    assert outputs(Run(polls, config, n_partitions=n_partitions, seed=other_seed)) == expected
    mixed = logs.interleaved(rows, random)
    assert outputs(Run([mixed], config, n_partitions=n_partitions)) == expected
    one_by_one = [[row] for row in mixed]
    assert outputs(Run(one_by_one, config, n_partitions=n_partitions)) == expected


@settings(max_examples=30)
@given(polled_logs(max_partitions=3), st.integers(0, 10))
def test_silent_partition_holds_nothing_back_at_the_end(drawn, n_more):
    config, rows, polls = drawn
    run = Run(polls, config, n_partitions=logs.n_partitions(rows) + n_more)
    assert explain(run, naive.judge(rows, config)) == ""


@settings(max_examples=40)
@given(logs.configs(), logs.lists(logs.values, 20), randoms)
def test_backlog_of_partitions_minutes_apart_is_judged_like_a_live_log(config, drawn, random):
    """Each partition is read to its end before the next one is begun, an hour away."""
    entries = [
        (partition, moved(value, by_s=3_600 * partition))
        for partition in range(3)
        for burst in drawn
        for value in burst
    ]
    rows = logs.rows_of(entries)
    by_partition = [[row for row in rows if row.partition == p] for p in random.sample(range(3), 3)]
    judgement = naive.judge(rows, config)
    assert explain(Run(by_partition, config, n_partitions=3), judgement) == ""
    live = logs.interleaved(rows, random)
    polls = [live[i : i + 5] for i in range(0, len(live), 5)]
    assert explain(Run(polls, config, n_partitions=3), judgement) == ""


def moved(value: bytes | None, *, by_s: int) -> bytes | None:
    """Return the record with its event time moved, where it has one."""
    try:
        document = json.loads(value or b"")
        document["unix_time"] += by_s
    except (ValueError, TypeError, KeyError):
        return value
    return json.dumps(document).encode()


# -- early decisions -----------------------------------------------------------------------------

own_tumbling = tuple(rule for rule in logs.OWN_MONOTONE if rule.slide_s is None)
monotone_rules = st.sampled_from(logs.MONOTONE + own_tumbling)
monotone_sets = st.lists(monotone_rules, unique=True, min_size=1).map(tuple)
tumbling = logs.configs(windows=logs.tumbling_windows)
monotone_tumbling = logs.configs(windows=logs.tumbling_windows, rule_sets=monotone_sets)


def crossings(rows: list[naive.Row], config: naive.ModelConfig) -> dict[str, list[object]]:
    """Return {address: (value, new reasons) at each event where an enforced rule first holds}."""
    found: dict[str, list[object]] = defaultdict(list)
    events: dict[naive.Window, list[naive.Event]] = defaultdict(list)
    fired: dict[naive.Window, tuple[str, ...]] = defaultdict(tuple)
    for event in naive.accepted_events(rows, naive.Judgement(config)):
        for own in naive.windows_of(event, config):
            events[own].append(event)
            verdict = naive.verdict_of(own, events[own], config)
            new = tuple(name for name in verdict.reasons if name not in fired[own])
            fired[own] = verdict.reasons
            if new:
                own_s = naive.own_length_s(own, config)
                value = naive.value_of(own, verdict, final=False, own_window_s=own_s)
                found[event.ip].append((value, new))
    return found


@settings(max_examples=60)
@given(polled_logs())
def test_early_decisions_are_borne_out_by_the_verdicts(drawn):
    config, rows, polls = drawn
    run = Run(polls, config, n_partitions=logs.n_partitions(rows))
    judgement = naive.judge(rows, config)
    early = run.early()
    assert all(naive.allowed_early(one.value, judgement, ip=one.ip) for one in early)
    slid = {rule.name for rule in config.rules if len(set(config.kind_of(rule))) > 1}
    assert slid.isdisjoint(name for one in early for name in one.new_reasons)
    assert all(one.crossed_ms == logs.TIMESTAMP_MS for one in early)


@settings(max_examples=100)
@given(polled_logs(monotone_tumbling, max_partitions=1))
def test_monotone_rule_decides_at_the_event_that_crosses_its_limit(drawn):
    config, rows, polls = drawn
    run = Run(polls, config, n_partitions=1)
    got: dict[str, list[object]] = defaultdict(list)
    for one in run.early():
        got[one.ip].append((one.value, one.new_reasons))
    expected = crossings(rows, config)
    in_any_order = {ip: sorted(values) for ip, values in expected.items()}
    assert {ip: sorted(values) for ip, values in got.items()} == in_any_order
    reasons = sum(run.flagged().values(), ())
    assert run.detections.by_reason.total() == len(reasons)


@settings(max_examples=40)
@given(polled_logs(tumbling, max_partitions=1))
def test_reason_is_counted_once_a_window_and_address(drawn):
    config, rows, polls = drawn
    run = Run(polls, config, n_partitions=1)
    reasons = sum(run.flagged().values(), ())
    assert run.detections.by_reason == {name: reasons.count(name) for name in set(reasons)}
