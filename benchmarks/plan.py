"""docs/scaling.md: what several engines cost here, and what follows for other rates.

Written by `make bench` from results.json; the arithmetic is in `needs`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import bench_scaling
from benchmarks.rig import Found, cpu_s_per_million, table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
SECTIONS = ("scaling", "pipeline", "write")
RATES = (1_000_000, 10_000_000, 100_000_000)
BUSY = 0.6
"""How busy a core may be on average: the rest is for closing windows, restarts and peaks."""

PARTITIONS_AN_ENGINE = 2
"""So that the share of an engine that dies can be split."""

EVENT_BYTES = 100
"""A JSON event of about 80 bytes, with its key and the head of its record, not compressed."""

BITS, GIGA = 8, 1e9

HEAD = """\
# Growing

Written by `make bench`. One engine holds a topic that is not keyed; a topic that is keyed by
address is shared by as many engines as it has partitions (`source.keyed=true`), and keyed it can
be made by `task=rekey`. [spark.md](spark.md) has the other way.

## Engines over one topic
"""

PLAN = """\
## What a rate needs

From what was measured above: {cpu_s:.2f} CPU seconds for a million events with decisions only,
{per_event:.2f} decisions and {all_per_event:.2f} keys with all statistics for an event of that
traffic, {commands_per_s:,.0f} commands a second into one Redis over one connection. A core is
planned to be {busy:.0%} busy, and a Redis too; an event takes {event_bytes} bytes on the network,
uncompressed.

    cores of engines  = events/s x CPU s an event / {busy}
    engines           = one for each core: more cores do not make an engine faster
    partitions        = {partitions} for each engine
    Redis shards      = keys/s / (commands/s x {busy}), by hash slot (`sink` of a Redis Cluster)
    network, Gbit/s   = events/s x {event_bytes} x 8, once from the producers, once to the engines
"""

AFTER = """\
The CPU of an event does not depend on how many engines there are, which is what the first table
shows; so the plan is a product, and nothing in it waits for anything else: partitions share no
state, a commit speaks of one partition, and a key is written by one engine. What grows with the
addresses and not with the rate is memory: about 250 bytes in Redis for each address that was seen
within `sink.statistics_ttl_s`, none of it with `sink.statistics=none`, and in the engines 48 bytes
for each address and open window. A hot address is one partition's, and so one engine's.
"""


class Needs(NamedTuple):
    """What a rate needs."""

    cores: int
    partitions: int
    shards: int
    shards_of_all: int
    gigabits_per_s: float


class Costs(NamedTuple):
    """What was measured."""

    cpu_s_per_event: float
    decisions_per_event: float
    keys_per_event: float
    commands_per_s: float


def costs_of(kept: Mapping[str, Any]) -> Costs:
    """Return the costs that the plan rests on."""
    pipeline, write = kept["pipeline"]["found"], kept["write"]["found"]
    engines = kept["scaling"]["found"]
    runs = write["statistics through the sink"]
    return Costs(
        max(cpu_s_per_million(runs) for runs in engines.values()) / 1e6,
        keys_per_event(pipeline["decisions only"]),
        keys_per_event(pipeline["all statistics"]),
        statistics.median(run["events_per_s"] for run in runs),
    )


def keys_per_event(runs: list[dict[str, Any]]) -> float:
    """Return how many keys an event of a benchmark's traffic led to."""
    return float(runs[0]["keys_written"] / runs[0]["events"])


def needs(events_per_s: int, costs: Costs) -> Needs:
    """Return what so many events a second need."""
    cores = ceil(events_per_s * costs.cpu_s_per_event / BUSY)
    shard = costs.commands_per_s * BUSY
    return Needs(
        cores,
        cores * PARTITIONS_AN_ENGINE,
        ceil(events_per_s * costs.decisions_per_event / shard),
        ceil(events_per_s * costs.keys_per_event / shard),
        events_per_s * EVENT_BYTES * BITS / GIGA,
    )


def page_of(kept: Mapping[str, Any]) -> str:
    """Return the page."""
    scaling: Found = kept["scaling"]["found"]
    return "\n".join([HEAD, bench_scaling.report(scaling), *plan_of(costs_of(kept)), AFTER])


def plan_of(costs: Costs) -> Iterator[str]:
    """Yield the plan and its table."""
    yield PLAN.format(
        cpu_s=costs.cpu_s_per_event * 1e6,
        per_event=costs.decisions_per_event,
        all_per_event=costs.keys_per_event,
        commands_per_s=costs.commands_per_s,
        busy=BUSY,
        event_bytes=EVENT_BYTES,
        partitions=PARTITIONS_AN_ENGINE,
    )
    head = (
        "events/s | cores = engines | partitions | Redis, decisions only | "
        "Redis, all statistics | network in, Gbit/s"
    )
    rows = [(f"{rate:,}", *cells_of(needs(rate, costs))) for rate in RATES]
    yield f"{table(head, rows)}\n"


def cells_of(one: Needs) -> tuple[object, ...]:
    """Return a row of the table."""
    return (*one[:-1], f"{one.gigabits_per_s:g}")


def write(kept: Mapping[str, Any]) -> None:
    """Write the page, where all that it rests on was measured."""
    if all(section in kept for section in SECTIONS):
        PAGE.write_text(page_of(kept), encoding="utf-8")
