"""Addresses are read and written exactly as Python's ipaddress does it."""

from __future__ import annotations

import ipaddress
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.address import MAX_TEXT_BYTES, parse_address, put_address, put_int
from tests.kernels import sized
from tests.mutations import mutated
from tests.naive_events import canonical_ip
from tests.records import ADDRESSES

pytestmark = pytest.mark.kernels

groups = st.sampled_from([0, 0, 0, 1, 0xA, 0xFFFF, 0x102]) | st.integers(0, 0xFFFF)
words = st.lists(groups, min_size=8, max_size=8).map(
    lambda parts: sum(part << 16 * (7 - i) for i, part in enumerate(parts))
)
mapped = st.integers(0, 2**32 - 1).map(lambda value: 0xFFFF << 32 | value)


def parsed(text: bytes) -> tuple[bool, int]:
    """Return whether the text is an address, and its 128 bits."""
    buffer = np.frombuffer(b'":' + text + b'1"', np.uint8)
    good, high, low = parse_address(buffer, 2, 2 + len(text))
    return bool(good), int(high) << 64 | int(low)


def rendered(value: int) -> str:
    """Return the text of 128 bits."""
    out = np.full(MAX_TEXT_BYTES + 1, ord("~"), np.uint8)
    end = put_address(out, 1, np.uint64(value >> 64), np.uint64(value & 2**64 - 1))
    assert out[0] == ord("~")
    assert (out[end:] == ord("~")).all()
    return out[1:end].tobytes().decode()


def text_of(value: int) -> str:
    """Return what the model prints for 128 bits."""
    return canonical_ip(str(ipaddress.IPv6Address(value)))


def agrees(text: bytes) -> bool:
    """Whether the kernel reads the text as the model does."""
    expected = canonical_ip(text.decode("latin-1"))
    good, value = parsed(text)
    return (rendered(value) if good else "") == expected


@given(words | mapped)
def test_address_is_written_as_the_model_writes_it_and_read_back(value):
    text = text_of(value)
    assert rendered(value) == text
    assert parsed(text.encode()) == (True, value)


def test_every_pattern_of_zero_groups_is_shortened_as_the_model_does():
    for pattern in range(256):
        value = sum((1 << 16 * i) for i in range(8) if pattern >> i & 1)
        assert rendered(value) == text_of(value)


@given(words | mapped)
def test_every_spelling_of_an_address_is_the_same_address(value):
    address = ipaddress.IPv6Address(value)
    dotted = f"{address.exploded[:30]}{ipaddress.IPv4Address(value & 2**32 - 1)}"
    for text in (address.exploded, address.exploded.upper(), address.compressed, dotted):
        assert parsed(text.encode()) == (len(text) <= MAX_TEXT_BYTES, value)


@given(st.text("0123456789abcdefABCDEFg:.% ", max_size=46).map(str.encode) | st.binary(max_size=46))
def test_any_text_is_an_address_where_the_model_says_so(text):
    assert agrees(text)


def test_hostile_and_broken_addresses_are_read_as_the_model_reads_them():
    random = Random(3)
    texts = [text.encode("latin-1", "replace") for text in ADDRESSES]
    for _ in range(sized(20_000, 1_000)):
        text = random.choice(texts)
        assert agrees(text), text
        text = mutated(text, random)
        assert agrees(text), text


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_integers_are_written_in_decimal(value):
    out = np.zeros(24, np.uint8)
    end = put_int(out, 2, np.int64(value))
    assert out[2:end].tobytes() == str(value).encode()
    assert not out[end:].any()
