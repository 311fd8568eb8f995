"""Redis goes away, or drops keys to make room: the page, the log and the summary say so."""

from __future__ import annotations

from collections.abc import Callable

from tests.end_to_end.logs import IP, burst, event, window_ago
from tests.end_to_end.rig import OFTEN, SHORT_SESSION, Rig
from tests.faults.watched import READY, Page
from tests.services.process import outlast
from tests.services.valkey import ValkeyServer

LONGER_THAN_A_SESSION_S = 3.0
SCARCE = ("--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru")
N_MORE_THAN_FIT = 20_000
EVICTED = "botsieve_redis_evicted_keys_total"


def member_ids(here: Rig) -> list[str]:
    """Return the members of the group; one that has joined anew has another id."""
    found = here.kafka.admin.describe_consumer_groups([here.topic])[here.topic].result()
    return [member.member_id for member in found.members]


def test_r1_redis_that_is_down_at_the_start_is_missing_until_it_answers(
    rig: Callable[..., Rig],
) -> None:
    here, page, start_s = rig(2), Page(), window_ago(60)
    here.valkey.kill()
    engine = here.engine(OFTEN, page.override)
    page.wait_for("redis")
    assert page.health("/healthz") == READY
    here.valkey.start()
    page.wait_for()  # although there was nothing to write
    here.produce(0, burst(start_s))
    here.close_windows(start_s + 100)
    here.end(engine)
    assert here.wrong_keys(here.judged()) == ""


def test_r1_redis_that_is_away_in_mid_batch_is_missing_meanwhile_and_nobody_joins_again(
    rig: Callable[..., Rig],
) -> None:
    here, page, start_s = rig(2), Page(), window_ago(120)
    engine = here.engine(OFTEN, here.impatient(), *SHORT_SESSION, page.override)
    here.produce(0, burst(start_s))
    here.wait_for_key(f"bot_{IP}")
    page.wait_for()
    members = member_ids(here)
    here.valkey.stop()
    for partition in (0, 1):
        here.produce(partition, burst(start_s + 30, f"192.0.2.{partition + 3}"))
    page.wait_for_word("redis")
    outlast(LONGER_THAN_A_SESSION_S)
    assert page.says("redis")
    assert page.health("/healthz") == READY
    here.valkey.cont()
    page.wait_for()
    here.close_windows(start_s + 200)
    here.wait_for_commit(n_open=1)
    assert member_ids(here) == members
    engine.terminate()
    engine.ends()
    assert here.wrong_keys(here.judged()) == ""


def test_r5_keys_that_redis_evicts_are_told_and_counted(
    rig: Callable[..., Rig], new_valkey: Callable[..., ValkeyServer]
) -> None:
    here, page = rig(valkey=new_valkey(arguments=SCARCE)), Page()
    start_s = window_ago(60)
    engine = here.engine(OFTEN, page.override)
    page.wait_for()
    addresses = [f"10.0.{n // 250}.{n % 250}" for n in range(N_MORE_THAN_FIT)]
    here.produce(0, [event(start_s, ip) for ip in addresses])
    here.close_windows(start_s + 100)
    here.wait_until(lambda: page.metrics()[EVICTED], "evicted keys on the page")
    engine.wait_for("its policy allkeys-lru; give it more memory")
    with here.client() as client:
        total = client.info("stats")["evicted_keys"]
    here.wait_until(lambda: page.metrics()[EVICTED] == total, "all that were evicted")
    engine.terminate()
    engine.ends()
    assert engine.summary["redis_evicted_keys"] == total
    assert f"evicted   {total:,} keys by Redis" in engine.stderr
