"""The model against answers worked out by hand, and against what must hold for any log."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import naive
from tests.case_files import case_paths, load_case
from tests.naive import ModelConfig, ModelRule, Row, Verdict

SEED_RULES = (
    ModelRule("event_rate", "events > 10"),
    ModelRule("click_view_rate", "views == 0 or clicks // views > 3"),
    ModelRule("categories_rate", "categories > 10"),
)
CONFIGS = st.sampled_from(
    [
        ModelConfig(rules=SEED_RULES),
        ModelConfig(length_s=20, slide_s=5, delay_s=7, rules=SEED_RULES),
        ModelConfig(length_s=15, slide_s=10, delay_s=0, rules=SEED_RULES),
    ]
)
ADDRESSES = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"])
EVENTS = st.tuples(
    st.integers(1, 120), st.integers(-1, 2), ADDRESSES, st.sampled_from(["click", "view"])
)
LOGS = st.lists(st.tuples(st.integers(0, 2), EVENTS), max_size=60)


def rows_of(log):
    """Return the rows of a list of (partition, (time, category, address, type))."""
    offsets = {partition: itertools.count() for partition, _ in log}
    return [
        Row(partition, next(offsets[partition]), value_of_event(*event), 2_000_000_000_000)
        for partition, event in log
    ]


def value_of_event(time_s, category, ip, kind):
    """Return the record of an event."""
    members = {"unix_time": time_s, "category_id": category, "ip": ip, "type": kind}
    return json.dumps(members).encode()


@pytest.mark.parametrize("path", case_paths(), ids=lambda path: path.stem)
def test_case_has_the_answer_worked_out_by_hand(path):
    case = load_case(path)
    judgement = naive.judge(case.rows, case.config)
    assert naive.explain_difference(case.verdicts, judgement.verdicts) == ""
    assert judgement.rejected == case.rejected
    assert judgement.late == case.late
    n_late = sum(len(late) for late in case.late.values())
    assert judgement.accepted == len(case.rows) - case.rejected.total() - n_late


@pytest.mark.parametrize("path", case_paths(), ids=lambda path: path.stem)
def test_case_ends_with_the_stated_keys(path):
    case = load_case(path)
    judgement = naive.judge(case.rows, case.config)
    for section in ("decisions", "shadows", "statistics"):
        stated = getattr(case, section)
        if stated is not None:
            assert naive.explain_difference(stated, getattr(judgement, section)) == ""


def test_cases_state_every_kind_of_key():
    cases = [load_case(path) for path in case_paths()]
    for section in ("late", "rejected", "decisions", "shadows", "statistics"):
        assert any(getattr(case, section) for case in cases), section


def test_case_with_an_unknown_section_is_refused(tmp_path):
    path = tmp_path / "case.yaml"
    path.write_text("description: x\nevents: []\nexpected: []\nrejects: {blank: 1}\n")
    with pytest.raises(ValueError, match="rejects"):
        load_case(path)


@given(LOGS, CONFIGS, st.randoms(use_true_random=False))
def test_interleaving_of_partitions_changes_nothing(log, config, random):
    rows = rows_of(log)
    queues = {
        row.partition: [other for other in rows if other.partition == row.partition] for row in rows
    }
    order = [row.partition for row in rows]
    random.shuffle(order)
    shuffled = [queues[partition].pop(0) for partition in order]
    assert naive.judge(shuffled, config) == naive.judge(rows, config)


@given(st.lists(st.tuples(EVENTS, st.integers(0, 20)), max_size=60), CONFIGS)
def test_any_order_within_the_delay_equals_the_sorted_one(events, config):
    in_order = sorted(event for event, _ in events)
    arrival = sorted(events, key=lambda item: item[0][0] + min(item[1], config.delay_s))
    judgement = naive.judge(rows_of([(0, event) for event, _ in arrival]), config)
    assert judgement.late == {}
    assert judgement == naive.judge(rows_of([(0, event) for event in in_order]), config)


@given(LOGS, CONFIGS)
def test_every_record_is_accepted_late_or_rejected_and_every_event_is_in_each_of_its_windows(
    log, config
):
    judgement = naive.judge(rows_of(log), config)
    n_late = sum(len(late) for late in judgement.late.values())
    assert judgement.accepted + n_late == len(log)
    for (start_s, end_s, ip), verdict in judgement.verdicts.items():
        held = [e for _, e in log if start_s <= e[0] < end_s and e[2] == ip]
        assert end_s - start_s == config.length_s
        assert start_s % config.step_s == 0
        assert 1 <= verdict.categories <= verdict.events <= len(held)
        if n_late == 0:
            assert verdict.events == len(held)
            assert verdict.clicks == sum(e[3] == "click" for e in held)
            assert verdict.categories == len({e[1] for e in held})
    if n_late == 0 and config.length_s % config.step_s == 0:
        n_in_windows = sum(verdict.events for verdict in judgement.verdicts.values())
        assert n_in_windows == judgement.accepted * config.length_s // config.step_s


@given(LOGS, CONFIGS)
def test_late_is_what_comes_after_its_pane_ended(log, config):
    late, newest_s = [], {}
    for partition, (time_s, *_) in log:
        closed_s = newest_s.get(partition, 0) - config.delay_s
        if next_edge_s(time_s, config) <= closed_s:
            late.append((partition, closed_s - time_s))
        newest_s[partition] = max(time_s, newest_s.get(partition, 0))
    judged = naive.judge(rows_of(log), config).late
    assert sorted(late) == sorted((p, by_s) for p, all_s in judged.items() for by_s in all_s)


def next_edge_s(time_s, config):
    """Return the first second after this one at which some window starts or ends."""
    edges = (0, config.length_s % config.step_s)
    return next(s for s in itertools.count(time_s + 1) if s % config.step_s in edges)


@given(LOGS, CONFIGS)
def test_judging_again_equals_judging_by_the_other_rules_at_once(log, config):
    rules = (
        ModelRule("many", "events > 2", ttl_s=60),
        ModelRule("seen", "views > 0", mode="shadow"),
    )
    first = naive.judge(rows_of(log), config)
    assert naive.judge_again(first, rules) == naive.judge(
        rows_of(log), replace(config, rules=rules)
    )


def test_offsets_out_of_order_are_no_log():
    with pytest.raises(ValueError, match="partition 3: offset 7"):
        naive.judge([Row(3, 7, None, 0), Row(3, 7, None, 0)], ModelConfig())


FINAL = Verdict(events=12, clicks=11, views=1, categories=3, reasons=("event_rate", "ratio"))
WATCHED = ModelConfig(
    rules=(
        ModelRule("event_rate", "events > 10"),
        ModelRule("ratio", "clicks // views > 3"),
        ModelRule("clicked", "clicks > 5", mode="shadow"),
    )
)


def judgement_of_final():
    """Return the judgement of a log that gives one address the verdict FINAL."""
    events = [(1000, n % 3, "192.0.2.1", "click") for n in range(11)]
    return naive.judge(
        rows_of([(0, event) for event in [*events, (1001, 1, "192.0.2.1", "view")]]), WATCHED
    )


def test_value_is_compact_json_in_the_fixed_order():
    assert naive.value_of((1000, 1010, "192.0.2.1"), FINAL) == (
        b'{"v":1,"window_start":1000,"window_end":1010,"events":12,"clicks":11,"views":1,'
        b'"categories":3,"reasons":["event_rate","ratio"],"final":true}'
    )
    saturated = FINAL._replace(saturated=True, reasons=(), shadow_reasons=("quiet",))
    assert naive.value_of((-60, 60), saturated, final=False, shadow=True) == (
        b'{"v":1,"window_start":-60,"window_end":60,"events":12,"clicks":11,"views":1,'
        b'"categories":3,"categories_saturated":true,"reasons":["quiet"],"final":false}'
    )


def test_statistics_expire_after_their_own_ttl():
    config = ModelConfig(statistics_ttl_s=30)
    rows = rows_of([(0, (t, 1, "192.0.2.1", "view")) for t in (1000, 1025, 1017)])
    assert naive.judge(rows, config).statistics_expiry_s == {"192.0.2.1": 1030 + 30}


@pytest.mark.parametrize(
    "early",
    [
        Verdict(11, 11, 0, 3, reasons=("event_rate",)),
        Verdict(11, 10, 1, 2, reasons=("event_rate",)),
        Verdict(12, 11, 1, 3, reasons=("event_rate", "ratio")),
        Verdict(5, 4, 1, 1, reasons=("ratio",)),
    ],
)
def test_early_value_that_a_part_of_the_log_supports_is_allowed(early):
    value = naive.value_of((1000, 1010), early, final=False)
    assert naive.allowed_early(value, judgement_of_final(), ip="192.0.2.1")


@pytest.mark.parametrize(
    ("window", "early"),
    [
        pytest.param((1010, 1020), Verdict(11, 11, 0, 3, reasons=("event_rate",)), id="window"),
        pytest.param((1000, 1020), Verdict(11, 11, 0, 3, reasons=("event_rate",)), id="length"),
        pytest.param((1000, 1010), Verdict(13, 11, 1, 3, reasons=("event_rate",)), id="events"),
        pytest.param((1000, 1010), Verdict(12, 12, 0, 3, reasons=("event_rate",)), id="clicks"),
        pytest.param((1000, 1010), Verdict(12, 10, 2, 3, reasons=("event_rate",)), id="views"),
        pytest.param((1000, 1010), Verdict(11, 11, 0, 4, reasons=("event_rate",)), id="categories"),
        pytest.param((1000, 1010), Verdict(11, 10, 0, 3, reasons=("event_rate",)), id="sum"),
        pytest.param((1000, 1010), Verdict(10, 10, 0, 3, reasons=("event_rate",)), id="not yet"),
        pytest.param((1000, 1010), Verdict(11, 11, 0, 3, reasons=("other",)), id="reason"),
        pytest.param((1000, 1010), Verdict(11, 11, 0, 3), id="no reason"),
        pytest.param(
            (1000, 1010), Verdict(12, 11, 1, 3, reasons=("ratio", "event_rate")), id="order"
        ),
        pytest.param((1000, 1010), Verdict(11, 11, 0, 3, True, ("event_rate",)), id="saturated"),
    ],
)
def test_early_value_that_no_part_of_the_log_supports_is_not_allowed(window, early):
    value = naive.value_of(window, early, final=False)
    assert not naive.allowed_early(value, judgement_of_final(), ip="192.0.2.1")


@pytest.mark.parametrize(
    "value",
    [
        naive.value_of((1000, 1010), FINAL),
        naive.value_of((1000, 1010), FINAL, final=False) + b" ",
        b"{}",
        b"[]",
        b"not json",
        b"\xff",
        naive.value_of((1000, 1010), FINAL, final=False).replace(b"1000", b"[]"),
    ],
)
def test_early_value_in_another_form_is_not_allowed(value):
    assert not naive.allowed_early(value, judgement_of_final(), ip="192.0.2.1")


def test_early_value_is_judged_for_its_own_address_and_its_own_kind_of_rule():
    judgement = judgement_of_final()
    enforced = naive.value_of(
        (1000, 1010), Verdict(11, 11, 0, 3, reasons=("event_rate",)), final=False
    )
    shadowed = naive.value_of((1000, 1010), Verdict(6, 6, 0, 3, reasons=("clicked",)), final=False)
    assert not naive.allowed_early(enforced, judgement, ip="192.0.2.2")
    assert not naive.allowed_early(enforced, judgement, ip="192.0.2.1", shadow=True)
    assert naive.allowed_early(shadowed, judgement, ip="192.0.2.1", shadow=True)
    assert not naive.allowed_early(shadowed, judgement, ip="192.0.2.1")


def test_difference_names_the_first_keys_and_counts_the_rest():
    assert naive.explain_difference({"a": 1}, {"a": 1}) == ""
    assert naive.explain_difference({"a": 1, "b": 2}, {"b": 3, "c": 4}) == (
        "missing 'a': 1\ndiffers 'b': expected 2, got 3\nnot expected 'c': 4"
    )
    lines = naive.explain_difference(dict.fromkeys(range(8)), {}).splitlines()
    assert lines[0] == "missing 0: None"
    assert lines[-1] == "and 3 more"
    assert len(lines) == 6


def test_file_rows_count_lines_and_skip_those_that_hold_nothing(tmp_path):
    path = tmp_path / "events.json"
    path.write_bytes(b'[\n{"a":1},\n\n \t\r\n[ ,\n{"a":2}\r\nnot json\n{"a":3}\n]')
    assert naive.read_file_rows(path, 5) == [
        Row(0, 1, b'{"a":1},', 5),
        Row(0, 5, b'{"a":2}\r', 5),
        Row(0, 6, b"not json", 5),
        Row(0, 7, b'{"a":3}', 5),
    ]
