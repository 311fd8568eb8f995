"""The breaker: which windows are over the limit, who counts as new, and what a replay changes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.batch.verdict import VERDICT_SCHEMA, Verdicts
from engine.breaker import Breaker
from engine.sinks import Timing

LENGTH_S, TTL_S = 10, 30
ENFORCED, WATCHED = 1, 2


def breaker(max_share: float = 0.5, min_addresses: int = 4) -> Breaker:
    """Return a breaker over one enforced and one watched rule."""
    times = Timing(True, np.array([TTL_S, 10 * TTL_S]), 1)
    return Breaker(
        max_share=max_share, min_addresses=min_addresses, enforce_mask=ENFORCED, times=times
    )


def window(number: int, masks: dict[int, int]) -> Verdicts:
    """Return a closed window of addresses with their masks."""
    columns = {name: [0] * len(masks) for name in VERDICT_SCHEMA} | {
        "low": list(masks),
        "mask": list(masks.values()),
        "new_mask": list(masks.values()),
    }
    frame = pl.DataFrame(columns, schema=VERDICT_SCHEMA)
    return Verdicts(number * LENGTH_S, (number + 1) * LENGTH_S, True, False, frame)


def flagging(number: int, flagged: set[int], n: int = 8) -> Verdicts:
    """Return a window of n addresses, of which some are flagged."""
    return window(number, {ip: ENFORCED * (ip in flagged) for ip in range(n)})


def test_window_over_the_limit_is_held_and_one_at_the_limit_is_not():
    one = breaker(max_share=0.5)
    assert not one.judge(flagging(0, {0, 1, 2, 3})).is_over
    assert not one.is_open
    share = one.judge(flagging(1, {3, 4, 5, 6, 7}, n=8))
    assert (share.n_new, share.n_addresses, share.is_over) == (4, 8, False)
    share = breaker(max_share=0.5).judge(flagging(1, {3, 4, 5, 6, 7}))
    assert (share.n_new, share.is_over) == (5, True)


@pytest.mark.parametrize("share", [0.29, 0.07, 0.57, 0.1, 0.3])
def test_share_that_is_exactly_the_limit_is_not_over(share):
    n = round(share * 100)
    assert not breaker(max_share=share).judge(flagging(0, set(range(n)), n=100)).is_over
    assert breaker(max_share=share).judge(flagging(0, set(range(n + 1)), n=100)).is_over


def test_who_is_flagged_already_is_not_new_until_the_decision_is_over():
    one = breaker()
    everyone = set(range(8))
    for number, new in enumerate([{0, 1, 2}, {3, 4, 5}, {6, 7}]):
        assert one.judge(flagging(number, new)).n_new == len(new)
    assert one.judge(flagging(3, everyone)).n_new == 0
    assert one.judge(flagging(6, everyone)).n_new == 0
    share = one.judge(flagging(10, everyone))
    assert (share.n_new, share.is_over) == (8, True)


def test_what_was_held_stays_new():
    one = breaker()
    assert one.judge(flagging(0, set(range(6)))).is_over
    assert one.judge(flagging(1, set(range(6)))).n_new == 6


def test_watched_rules_and_clean_addresses_are_no_flags():
    share = breaker().judge(window(0, {ip: WATCHED for ip in range(8)}))
    assert (share.n_new, share.n_addresses, share.is_over) == (0, 8, False)


def test_small_window_is_not_judged_and_neither_opens_nor_closes():
    one = breaker(min_addresses=4)
    assert not one.judge(flagging(0, {0, 1, 2}, n=3)).is_over
    assert not one.is_open
    assert one.judge(flagging(1, set(range(8)), n=8)).is_over
    assert not one.judge(flagging(2, set(), n=3)).is_over
    assert one.is_open
    assert not one.judge(flagging(3, set(), n=8)).is_over
    assert not one.is_open


windows = st.lists(st.sets(st.integers(0, 7), max_size=8), max_size=12)


@given(windows, st.integers(0, 12), st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_windows_that_are_read_again_are_judged_as_before(flags, back, max_share):
    one = breaker(max_share=max_share)
    found = [one.judge(flagging(number, flagged)) for number, flagged in enumerate(flags)]
    again = [one.judge(flagging(i, flags[i])) for i in range(max(0, len(flags) - back), len(flags))]
    assert again == found[len(found) - len(again) :]


def test_parts_of_a_window_are_judged_one_by_one_and_again_as_before():
    one = breaker()
    parts = [flagging(0, set(range(6)))._replace(last=False), flagging(0, set())]
    found = [one.judge(part) for part in parts]
    assert [share.is_over for share in found] == [True, False]
    assert [one.judge(part) for part in parts] == found
