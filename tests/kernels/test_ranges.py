"""Ranges hold the addresses that their spans hold, whatever overlaps, touches or repeats."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.ranges import parsed, ranges_of, within, words
from tests.kernels import sized
from tests.naive_events import canonical_ip
from tests.records import ADDRESSES

pytestmark = pytest.mark.kernels

LAST = 2**128 - 1
numbers = st.integers(0, LAST) | st.sampled_from([0, 1, 5, 6, 7, 2**64 - 1, 2**64, 2**64 + 1, LAST])
spans = st.tuples(numbers, numbers).map(lambda ends: (min(ends), max(ends)))


def whole(high: np.ndarray, low: np.ndarray) -> list[int]:
    """Return words as 128-bit numbers."""
    return [int(h) << 64 | int(w) for h, w in zip(high, low, strict=True)]


@given(st.lists(spans, max_size=12), st.lists(numbers, max_size=20))
def test_address_is_within_where_a_span_holds_it(spans, addresses):
    ends = [end + by for span in spans for end in span for by in (-1, 0, 1)]
    addresses = [*addresses, *(end for end in ends if 0 <= end <= LAST)]
    found = within(ranges_of(spans), *words(addresses))
    assert found.tolist() == [any(f <= each <= t for f, t in spans) for each in addresses]


@given(st.lists(spans, max_size=12))
def test_ranges_ascend_and_do_not_touch(spans):
    ranges = ranges_of(spans)
    firsts = whole(ranges.first_high, ranges.first_low)
    lasts = whole(ranges.last_high, ranges.last_low)
    assert all(first <= last for first, last in zip(firsts, lasts, strict=True))
    assert all(last + 1 < first for last, first in zip(lasts, firsts[1:], strict=False))


def test_many_ranges_answer_as_one_by_one():
    random = Random(5)
    n = sized(10_000, 200)
    borders = sorted(random.sample(range(2**33), 2 * n))
    pairs = list(zip(borders[::2], borders[1::2], strict=True))
    random.shuffle(pairs)
    addresses = [random.randrange(2**33) for _ in range(n)] + borders
    expected = (np.searchsorted(borders, addresses, "right") % 2).astype(bool).tolist()
    expected[n:] = [True] * len(borders)
    assert within(ranges_of(pairs), *words(addresses)).tolist() == expected


def test_texts_are_parsed_as_the_model_reads_them():
    texts = [text.encode("latin-1", "replace") for text in ADDRESSES]
    good, high, low = parsed(texts)
    assert good.tolist() == [canonical_ip(text.decode("latin-1")) != "" for text in texts]
    assert whole(*(column[:2] for column in parsed([b"192.0.2.1", b"2001:db8::1"])[1:])) == [
        0xFFFF << 32 | 0xC0000201,
        0x20010DB8 << 96 | 1,
    ]
    assert len(parsed([])[0]) == 0
