"""Figures of peers that are not run here, as they were measured before: to be read as a record.

One run a row, on 2026-11-24, on a machine of the same kind: 2 cores (AMD EPYC, virtual), 24 GB,
Linux 6.18, Java 17, Python 3.11.7, broker (Apache Kafka 4.3.1) and Redis on the same two cores.
The same job over the same kind of traffic (20,000 events per second of event time, 202,000
addresses, a tenth of the events by bots, 4 partitions), statistics and decisions by SETEX.
"""

from __future__ import annotations

from benchmarks.rig import table

HEAD = "peer, recorded | events | events/s | CPU s a million | peak RSS, MB | flagged pairs"
EXACT_CLOSED = "exact, closed windows"
ROWS: list[tuple[object, ...]] = [
    (
        "Kafka Streams 4.3.1, 1 thread, tuned fetch",
        *("10 M", "97,600", "14.7", "4,600", EXACT_CLOSED),
    ),
    (
        "Kafka Streams 4.3.1, 2 threads, tuned fetch",
        *("10 M", "141,000", "13.1", "4,600", "wrong: 19 % of the events dropped"),
    ),
    (
        "Pathway 0.33.0, static, 1 thread",
        *("1 M", "34,000", "30.2", "2,610", "exact"),
    ),
    (
        "Pathway 0.33.0, streaming",
        *("1 M", "37,000 to 46,000", "23.4", "2,750", EXACT_CLOSED),
    ),
    (
        "Quix Streams 3.28.1, 2 processes",
        *("1 M", "28,700", "62.3", "1,360 (larger)", "-0.50 %, not explained"),
    ),
    (
        "Quix Streams 3.28.1, 1 process",
        *("1 M", "15,800", "62.6", "1,840", EXACT_CLOSED),
    ),
    (
        "Bytewax 0.21.1, `to_system_utc=None`",
        *("300 k", "10,900", "89", "580", "exact"),
    ),
    (
        "faust-streaming 0.15.3, without Redis",
        *("300 k", "2,400", "412", "290", "exact, windows not closed"),
    ),
]
CONDITIONS = (
    "Recorded, not measured here: one run a row on 2026-11-24, on 2 cores (AMD EPYC, virtual) with "
    "24 GB, Kafka 4.3.1 and Redis 7.0.15 on the same cores, the same job and traffic with as many "
    "events as said. Start-up is included. Of Kafka Streams CPU and memory are the process tree's, "
    "of the others CPU is the process's and memory that of its largest process. Few events weigh "
    "start-up more."
)


def report() -> str:
    """Return the table and its conditions."""
    return f"{table(HEAD, ROWS)}\n\n{CONDITIONS}\n"
