"""Rows M: more addresses, events of one address and categories than anybody has; memory holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests import naive
from tests.end_to_end.judged import STATISTICS, writes_in, wrong_writes
from tests.end_to_end.logs import FAST, IP, WINDOW_S, event, window_ago
from tests.end_to_end.redis_view import held_keys, values_of
from tests.end_to_end.rig import OFTEN, TO_THE_END, Rig
from tests.faults.flood import N_OF_A_BOT, N_PARTITIONS, Flood, addresses, first_few
from tests.faults.standard import MOST_RSS_MB, finished, what_is_wrong
from tests.faults.traffic import mix
from tests.services.kafka import KafkaBroker
from tests.services.monitor import MonitorRecorder

MOST_RSS_OF_A_FLOOD_MB = 1_500
DAY_S = 86_400
KEPT = (f"sink.ttl_s={DAY_S}", f"sink.statistics_ttl_s={DAY_S}")
FLOOD_DEADLINE_S = 600.0
N_FLOOD, N_HOT, N_CATEGORIES = 10_000_000, 1_000_000, 100_000
SAMPLED = range(0, N_FLOOD, 99)


@pytest.fixture(scope="module")
def flooded(kafka: KafkaBroker) -> tuple[Flood, str]:
    """A topic that holds ten million addresses in one window."""
    flood, topic = Flood(N_FLOOD, window_ago(60)), kafka.create_topic("flooded", N_PARTITIONS)
    flood.produce(kafka, topic)
    return flood, topic


def run_through(here: Rig, topic: str, *overrides: str) -> dict[str, int]:
    """Let an engine read a topic to its end; return its summary."""
    here.topic = topic
    engine = here.engine(TO_THE_END, "source.ignore_commits=true", *KEPT, *overrides)
    engine.ends(deadline_s=FLOOD_DEADLINE_S)
    for name in ("seconds", "peak_rss_mb"):
        here.record(name, engine.summary[name])
    return engine.summary


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_m1_ten_million_addresses_in_a_window_are_exact_in_bounded_memory(
    rig: Callable[..., Rig], flooded: tuple[Flood, str]
) -> None:
    (flood, topic), here = flooded, rig()
    summary = run_through(here, topic)
    assert (summary["events"], summary["overflow"]) == (flood.n_events, 0)
    with here.client() as client:
        assert client.dbsize() == flood.n + flood.n_bots
        assert first_few(flood.wrong(client, SAMPLED)) == []
    assert summary["peak_rss_mb"] < MOST_RSS_OF_A_FLOOD_MB


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_m1_of_more_addresses_than_may_be_held_those_that_are_held_are_exact(
    rig: Callable[..., Rig], flooded: tuple[Flood, str]
) -> None:
    (flood, topic), here, n_held = flooded, rig(), N_FLOOD // 2
    summary = run_through(here, topic, f"window.max_keys={n_held}")
    n_bots_out = flood.n_bots - summary["flagged"]
    assert 0 < n_bots_out < flood.n_bots
    assert summary["overflow"] == flood.n - n_held + (N_OF_A_BOT - 1) * n_bots_out
    with here.client() as client:
        assert client.dbsize() == n_held + summary["flagged"]
        assert first_few(flood.wrong(client, SAMPLED)) == []
    assert summary["peak_rss_mb"] < MOST_RSS_OF_A_FLOOD_MB


def test_m1_addresses_beyond_the_limit_are_counted_and_the_next_window_has_room_again(
    rig: Callable[..., Rig],
) -> None:
    here, start_s, n, n_held = rig(N_PARTITIONS), window_ago(120), 5_000, 1_000
    ips, later_s = addresses(range(n + n_held)), start_s + 50
    twice = naive.Verdict(events=2, clicks=1, views=1, categories=2)
    produce_twice(here, start_s, ips[:n])
    engine = here.engine(OFTEN, f"window.max_keys={n_held}")
    here.close_windows(later_s)  # closes the first window, as an address that finds no room
    here.wait_for_commit(n_open=1)
    produce_twice(here, later_s, ips[n:])
    finished(here, close_s=start_s + 200, engine=engine)
    assert engine.summary["overflow"] == 2 * (n - n_held) + 2 * N_PARTITIONS
    with here.client() as client:
        found = values_of(held_keys(client, STATISTICS))
        assert client.dbsize() == len(found) == 2 * n_held
    assert found.keys() <= set(ips)
    expected = naive.Judgement(FAST)
    for ip in found:
        window_s = later_s if ip in ips[n:] else start_s
        naive.note_verdict(expected, (window_s, window_s + WINDOW_S, ip), twice)
    assert here.wrong_keys(expected) == ""


def produce_twice(here: Rig, start_s: int, ips: list[str]) -> None:
    """Produce a view of each address, and then a click of each."""
    for partition in range(N_PARTITIONS):
        some = ips[partition::N_PARTITIONS]
        here.produce(partition, [event(start_s + 1, ip, category=1) for ip in some])
        here.produce(partition, [event(start_s, ip, kind="click", category=2) for ip in some])


def test_m2_a_million_events_of_one_address_in_a_window_are_all_counted(
    rig: Callable[..., Rig],
) -> None:
    here, start_s = rig(N_PARTITIONS), window_ago(120)
    window = (start_s, start_s + WINDOW_S)
    expected = naive.Judgement(FAST)
    counted = naive.Verdict(N_HOT, N_HOT // 4, N_HOT - N_HOT // 4, categories=4)
    naive.note_verdict(expected, (*window, IP), naive.with_reasons(counted, FAST.rules))
    for partition in range(N_PARTITIONS):
        kind = "click" if partition == 0 else "view"
        hot = event(start_s + partition, kind=kind, category=partition).decode()
        other = f"192.0.2.{100 + partition}"
        cold = event(start_s, other).decode()
        here.kafka.produce_many(here.topic, partition, [cold, *[hot] * (N_HOT // 4), cold])
        naive.note_verdict(expected, (*window, other), naive.Verdict(2, 0, 2, 1))
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(TO_THE_END)
        engine.ends()
    assert engine.summary["events"] == N_HOT + 2 * N_PARTITIONS
    assert here.wrong_keys(expected) == ""
    assert wrong_writes(writes_in(recorder.commands), expected) == []
    assert engine.summary["peak_rss_mb"] < MOST_RSS_MB


@pytest.mark.parametrize("limit", [64, 1_000])
def test_m3_a_hundred_thousand_categories_of_one_address_are_counted_up_to_the_limit(
    limit: int, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(2), window_ago(120)
    ends = [-(2**63), 2**63 - 1]
    n_of = {"192.0.2.2": limit - 1, "192.0.2.3": limit, "192.0.2.4": limit + 1}
    logs = [
        [event(start_s + 1, ip, category=k) for k in (*ends, *range(n - len(ends)))]
        for ip, n in {IP: N_CATEGORIES, **n_of}.items()
    ]
    log = mix(*logs)
    for partition in range(2):
        here.produce(partition, log[partition::2])
    with MonitorRecorder(here.valkey.url) as recorder:
        engine = here.engine(OFTEN, f"window.max_categories={limit}")
        finished(here, close_s=start_s + 200, engine=engine)
    config = replace(FAST, max_categories=limit)
    assert what_is_wrong(here, recorder.commands, config=config) == ""
    told = f'"categories":{limit},"categories_saturated":true'.encode()
    with here.client() as client:
        values = values_of(held_keys(client, STATISTICS))
    assert {ip for ip, value in values.items() if told in value} == {IP, "192.0.2.4"}
