"""Random logs and configs, for every test that compares the engine with the model.

Few addresses, few categories and times near the edges of windows, so that much falls together; bad
records among the good. Knows how a log may look and nothing of what its answer is.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st

from tests.naive import ModelConfig, ModelRule, Row

TIMESTAMP_MS = 2_000_000_000_000
FIRST_S = 1_000

MONOTONE = (
    ModelRule("many", "events > 3"),
    ModelRule("clicker", "clicks >= 2 and events > 2", ttl_s=60),
    ModelRule("browser", "categories > 2", ttl_s=900),
    ModelRule("watched", "events > 1", mode="shadow"),
    ModelRule("watched_long", "clicks > 3 or events > 6", ttl_s=5_000, mode="shadow"),
)
"""Rules that stay true once they are, whatever comes later in a window."""

AT_THE_CLOSE = (
    ModelRule("ratio", "views == 0 or clicks // views > 1"),
    ModelRule("quiet", "events < 3 and clicks / max(views, 1) >= 1", ttl_s=30),
    ModelRule("watched_ratio", "clicks > views", ttl_s=10, mode="shadow"),
    ModelRule("not_used", "events > 0", mode="off"),
)
OWN_MONOTONE = (
    ModelRule("many_in_40", "events > 4", ttl_s=100, window_s=40),
    ModelRule("browser_in_12", "categories > 2", window_s=12),
    ModelRule("clicker_in_25", "clicks > 3", ttl_s=40, window_s=25, slide_s=5),
    ModelRule("watched_in_40", "clicks > 1", ttl_s=7_000, mode="shadow", window_s=40),
)
OWN_AT_THE_CLOSE = (
    ModelRule("ratio_in_40", "clicks / max(views, 1) > 2", ttl_s=80, window_s=40),
    ModelRule("no_views_in_25", "views == 0", ttl_s=600, window_s=25, slide_s=5),
    ModelRule("watched_in_90", "events % 2 == 1", mode="shadow", window_s=90, slide_s=30),
)
"""Rules over windows of their own, of lengths that no config has."""

ADDRESSES = (
    "192.0.2.1",
    "192.0.2.2",
    "::ffff:192.0.2.2",
    "2001:db8::1",
    "2001:DB8:0:0::1",
    "::",
)
BAD_VALUES = (
    None,
    b"",
    b" \t",
    b"[",
    b"nonsense",
    b'{"unix_time":1001,"category_id":1,"ip":"192.0.2.1"',
    b"7",
    b"{}",
    b'{"unix_time":"1001","category_id":1,"ip":"192.0.2.1","type":"click"}',
    b'{"unix_time":1001000000000000,"category_id":1,"ip":"192.0.2.1","type":"click"}',
    b'{"unix_time":1001,"category_id":1.5,"ip":"192.0.2.1","type":"click"}',
    b'{"unix_time":1001,"category_id":1,"ip":"192.0.2.256","type":"click"}',
    b'{"unix_time":1001,"category_id":1,"ip":"192.0.2.1","type":null}',
    b'{"unix_time":99999999999,"category_id":1,"ip":"192.0.2.1","type":"click"}',
    b" " * 5_000,
)
FORMS = (b"%s", b"[%s,", b"%s ,\r", b'{"schema":null,"payload":%s}')

windows = st.sampled_from(
    [(10, None), (1, None), (7, None), (60, None), (10, 5), (20, 10), (15, 10), (30, 5), (7, 3)]
)
tumbling_windows = st.sampled_from([(10, None), (1, None), (7, None), (60, None)])
RULES = MONOTONE + AT_THE_CLOSE + OWN_MONOTONE + OWN_AT_THE_CLOSE
rule_sets = st.lists(st.sampled_from(RULES), unique=True, max_size=6).map(tuple)
delays_s = st.one_of(st.sampled_from([0, 1, 10]), st.integers(0, 30))


@st.composite
def configs(draw, windows=windows, rule_sets=rule_sets):
    """Draw a config."""
    length_s, slide_s = draw(windows)
    return ModelConfig(
        length_s=length_s,
        slide_s=slide_s,
        delay_s=draw(delays_s),
        max_categories=draw(st.sampled_from([3, 64])),
        unknown_type=draw(st.sampled_from(["view", "reject"])),
        rules=draw(rule_sets),
    )


times_s = st.one_of(
    st.integers(FIRST_S, FIRST_S + 120),
    st.builds(
        sum, st.tuples(st.sampled_from(range(FIRST_S, FIRST_S + 130, 10)), st.integers(-1, 1))
    ),
    st.integers(1, 20),
)
kinds = st.sampled_from(["click", "click", "view", "scroll"])
events = st.tuples(times_s, st.integers(-2, 2), st.sampled_from(ADDRESSES), kinds)
bursts = st.builds(
    lambda event, n: [event[:1] + (event[1] + step,) + event[2:] for step in range(n)],
    events,
    st.sampled_from([1, 1, 2, 5]),
)
"""Events of one address in one second, of one category more each."""
good_values = st.builds(
    lambda form, burst: [form % value_of(*event) for event in burst], st.sampled_from(FORMS), bursts
)
bad_values = st.sampled_from(BAD_VALUES).map(lambda value: [value])
values = st.one_of(good_values, good_values, good_values, bad_values)


def lists(of, max_size: int):
    """Draw lists whose length is drawn first: a plain list strategy keeps to a few entries."""
    sizes = st.integers(0, max_size)
    return sizes.flatmap(lambda size: st.lists(of, min_size=size, max_size=size))


def value_of(time_s: int, category: int, ip: str, kind: str) -> bytes:
    """Return the record of an event."""
    members = {"unix_time": time_s, "category_id": category, "ip": ip, "type": kind}
    return json.dumps(members).encode()


def rows_of(entries: Sequence[tuple[int, bytes | None]]) -> list[Row]:
    """Return (partition, value) pairs as a log, with offsets that sometimes skip one."""
    offsets: dict[int, itertools.count[int]] = defaultdict(itertools.count)
    rows = []
    for partition, value in entries:
        offset = next(offsets[partition])
        if value == b"":
            next(offsets[partition])
        rows.append(Row(partition, offset, value, TIMESTAMP_MS))
    return rows


@st.composite
def logs(draw, *, max_partitions: int = 5, max_size: int = 40):
    """Draw a log of 1 to 5 partitions in any order of events: some come too late."""
    partitions = st.integers(0, draw(st.integers(0, max_partitions - 1)))
    drawn = draw(lists(st.tuples(partitions, values), max_size))
    return rows_of([(partition, value) for partition, burst in drawn for value in burst])


@st.composite
def logs_in_time(draw, delay_s: int, *, max_partitions: int = 5, max_size: int = 40):
    """Draw a log in which no event is later than the delay allows."""
    partitions = st.integers(0, draw(st.integers(0, max_partitions - 1)))
    drawn = draw(lists(st.tuples(partitions, st.integers(0, delay_s), bursts), max_size))
    arrivals = sorted(drawn, key=lambda one: one[2][0][0] + one[1])
    return rows_of(
        [(partition, value_of(*event)) for partition, _, burst in arrivals for event in burst]
    )


def n_partitions(rows: Sequence[Row]) -> int:
    """Return how many partitions a topic with this log has at least."""
    return 1 + max((row.partition for row in rows), default=0)


@st.composite
def splits(draw, rows: Sequence[Row]):
    """Draw a cut of the log into polls, some of them empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=8)))
    return [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]


def interleaved(rows: Sequence[Row], random: Random) -> list[Row]:
    """Return the log with its partitions mixed anew, each in its own order."""
    queues: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        queues[row.partition].append(row)
    order = [row.partition for row in rows]
    random.shuffle(order)
    return [queues[partition].pop(0) for partition in order]
