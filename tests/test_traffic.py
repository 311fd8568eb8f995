"""The traffic is what its numbers say: who acts, how often, what they do, at which address."""

from __future__ import annotations

import ipaddress
import json
from collections import Counter, defaultdict
from fractions import Fraction
from math import comb
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from tests.tool_process import tool_module

START_S = 1_700_000_000
N_SMALL_NET = 65_280
Event = dict[str, Any]
Events = list[Event]


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return tool_module("traffic", monkeypatch)


def draw(traffic: ModuleType, crowd: tuple[int, int, int, str], *, duration_s: int) -> Events:
    """Events of (users, bots, user events a second, events of each bot a second)."""
    *sizes, bot_rate = crowd
    seconds = range(START_S, START_S + duration_s)
    blocks = traffic.blocks(
        traffic.Crowd(*sizes, Fraction(bot_rate)), seconds, seed=7, events_per_block=1000
    )
    return [json.loads(value) for block in blocks for value in block["value"]]


def is_bot(event: Event) -> bool:
    return event["ip"].startswith("172.20.")


def by_second(events: Events) -> dict[int, Events]:
    seconds = defaultdict(list)
    for event in events:
        seconds[event["unix_time"] - START_S].append(event)
    return seconds


def binomial_bounds(n: int, p: Fraction, *, tail: float = 1e-9) -> tuple[int, int]:
    """The k between which all but `tail` on either side of Binomial(n, p) lies, exactly."""
    a, b = p.numerator, p.denominator
    weights = [comb(n, k) * a**k * (b - a) ** (n - k) for k in range(n + 1)]
    limit = Fraction(tail) * b**n

    def first_above(ordered: list[int]) -> int:
        total = 0
        for k, weight in enumerate(ordered):
            total += weight
            if total > limit:
                return k
        return n

    return first_above(weights), n - first_above(weights[::-1])


def test_each_second_has_its_number_of_different_users(traffic: ModuleType) -> None:
    seconds = by_second(draw(traffic, (60, 3, 50, "0.5"), duration_s=40))
    assert sorted(seconds) == list(range(40))
    for events in seconds.values():
        users = [event["ip"] for event in events if not is_bot(event)]
        assert len(users) == len(set(users)) == 50


def test_all_users_are_drawn_when_the_frequency_is_their_number(traffic: ModuleType) -> None:
    seconds = by_second(draw(traffic, (40, 0, 40, "0.5"), duration_s=3))
    assert all(len({event["ip"] for event in events}) == 40 for events in seconds.values())


def test_every_user_is_drawn_as_often_as_another(traffic: ModuleType) -> None:
    events = draw(traffic, (20, 0, 5, "0.5"), duration_s=800)
    counts = Counter(event["ip"] for event in events)
    low, high = binomial_bounds(800, Fraction(1, 4))
    assert len(counts) == 20
    assert all(low <= n <= high for n in counts.values())


@pytest.mark.parametrize(
    ("bot_rate", "in_each_second"),
    [
        ("0.5", [1, 0, 1, 0, 1, 0, 1]),
        ("0.25", [1, 0, 0, 0, 1, 0, 0]),
        ("1", [1, 1, 1, 1, 1, 1, 1]),
        ("3", [3, 3, 3, 3, 3, 3, 3]),
        ("2.5", [3, 2, 3, 2, 3, 2, 3]),
    ],
)
def test_each_bot_acts_as_often_as_asked(
    traffic: ModuleType, bot_rate: str, in_each_second: list[int]
) -> None:
    seconds = by_second(draw(traffic, (10, 4, 5, bot_rate), duration_s=7))
    for bot in range(4):
        ip = f"172.20.0.{bot}"
        counts = [sum(event["ip"] == ip for event in seconds[s]) for s in range(7)]
        assert counts == in_each_second


def test_clicks_and_categories_have_their_shares(traffic: ModuleType) -> None:
    events = draw(traffic, (1000, 40, 60, "0.5"), duration_s=40)
    for bots, click_share, n_categories in ((False, (1, 4), 10), (True, (3, 4), 20)):
        theirs = [event for event in events if is_bot(event) == bots]
        n_clicks = sum(event["type"] == "click" for event in theirs)
        low, high = binomial_bounds(len(theirs), Fraction(*click_share))
        assert low <= n_clicks <= high
        assert {event["type"] for event in theirs} == {"click", "view"}
        categories = Counter(event["category_id"] for event in theirs)
        assert sorted(categories) == list(range(1000, 1000 + n_categories))
        low, high = binomial_bounds(len(theirs), Fraction(1, n_categories))
        assert all(low <= n <= high for n in categories.values())


def test_users_and_bots_of_a_second_are_shuffled_together(traffic: ModuleType) -> None:
    events = draw(traffic, (100, 50, 50, "0.5"), duration_s=1)
    n_bots_in_first_half = sum(map(is_bot, events[:50]))
    low, high = binomial_bounds(50, Fraction(1, 2))
    assert low <= n_bots_in_first_half <= high


def test_an_event_has_the_four_fields_and_their_types(traffic: ModuleType) -> None:
    for event in draw(traffic, (1000, 1, 100, "0.5"), duration_s=2):
        assert [*event] == ["unix_time", "category_id", "ip", "type"]
        assert [type(value) for value in event.values()] == [int, int, str, str]


def test_addresses_go_on_in_another_net_where_the_first_is_full(traffic: ModuleType) -> None:
    ids = pl.Series([0, 254, 255, N_SMALL_NET - 1, N_SMALL_NET, N_SMALL_NET + 65_536])
    first = ["0.0", "0.254", "1.0", "255.254"]
    users = [f"172.10.{rest}" for rest in first] + ["173.0.0.0", "173.1.0.0"]
    bots = [f"172.20.{rest}" for rest in first] + ["174.0.0.0", "174.1.0.0"]
    assert traffic.user_addresses(ids).to_list() == users
    assert traffic.bot_addresses(ids).to_list() == bots
    last = pl.Series([traffic.N_ADDRESSES - 1])
    assert traffic.user_addresses(last).item() == "173.255.255.255"


def test_all_addresses_are_valid_and_different(traffic: ModuleType) -> None:
    addresses = traffic.Crowd(N_SMALL_NET + 5000, N_SMALL_NET + 500, 1, Fraction(1)).addresses()
    assert addresses.n_unique() == len(addresses) == 2 * N_SMALL_NET + 5500
    for address in addresses:
        ipaddress.IPv4Address(address)


def test_block_size_does_not_change_a_byte(traffic: ModuleType) -> None:
    crowd = traffic.Crowd(30, 4, 10, Fraction(1, 2))

    def values(events_per_block: int) -> list[str]:
        frames = traffic.blocks(crowd, range(5, 45), seed=3, events_per_block=events_per_block)
        return [value for frame in frames for value in frame["value"]]

    assert values(1) == values(77) == values(10_000)
