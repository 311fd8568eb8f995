"""The fault matrix: every way in which we break the engine, and what does not apply to it.

A row without a reason has at least one test whose name begins with its id (`test_c5_...`), wherever
under tests/ it lives. Tiers: unit, integration (seconds, in `make test`), soak (`make soak`).
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One fault; `reason` says why it does not apply, where it does not."""

    id: str
    tier: str
    fault: str
    reason: str = ""


UNIT, INTEGRATION, SOAK = "unit", "integration", "soak"

ROWS = (
    Row("c1", INTEGRATION, "killed after a fetch, before it is parsed"),
    Row("c2", INTEGRATION, "killed while it counts, with two windows open"),
    Row("c3", INTEGRATION, "killed before the first chunk of a window reaches Redis"),
    Row("c4", INTEGRATION, "killed between two chunks of a window"),
    Row("c5", INTEGRATION, "killed after Redis has answered, before the commit"),
    Row("c6", INTEGRATION, "killed with a commit on its way"),
    Row("c7", INTEGRATION, "killed while partitions are assigned or revoked"),
    Row("c8", SOAK, "killed a hundred times at random"),
    Row("c9", INTEGRATION, "killed in the very first window of a start at the latest"),
    Row("c10", UNIT, "offsets committed as soon as they are read: the oracle tells the loss"),
    Row("c11", INTEGRATION, "stopped under load, once and twice, by each signal"),
    Row("c12", INTEGRATION, "frozen past its session while another engine takes over"),
    Row("c13", INTEGRATION, "a disk that is full, or read-only"),
    Row("b1", INTEGRATION, "no broker at the start, then one"),
    Row("b2", INTEGRATION, "the broker killed in the middle of a window"),
    Row("b3", INTEGRATION, "the broker frozen: slow, not dead"),
    Row("b4", INTEGRATION, "no coordinator at a commit"),
    Row("b5", SOAK, "three brokers restarted one after the other"),
    Row("b6", INTEGRATION, "wrong credentials and missing rights at Kafka"),
    Row("b7", INTEGRATION, "a topic and partitions that are made after the start"),
    Row("b8", INTEGRATION, "the topic deleted and made again while it is read"),
    Row("b9", INTEGRATION, "an empty topic"),
    Row("b10", INTEGRATION, "partitions added while events are produced"),
    Row("b11", INTEGRATION, "records deleted past the committed offset"),
    Row("b12", INTEGRATION, "retention that overtakes an engine at rest"),
    Row("b13", INTEGRATION, "a compacted topic: gaps and tombstones"),
    Row("b14", INTEGRATION, "transactions: committed, aborted, left open"),
    Row("b15", INTEGRATION, "every compression"),
    Row("b16", INTEGRATION, "messages as large as the broker takes"),
    Row("b17", INTEGRATION, "commit metadata that another tool wrote"),
    Row("b18", INTEGRATION, "offsets of the group set back"),
    Row("g1", INTEGRATION, "engines join, leave and die, on a topic that is keyed by address"),
    Row("g2", INTEGRATION, "a second engine joins"),
    Row("g3", INTEGRATION, "a sink so slow that the poll interval passes"),
    Row("g4", UNIT, "a batch that holds a partition which was just revoked"),
    Row("g5", UNIT, "every callback of the client raises"),
    Row("g6", SOAK, "a member that comes and goes for five minutes"),
    Row("r1", INTEGRATION, "Redis away at the start, in the middle, and for long"),
    Row("r2", INTEGRATION, "Redis slow"),
    Row("r3", INTEGRATION, "Redis frozen past the timeout: writes run twice"),
    Row("r4", INTEGRATION, "Redis full, refusing writes"),
    Row("r5", INTEGRATION, "Redis full, evicting keys"),
    Row("r6", INTEGRATION, "Redis made a read-only replica"),
    Row("r7", INTEGRATION, "Redis killed and its replica promoted"),
    Row("r8", INTEGRATION, "wrong credentials and missing rights at Redis"),
    Row("r9", INTEGRATION, "the connection cut in the middle of replies"),
    Row("r10", INTEGRATION, "all keys deleted"),
    Row("r11", INTEGRATION, "every error that passes by itself, and one that is unknown"),
    Row("t1", UNIT, "events out of order, within the delay"),
    Row("t2", INTEGRATION, "two partitions an hour apart"),
    Row("t3", INTEGRATION, "a partition that is silent for ever"),
    Row("t4", INTEGRATION, "a burst, then silence everywhere"),
    Row("t5", UNIT, "events on the edge of late, and of a window"),
    Row("t6", INTEGRATION, "an event of the far future"),
    Row("t7", INTEGRATION, "a producer whose clock is ahead, and behind"),
    Row("t8", UNIT, "times that are none, of another unit, or at the ends of 64 bits"),
    Row("t9", INTEGRATION, "the engine's clock jumps"),
    Row("t10", INTEGRATION, "the same event delivered twice"),
    Row("t11", INTEGRATION, "the whole topic read three times"),
    Row("m1", SOAK, "ten million addresses in one window, and more than may be held"),
    Row("m2", INTEGRATION, "a million events of one address in a window"),
    Row("m3", INTEGRATION, "a hundred thousand categories of one address"),
    Row("m4", INTEGRATION, "a backlog at the start"),
    Row("d1", UNIT, "addresses written in all their ways"),
    Row("d2", UNIT, "texts that are no addresses"),
    Row("d3", UNIT, "records that are no JSON"),
    Row("d4", UNIT, "rows injected into a record"),
    Row("d5", UNIT, "nesting, keys and texts without measure"),
    Row("d6", UNIT, "numbers that are no integers of 64 bits"),
    Row("d7", UNIT, "a million broken records, read as the model reads them"),
    Row("d8", UNIT, "types that are unknown"),
    Row("d9", INTEGRATION, "half of all records bad"),
    Row("n1", INTEGRATION, "a kernel cache that is broken, foreign, or cannot be written"),
    Row("n2", INTEGRATION, "four engines that start at once on a cold kernel cache"),
    Row("f1", UNIT, "config values that are wrong"),
    Row("f2", UNIT, "overrides that would run code"),
    Row("f3", INTEGRATION, "secrets looked for in all that is written"),
    Row("f4", INTEGRATION, "rules changed across a restart"),
    Row("f5", INTEGRATION, "metrics and health asked for from another interface"),
    Row("s1", SOAK, "all of these at random, for as long as asked for"),
    Row("s3", INTEGRATION, "all of these at random for minutes, with a fixed seed"),
    Row("f6", INTEGRATION, "help, a bad override, a metrics port that is taken"),
)
