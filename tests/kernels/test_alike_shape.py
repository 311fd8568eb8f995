"""What is learned of a record that the grammar accepts, and which records are taken for alike."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np
import pytest

from engine.kernels.alike import (
    MAX_DIGITS,
    N_VALUES,
    SHAPE_SIZE,
    VALUE_FIELDS,
    Shape,
    learn,
    read_alike,
    unknown_shape,
)
from engine.kernels.decode import MAX_TIME_S, OK, read_record
from engine.kernels.fields import CATEGORY, CLICK, IP, TIME, TYPE, VIEW
from tests.doubles import options_of
from tests.kernels.test_alike import SOME_SHAPES, Reading, is_what_the_model_says, words_of
from tests.naive import ModelConfig
from tests.shapes import PLAIN, SHAPES, SLOTS, filled, values_of

pytestmark = pytest.mark.kernels

CONFIG = ModelConfig()
FIELD_OF = {"time": TIME, "category": CATEGORY, "ip": IP, "kind": TYPE}


def bytes_of(*values: bytes) -> np.ndarray:
    """Return the values as one buffer."""
    return np.frombuffer(b"".join(values), np.uint8)


def learned(buffer: np.ndarray, start: int, end: int) -> Shape:
    """Let the grammar accept the record buffer[start:end], and learn its shape."""
    states, places, shape = np.empty(5, np.uint8), np.empty(5, np.int64), unknown_shape()
    fields = options_of(CONFIG).fields
    assert read_record(buffer, start, end, fields, states, places)[0] == OK
    learn(buffer, start, end, places, shape)
    return shape


def alike_to(first: bytes, other: bytes) -> Reading | None:
    """Return the values of the other record where it is alike to the first, else nothing."""
    before, between = b'{"', b"}"
    buffer = bytes_of(before, first, between, other, first[-1:])
    end = len(before + first)
    shape = learned(buffer, len(before), end)
    alike, *values = read_alike(buffer, end + 1, end + 1 + len(other), shape)
    return tuple(map(int, values)) if alike else None


def literals(buffer: np.ndarray, shape: Shape) -> Iterator[bytes]:
    """Yield the five literals of a shape."""
    for k in range(N_VALUES + 1):
        yield buffer[shape[2 * k] : shape[2 * k + 1]].tobytes()


@pytest.mark.parametrize("name", SHAPES)
def test_learned_is_what_lies_around_the_values(name):
    text, before = SHAPES[name], b"}]"
    for category in ("7", "-7", "9223372036854775807", "-9223372036854775808"):
        value = filled(text, category=category)
        buffer = bytes_of(before, value, b"5")
        shape = learned(buffer, len(before), len(before + value))
        around, slots = re.split(r"<\w+>", text), re.findall(r"<(\w+)>", text)
        assert shape[VALUE_FIELDS:].tolist() == [FIELD_OF[slot] for slot in slots]
        expected = [literal.encode() for literal in around]
        assert list(literals(buffer, shape)) == expected


def test_learning_again_leaves_nothing_of_what_was_known():
    first, second = filled(SHAPES["last_first"]), filled(SHAPES["spaces"])
    buffer, fields = bytes_of(first, second), options_of(CONFIG).fields
    states, places, shape = np.empty(5, np.uint8), np.empty(5, np.int64), unknown_shape()
    for start, end in ((0, len(first)), (len(first), len(buffer))):
        read_record(buffer, start, end, fields, states, places)
        learn(buffer, start, end, places, shape)
    assert shape.tolist() == learned(buffer, len(first), len(buffer)).tolist()


@pytest.mark.parametrize("name", SHAPES)
def test_record_alike_has_its_values(name):
    shape = SHAPES[name]
    for time_s, category, ip, kind in (
        (1, 0, "0.0.0.1", "click"),
        (10**MAX_DIGITS - 1, 10**MAX_DIGITS - 1, "255.255.255.255", "view"),
        (0, 12, "2001:db8::ff", "view"),
        (1_700_000_000, 5, "::ffff:1.2.3.4", "click"),
    ):
        values = {"time": str(time_s), "category": str(category), "ip": ip, "kind": kind}
        got = alike_to(filled(shape), filled(shape, **values))
        kinds = {"click": CLICK, "view": VIEW}
        assert got == (time_s, category, *words_of(ip), kinds[kind])


@pytest.mark.parametrize("slot", SLOTS)
def test_what_is_alike_has_the_values_that_the_model_reads(slot):
    n_alike = 0
    for shape, text in itertools.product(SOME_SHAPES, values_of(slot)):
        value = filled(shape, **{slot: text})
        got = alike_to(filled(shape), value)
        if got is None or not 0 < got[0] <= MAX_TIME_S:
            continue
        n_alike += 1
        assert is_what_the_model_says((OK, *got), value, ModelConfig(max_future_s=MAX_TIME_S))
    assert n_alike >= 2 * len(SOME_SHAPES)


def test_numbers_alike_have_no_sign_no_leading_zero_and_fit():
    for text, alike in (
        ("0", True),
        ("7", True),
        ("9" * MAX_DIGITS, True),
        ("1" + "0" * MAX_DIGITS, False),
        ("00", False),
        ("07", False),
        ("-7", False),
        ("", False),
        ("1.5", False),
        ("1e3", False),
        (" 7", False),
    ):
        for slot in ("time", "category"):
            got = alike_to(filled(PLAIN), filled(PLAIN, **{slot: text}))
            assert (got is not None) == alike, (slot, text)


def test_sign_belongs_to_the_value_not_to_the_shape():
    negative = filled(PLAIN, category="-7")
    assert alike_to(negative, negative) is None
    assert alike_to(negative, filled(PLAIN)) is not None


def test_nothing_is_alike_to_what_is_not_known():
    value = filled(PLAIN)
    alike, *_ = read_alike(bytes_of(value), 0, len(value), unknown_shape())
    assert not alike
    assert len(unknown_shape()) == SHAPE_SIZE


@pytest.mark.parametrize("name", SHAPES)
def test_part_of_a_record_is_not_alike_and_a_longer_one_neither(name):
    value = filled(SHAPES[name])
    assert alike_to(value, value) is not None
    for at in range(len(value)):
        assert alike_to(value, value[:at]) is None
    for more in (b" ", b"}", b",", value):
        assert alike_to(value, value + more) is None


def test_null_record_is_not_alike_wherever_it_lies():
    value = filled(PLAIN)
    buffer = bytes_of(value, value)
    shape = learned(buffer, 0, len(value))
    for start in range(len(buffer) + 1):
        alike, *_ = read_alike(buffer, start, start - 1, shape)
        assert not alike, start
