"""Compiles, or loads from the cache, every kernel of the hot path before anything is connected.

A compile in the middle of a run would stall the consumer. The kernels meet the very array types
that a run gives them, read-only ones included, so none is compiled a second time later.
"""

from __future__ import annotations

import numpy as np

from engine.batch.decode import DecodeOptions, Records, decode, decode_options
from engine.batch.window import OpenWindows, WindowSpec
from engine.detections import Detections
from engine.kafka.messages import unpack
from engine.kernels.ranges import parsed, ranges_of, within
from engine.kernels.slots import places, slot_of, some_of
from engine.kernels.table import FIRST_CAPACITY
from engine.metrics import Metrics
from engine.parquet_source import newer_rows
from engine.rules import RuleSet
from engine.sink_config import SinkConf
from engine.sinks import Decisions, MemorySink, Timing

NAMES = ("unix_time", "category_id", "ip", "type")
SAMPLE = b'{"unix_time":1000,"category_id":%d,"ip":"%s","type":"click"}'
MANY = 2 * FIRST_CAPACITY  # addresses, so that tables grow


def warm_up(options: DecodeOptions, spec: WindowSpec, rules: RuleSet, *, seed: int) -> None:
    """Run a few records of neighbouring windows through every kernel."""
    addresses = [*(b"192.0.2.%d" % n for n in range(MANY)), b"2001:db8::1", b"?", b"\\u003f"]
    values = [SAMPLE % (n, ip) for n, ip in enumerate(addresses)]
    sizes = np.array([len(value) for value in values], np.int64)
    ends = np.cumsum(sizes)
    n = len(values)
    records = Records(
        np.frombuffer(b"".join(values), np.uint8),
        ends - sizes,
        ends,
        np.zeros(n, np.int32),
        np.arange(n, dtype=np.int64),
        np.full(n, 1_000_000, np.int64),
    )
    windows = OpenWindows(spec, rules, n_partitions=1, seed=seed)
    times = Timing(True, np.array(rules.ttl_s, np.int64), 1)
    sink = MemorySink(SinkConf(), rules, times, seed=np.uint64(seed))
    plain = decode_options(names=NAMES, reject_unknown=False, max_future_s=0)
    events = decode(records, options._replace(fields=plain.fields)).events
    later = windows.add(events.with_columns(time=events["time"] + spec.kinds[0].slide_s))
    detections = Detections(rules, Metrics(), seed=seed, event_clock=True, keep_seen=True)
    for verdicts in [*windows.add(events), *later, *windows.close_all()]:
        detections(verdicts, now_s=0.0, n_expired=0)
        sink.write_decisions(verdicts, now_s=0.0)
        sink.write_statistics(verdicts, now_s=0.0)
    for store in windows.stores:
        for running in store.running.values():
            running.compact()
    _, high, low = parsed(addresses)
    within(ranges_of([(0, 1)]), high, low)
    newer_rows(events, np.full(1, -1, np.int64))
    sink.statistics()
    unpack(np.empty(0, np.int64), 0, 0, 0)
    command = np.frombuffer(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", np.uint8)
    some_of(command, places(command, 1).ends, np.zeros(1, np.int64), command)
    slot_of(command, 0, 1)
    decisions = Decisions(rules.enforce_mask, times, seed=np.uint64(seed))
    decisions.agree(decisions.decide(verdicts, now_s=0.0).rows)
