"""Checkpoints: what is committed comes back the same; what is not ours is no checkpoint."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.batch.checkpoint import Checkpoint, parse_checkpoint
from engine.batch.window import WindowSpec
from engine.kernels.triage import NEVER
from engine.rules import MAX_WINDOWS
from engine.windows import Window

MAX_METADATA_BYTES = 200
LAST_TIME_S = 100_000_000_000

times_s = st.integers(-LAST_TIME_S, LAST_TIME_S) | st.just(NEVER)
windows = st.builds(Window, st.integers(1, 86_400), st.integers(1, 86_400))
specs = st.builds(
    WindowSpec,
    st.lists(windows, min_size=1, max_size=MAX_WINDOWS).map(tuple),
    *(st.just(0), st.just(1.0), st.just(1), st.just(1)),
    mode=st.sampled_from(["unkeyed", "keyed"]),
)
checkpoints = st.builds(
    lambda spec, *rest: Checkpoint(*rest[:3], spec.mode, spec.windows, rest[3]),
    specs,
    times_s,
    times_s,
    st.integers(0, LAST_TIME_S),
    st.text("0123456789abcdef", min_size=8, max_size=8),
)


@given(checkpoints)
def test_checkpoint_comes_back_from_its_metadata(checkpoint):
    metadata = checkpoint.metadata()
    assert parse_checkpoint(metadata) == checkpoint
    assert metadata.isascii()
    assert len(metadata) < MAX_METADATA_BYTES


def test_metadata_is_what_is_documented():
    checkpoint = Checkpoint(1_009, 1_000, 0, "unkeyed", "10/10", "0123abcd")
    assert checkpoint.metadata() == "v1|1009|1000|0|unkeyed|10/10|0123abcd"


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "",
        "v1",
        "v99|1|2|3|unkeyed|10/10|0123abcd",
        "v1|1|2|3|unkeyed|10/10",
        "v1|1|2|3|unkeyed|10/10|0123abcd|more",
        "v1|x|2|3|unkeyed|10/10|0123abcd",
        "v1|1.0|2|3|unkeyed|10/10|0123abcd",
        "v1||2|3|unkeyed|10/10|0123abcd",
        "v1|1| 2|3|unkeyed|10/10|0123abcd",
        "v1|1|2|+3|unkeyed|10/10|0123abcd",
        "v1|1|2|1_0|unkeyed|10/10|0123abcd",
        "v1|1|2|03|unkeyed|10/10|0123abcd",
        "v1|\u0661|2|3|unkeyed|10/10|0123abcd",
        f"v1|{NEVER - 1}|2|3|unkeyed|10/10|0123abcd",
        f"v1|1|{2**63}|3|unkeyed|10/10|0123abcd",
        f"v1|1|2|{'9' * 5_000}|unkeyed|10/10|0123abcd",
        "consumer-1@host",
        "x" * 4_096,
    ],
)
def test_metadata_of_another_tool_is_no_checkpoint(metadata):
    assert parse_checkpoint(metadata) is None


fields = st.text() | st.integers().map(str) | st.sampled_from(["v1", "10/10", "unkeyed"])


@given(st.lists(fields, max_size=9).map("|".join) | st.text())
@example("v1|-1|0|0|||")
def test_metadata_is_taken_only_where_it_would_be_written_the_same(metadata):
    checkpoint = parse_checkpoint(metadata)
    assert checkpoint is None or checkpoint.metadata() == metadata
