"""Guards between the engine and its sink: what is held back, what is counted, and by what order.

The engine, its windows and its rules are the real ones; the sink is in memory.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.allowlist import Allowlist
from engine.breaker import Breaker
from engine.config import AllowConf
from engine.guards import Guards
from engine.metrics import Metrics
from engine.rules import RuleSet
from engine.sink_config import SinkConf
from engine.sinks import timing
from engine.windows import Window
from tests import logs, naive
from tests.doubles import Run
from tests.naive import ModelConfig, ModelRule

ALLOWED = "192.0.2.1"
OTHER = "198.51.100.7"
BUSY = ModelRule("busy", "events > 3")
CLICKER = ModelRule("clicker", "clicks / max(views, 1) > 3")
WATCHED = ModelRule("watched", "events > 1", mode="shadow")
NO_RULES = RuleSet((), Window(10, 10))


class Asked:
    """Stands for Redis: who is flagged there, and how often that was asked."""

    def __init__(self, *answers: list[bytes] | None) -> None:
        self.answers = itertools.chain(answers, itertools.repeat([]))
        self.n_times = 0

    def __call__(self, pick) -> list[bytes] | None:
        self.n_times += 1
        found = next(self.answers)
        return None if found is None else pick(found)


def guards_of(
    rules: RuleSet,
    metrics: Metrics,
    *,
    allow: AllowConf | None = None,
    max_share: float = 1.0,
    min_addresses: int = 1,
    asked: Asked | None = None,
) -> Guards:
    """Return guards as a run has them."""
    times = timing(SinkConf(), rules, event_clock=True)
    mask = rules.enforce_mask
    breaker = Breaker(
        max_share=max_share, min_addresses=min_addresses, enforce_mask=mask, times=times
    )
    return Guards(
        Allowlist(allow or AllowConf()),
        breaker if max_share < 1 else None,
        enforce_mask=mask,
        flagged_among=asked or Asked(),
        metrics=metrics,
    )


def run(polls, config: ModelConfig, *, n_partitions: int = 1, **guards) -> Run:
    """Return the engine over polls of rows, with these guards before its sink."""
    return Run(
        polls,
        config,
        n_partitions=n_partitions,
        guards=lambda rules, metrics: guards_of(rules, metrics, **guards),
    )


def burst(time_s: int, ip: str, n: int, kind: str = "view") -> list[tuple[int, bytes]]:
    """Return so many events of one address."""
    return [(0, logs.value_of(time_s, 1, ip, kind)) for _ in range(n)]


# -- the allowlist -----------------------------------------------------------------------------

ALLOW = AllowConf(cidrs=[f"{ALLOWED}/32"])


def test_allowed_address_has_statistics_and_no_decision_of_any_kind():
    rows = logs.rows_of([*burst(1_000, ALLOWED, 5), *burst(1_000, OTHER, 5)])
    found = run([rows], ModelConfig(rules=(BUSY, CLICKER, WATCHED)), allow=ALLOW)
    assert found.sink.decisions().keys() == found.sink.decisions(shadow=True).keys() == {OTHER}
    assert found.sink.statistics().keys() == {ALLOWED, OTHER}
    assert b'"reasons":["busy"]' in found.sink.statistics()[ALLOWED].value
    assert {early.ip for early in found.early()} == {OTHER}
    metrics = found.metrics
    assert (metrics.verdicts, metrics.flagged, metrics.suppressed_allowlisted) == (2, 1, 1)
    assert (metrics.addresses_flagged, metrics.flagged_by_reason) == (1, {"busy": 1})
    assert [one.ip for one in found.detections.recent] == [OTHER]
    assert len(found.detections.seen) == 2


def test_watched_rule_alone_is_no_suppressed_decision():
    rows = logs.rows_of(burst(1_000, ALLOWED, 2))
    found = run([rows], ModelConfig(rules=(BUSY, WATCHED)), allow=ALLOW)
    assert found.sink.decisions(shadow=True) == {}
    assert found.metrics.suppressed_allowlisted == 0


@settings(max_examples=60)
@given(logs.configs(), logs.logs(), st.sets(st.sampled_from(logs.ADDRESSES), min_size=1))
def test_all_others_are_decided_as_without_a_list(config, rows, allowed):
    n = logs.n_partitions(rows)
    plain = run([rows], config, n_partitions=n)
    listed = run([rows], config, n_partitions=n, allow=AllowConf(cidrs=sorted(allowed)))
    names = {naive.parse_event(logs.value_of(1, 1, ip, "view"), 0, config).ip for ip in allowed}
    for shadow in (False, True):
        expected = {
            ip: held for ip, held in plain.sink.decisions(shadow=shadow).items() if ip not in names
        }
        assert listed.sink.decisions(shadow=shadow) == expected
    assert listed.sink.statistics() == plain.sink.statistics()
    metrics = listed.metrics
    assert metrics.flagged + metrics.suppressed_allowlisted == plain.metrics.flagged
    assert metrics.verdicts == plain.metrics.verdicts


def test_flags_that_are_there_already_are_told_when_redis_answers(caplog):
    asked = Asked(None, None, [b"192.0.2.%d" % n for n in range(9)] + [b"203.0.113.1", b"?"])
    guards = guards_of(NO_RULES, Metrics(), allow=AllowConf(cidrs=["192.0.2.0/29"]), asked=asked)
    for _ in range(5):
        guards.before_batch()
    assert asked.n_times == 3
    (message,) = caplog.messages
    assert message.startswith(
        "allow: allowed addresses that hold a decision already: 8, such as 192.0.2.0, 192.0.2.1, "
        "192.0.2.2, 192.0.2.3, 192.0.2.4; each stays until"
    )


def test_nobody_is_asked_and_nothing_is_said_without_a_list_or_a_flag(caplog):
    asked = Asked([b"192.0.2.1"])
    guards_of(NO_RULES, Metrics(), asked=asked).before_batch()
    assert asked.n_times == 0
    guards_of(NO_RULES, Metrics(), allow=AllowConf(named=["private"]), asked=asked).before_batch()
    assert asked.n_times == 1
    assert caplog.messages == []


# -- the breaker -------------------------------------------------------------------------------

LIMITS = {"max_share": 0.5, "min_addresses": 2}


def traffic(start_s: int, n_bots: int, n_calm: int) -> list[tuple[int, bytes]]:
    """Return a window in which these many addresses click too much, and others do not."""
    names = [f"198.51.100.{n}" for n in range(n_bots + n_calm)]
    return [row for i, ip in enumerate(names) for row in burst(start_s, ip, 1 + 4 * (i < n_bots),
                                                               "click")]  # fmt: skip


def test_breaker_holds_a_window_tells_once_and_recovers(caplog):
    config = ModelConfig(rules=(CLICKER,), delay_s=0)
    shares = [(1, 9), (8, 2), (9, 1), (2, 8), (3, 7)]
    rows = logs.rows_of(
        [row for i, share in enumerate(shares) for row in traffic(1_000 + 10 * i, *share)]
    )
    with caplog.at_level(logging.INFO):
        found = run([rows], config, **LIMITS)
    written = {
        one.verdicts.start_s: len(one.verdicts.frame) for one in found.sink.written if one.decides
    }
    assert written == {1_000: 1, 1_010: 0, 1_020: 0, 1_030: 2, 1_040: 3}
    assert len(found.verdicts()) == 50
    assert (found.metrics.guard_tripped, found.metrics.guard_open) == (2, False)
    assert (found.metrics.flagged, found.metrics.addresses_flagged) == (6, 3)
    alarm, end = caplog.records
    assert (alarm.levelname, end.levelname) == ("ERROR", "WARNING")
    assert alarm.message.startswith(
        "guard.max_flagged_share: 7 of 10 addresses (0.700) of the window 1010 to 1020 are newly "
        "flagged, over the limit 0.5: no decision of it is written"
    )
    assert end.message == (
        "guard.max_flagged_share: 1 of 10 addresses (0.100) of the window 1030 to 1040 are newly "
        "flagged, under the limit 0.5: decisions are written again"
    )


def test_early_decisions_are_held_while_it_is_open_and_final_ones_count_their_reasons():
    config = ModelConfig(rules=(BUSY,), delay_s=0)
    everyone, one = [f"198.51.100.{n}" for n in range(4)], "198.51.100.9"
    first = [row for ip in everyone for row in burst(1_000, ip, 4)]
    calm = [row for ip in everyone for row in burst(1_010, ip, 1)]
    polls = [first, calm, burst(1_010, one, 4), [], burst(1_020, one, 1)]
    rows, polled = iter(logs.rows_of([row for poll in polls for row in poll])), []
    for poll in polls:
        polled.append(list(itertools.islice(rows, len(poll))))
    found = run(polled, config, **LIMITS)
    assert {early.ip for early in found.early()} == set(everyone)  # before the breaker opened
    finals = [w.verdicts for w in found.sink.written if w.decides and w.verdicts.final]
    assert [len(one.frame) for one in finals] == [0, 1, 0]
    assert found.sink.decisions()[one].value.endswith(b'"final":true}')
    assert found.detections.recent[-1].ip == one
    assert found.metrics.flagged_by_reason == {"busy": 5}


def model_of(rows, config, *, max_share: float, min_addresses: int) -> set[naive.Window]:
    """Return the (window, address) pairs that get a final decision, told as plainly as possible."""
    judgement, until_s, decided = naive.judge(rows, config), {}, set()
    ttls_s = {rule.name: rule.ttl_s for rule in config.rules}
    by_window = itertools.groupby(
        sorted(judgement.verdicts, key=naive.closing_order), key=lambda window: window[:2]
    )
    for (start_s, end_s), group in by_window:
        verdicts = {ip: judgement.verdicts[start_s, end_s, ip] for _, _, ip in group}
        flagged = {ip: verdict for ip, verdict in verdicts.items() if verdict.reasons}
        new = [ip for ip in flagged if until_s.get(ip, 0) < end_s]
        if len(verdicts) >= min_addresses and len(new) / len(verdicts) > max_share:
            continue
        for ip, verdict in flagged.items():
            decided.add((start_s, end_s, ip))
            lasts_s = end_s + max(ttls_s[name] for name in verdict.reasons)
            until_s[ip] = max(until_s.get(ip, 0), lasts_s)
    return decided


def finals_of(run: Run) -> set[naive.Window]:
    """Return the (window, address) pairs that got a final decision."""
    flagged = [
        one.verdicts.flagged(run.rules.enforce_mask)
        for one in run.sink.written
        if one.decides and one.verdicts.final
    ]
    return {(one.start_s, one.end_s, ip) for one in flagged for ip, _ in run.sink.values(one)}


short = logs.configs().map(
    lambda config: replace(
        config, rules=tuple(replace(rule, ttl_s=rule.ttl_s % 47 + 10) for rule in config.rules)
    )
)


@settings(max_examples=100)
@given(
    short,
    logs.logs(max_size=60),
    st.sampled_from([0.2, 0.34, 0.5, 0.75]),
    st.sampled_from([1, 2, 3]),
    st.randoms(use_true_random=False),
)
def test_final_decisions_are_those_of_the_model_whatever_the_polls(
    config, rows, max_share, min_addresses, random
):
    limits = {"max_share": max_share, "min_addresses": min_addresses}
    expected = model_of(rows, config, **limits)
    mixed = logs.interleaved(rows, random)
    for polls in ([rows], [[row] for row in mixed]):
        found = run(polls, config, n_partitions=logs.n_partitions(rows), **limits)
        assert finals_of(found) == expected
        assert found.metrics.flagged == len(expected)
