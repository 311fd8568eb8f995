"""One factor at a time: more addresses, more partitions, longer and hopping windows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.rig import (
    PARTITIONS,
    USERS,
    Found,
    Traffic,
    engine_table,
    interleaved,
    load,
    run_topic,
    started_broker,
)
from tests.services.kafka import KafkaBroker

TITLE = "Growth"
BASE = "200,000 addresses, 4 partitions, 10 s"
ADDRESSES = (20_000, USERS, 2_000_000, 10_000_000)
PARTITION_COUNTS = (1, PARTITIONS, 16)
LONG = {"60 s": (60, 60), "600 s": (600, 600)}
HOPPING = {"60 s / 10 s": (60, 10), "600 s / 10 s": (600, 10)}


def limit(length_s: int) -> str:
    """Return a limit that flags about as many addresses as that of 10 s windows does."""
    return f"rules.limits.events={length_s}"


def measure(*, n_events: int, n_runs: int, **_: int) -> Found:
    """Run each factor's cases beside the base case."""
    found: Found = {}
    with started_broker() as broker:
        for name, traffic in traffics(n_events):
            topic = load(broker, f"bench-{len(found)}", traffic)
            found |= measured(broker, topic, name, n_runs)
    return found


def traffics(n_events: int) -> Iterator[tuple[str, Traffic]]:
    """Yield each kind of traffic, the base first."""
    yield BASE, Traffic(n_events)
    for users in ADDRESSES:
        if users != USERS:
            yield f"{users:,} addresses", Traffic(n_events, users=users)
    for partitions in PARTITION_COUNTS:
        if partitions != PARTITIONS:
            yield f"{partitions} partitions", Traffic(n_events, partitions=partitions)


def measured(broker: KafkaBroker, topic: str, name: str, n_runs: int) -> Found:
    """Run over one topic; over the base's with all windows too."""
    windows = {name: (10, 10), **(LONG | HOPPING if name == BASE else {})}
    cases = {
        case: partial(
            run_topic,
            broker.bootstrap,
            topic,
            *("rules=default", "sink.statistics=none", limit(length_s)),
            *(f"window.length_s={length_s}", f"window.slide_s={slide_s}"),
        )
        for case, (length_s, slide_s) in windows.items()
    }
    return interleaved(cases, n_runs=n_runs)


def report(found: Found) -> str:
    """Return the section for RESULTS.md."""
    return (
        f"{found[BASE][0]['events']:,} events, `rules=default`, decisions only; the limit "
        "of events grows with the window, so that about as many addresses are flagged. At its end "
        "a hopping window closes once more for each slide that is left in it.\n\n"
        f"{engine_table(found, base=BASE)}\n"
    )
