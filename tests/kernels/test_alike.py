"""The short way through a record leads where the grammar does, whatever record came before.

A record in a call of its own meets no known shape, so the grammar reads it: what a batch makes of
it must be the same, and be what the model says. The batches here are of one or two shapes, with
records among them that leave the shape in one place.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernels.decode import (
    ESCAPED,
    FUTURE,
    MAX_RECORD_BYTES,
    OK,
    REASONS,
    TOO_BIG,
    decode_records,
)
from engine.kernels.fields import CLICK
from engine.kernels.frozen import frozen
from tests import naive
from tests.doubles import options_of, records_of
from tests.kernels import sized
from tests.mutations import mutated
from tests.naive import Event, ModelConfig, Row
from tests.records import ADDRESSES, FRAGMENTS, INTEGERS, KINDS, NO_JSON, NOT_INTEGERS
from tests.shapes import MEMBERS, PLAIN, SHAPES, SLOTS, SPACED, filled, values_of

pytestmark = pytest.mark.kernels

SOME_SHAPES = list(SHAPES.values())[:: sized(1, 4)]
"""All of them; fewer without the JIT, for what tries much in each."""

TIMESTAMP_MS = 1_700_000_000_000
CONFIG = ModelConfig()
STRICT = ModelConfig(unknown_type="reject", max_future_s=0)

Reading = tuple[int, ...]
"""Status, time, category, the two words of the address and the kind."""


def decoded(values: Sequence[bytes | None], config: ModelConfig, *, alone: bool) -> list[Reading]:
    """Return what decoding makes of the values in one call, or of each in a call of its own."""
    records = records_of([Row(0, i, value, TIMESTAMP_MS) for i, value in enumerate(values)])
    columns = [frozen(column) for column in (records.starts, records.ends, records.timestamp_ms)]
    options, buffer = options_of(config), frozen(records.buffer)
    found: list[Reading] = []
    for i in range(0, len(values), 1 if alone else max(len(values), 1)):
        part = [column[i : i + 1] if alone else column for column in columns]
        one = decode_records(buffer, *part, options.fields, options.max_future_ms)
        names = ("status", "time", "category", "high", "low", "kind")
        found += zip(*(getattr(one, name).tolist() for name in names), strict=True)
    return found


def words_of(ip: str) -> tuple[int, int]:
    """Return the address as two words, an IPv4 address as mapped."""
    address = ip_address(ip)
    number = int(address) if isinstance(address, IPv6Address) else 0xFFFF << 32 | int(address)
    return number >> 64, number & (1 << 64) - 1


def is_what_the_model_says(got: Reading, value: bytes | None, config: ModelConfig) -> bool:
    """Compare a reading with the model's; one with an escape is left to the standard library."""
    event = naive.parse_event(value, TIMESTAMP_MS, config)
    if got[0] == ESCAPED:
        return value is not None and b"\\" in value
    if not isinstance(event, Event):
        return REASONS[got[0]] == event
    expected = (OK, event.time_s, event.category, *words_of(event.ip))
    return got[:-1] == expected and (got[-1] == CLICK) == event.is_click


def difference(values: Sequence[bytes | None], config: ModelConfig = CONFIG) -> str:
    """Return the values that a batch reads otherwise than a call of their own, or the model."""
    together, alone = (decoded(values, config, alone=alone) for alone in (False, True))
    wrong = [
        f"{i}: {value!r}: {together[i]}, alone {alone[i]}"
        for i, value in enumerate(values)
        if together[i] != alone[i] or not is_what_the_model_says(together[i], value, config)
    ]
    return "\n".join(wrong[:5])


def among_good(shape: str, values: Sequence[bytes | None]) -> list[bytes | None]:
    """Return the values, each behind a good record of the shape, and one more at the end."""
    pairs = ((filled(shape, category=str(i)), value) for i, value in enumerate(values))
    return [*itertools.chain.from_iterable(pairs), filled(shape)]


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_events(name):
    batch = [filled(SHAPES[name], time=str(time_s)) for time_s in (1, 1_700_000_000)]
    assert [one[:2] for one in decoded(batch, CONFIG, alone=False)] == [(OK, 1), (OK, 1700000000)]
    assert difference(batch) == ""


@pytest.mark.parametrize(("slot", "what"), [(slot, what) for slot in SLOTS for what in SLOTS[slot]])
def test_value_is_read_as_alone_in_every_shape(slot, what):
    for shape in SOME_SHAPES:
        values = [filled(shape, **{slot: text}) for text in SLOTS[slot][what]]
        assert difference(among_good(shape, values)) == ""
        assert difference(among_good(shape, values), STRICT) == ""


def test_keys_may_come_in_any_order():
    for order in itertools.permutations(MEMBERS):
        shape = "{" + ",".join(order) + "}"
        values = [filled(shape, ip="::2", kind="view", time="8", category="9"), filled(PLAIN)]
        values += [filled(shape, **{slot: text}) for slot in SLOTS for text in values_of(slot)[::7]]
        assert difference(among_good(shape, values)) == ""


def test_two_shapes_by_turns_are_read_as_alone():
    for first, second in itertools.permutations(SOME_SHAPES, 2):
        good = [filled(first), filled(second, kind="view"), filled(first, ip="::1")]
        broken = [filled(second, time="-1"), filled(first, ip="::x"), filled(second, kind="tap")]
        together = decoded(good, CONFIG, alone=False)
        assert [one[0] for one in together] == [OK] * 3
        assert difference([*good, *broken, *good[::-1], *broken]) == ""


def test_values_of_one_shape_in_the_literals_of_another_are_read_as_alone():
    heads, tails = zip(*(filled(shape).split(b'"ip"', 1) for shape in SHAPES.values()), strict=True)
    values = [head + b'"ip"' + tail for head in heads for tail in tails]
    assert difference(values) == ""


def test_null_records_between_are_null():
    values = [None, filled(PLAIN), None, filled(PLAIN, ip="::1"), None, None, b"", filled(PLAIN)]
    assert difference(values) == ""
    status = [REASONS[one[0]] for one in decoded(values, CONFIG, alone=False)]
    assert status == ["tombstone", "", "tombstone", "", "tombstone", "tombstone", "blank", ""]


def test_record_with_a_known_shape_may_be_too_big():
    room = MAX_RECORD_BYTES - len(filled(PLAIN, category="1")) - len(',"a":""')
    shape = f'{PLAIN[:-1]},"a":"{"x" * room}"}}'
    values = [filled(shape, category=text) for text in ("1", "12", "2", "-1", "x")]
    assert [len(value) - MAX_RECORD_BYTES for value in values] == [0, 1, 0, 1, 0]
    status = [one[0] for one in decoded(values, CONFIG, alone=False)]
    assert status[:4] == [OK, TOO_BIG, OK, TOO_BIG]
    assert difference(values) == ""


def test_future_record_teaches_its_shape_and_is_future_in_it():
    times = ("1700000901", "1700000900", "1700000902", "100000000000", "100000000001", "0")
    status = [
        one[0] for one in decoded([filled(PLAIN, time=text) for text in times], CONFIG, alone=False)
    ]
    assert status[:4] == [FUTURE, OK, FUTURE, FUTURE]
    assert [REASONS[code] for code in status[4:]] == ["time_unit", "bad_time"]


@pytest.mark.parametrize(
    ("refused", "between"),
    [
        ((MEMBERS[0], '"unix_time":"x"'), '"unix_time":7x"'),
        ((MEMBERS[1], '"category_id":true'), '"category_id":7rue'),
        ((MEMBERS[1] + ",", ""), ""),
        ((MEMBERS[2] + ",", '"ip":7,'), '"ip":7::1'),
        ((MEMBERS[3] + ",", '"type":7,'), '"type":7click'),
        ((MEMBERS[3] + ",", '"type":null,'), '"type":nclick'),
        ((MEMBERS[3] + ",", ""), ""),
    ],
)
def test_record_without_four_plain_values_teaches_nothing(refused, between):
    for members in itertools.permutations(MEMBERS):
        shape = "{" + ",".join(members) + "}"
        taught, other = (filled(shape.replace(refused[0], text)) for text in (refused[1], between))
        assert difference([filled(shape), taught, other, taught, filled(shape), taught]) == ""
        assert difference([taught, other, taught]) == ""


def test_field_names_of_another_config_have_shapes_as_well():
    config = ModelConfig(fields=("t", "catégorie", 'i"p', "a\\b"))
    shape = '{"catégorie":<category>,"t":<time>,"a":1}'
    assert difference([filled(shape)] * 2 + [filled(PLAIN)] * 2, config) == ""


def test_one_byte_of_a_record_may_be_any_other():
    step = sized(9, 61)
    for k, shape in enumerate(SOME_SHAPES):
        value = filled(shape)
        broken = [
            value[:at] + bytes([byte]) + value[at + 1 :]
            for at in range(len(value))
            for byte in range((at + k) % step, 256, step)
        ]
        assert difference([value, *broken]) == ""


def test_one_byte_of_a_record_may_be_missing_or_there_twice():
    for shape in SOME_SHAPES:
        value = filled(shape)
        cuts = [value[:at] + value[at + 1 :] for at in range(len(value))]
        doubles = [value[:at] + value[at - 1 :] for at in range(1, len(value))]
        ends = [value[:at] for at in range(len(value))]
        starts = [value[at:] for at in range(len(value))]
        assert difference([value, *cuts, *doubles, *ends, *starts]) == ""


def test_batches_of_shapes_with_broken_records_are_read_as_alone():
    random = Random("broken in one place")
    for _ in range(sized(150, 8)):
        shapes = random.sample(list(SHAPES.values()), random.choice((1, 2)))
        assert difference([one_of(shapes, random) for _ in range(20)]) == ""


def one_of(shapes: list[str], random: Random) -> bytes | None:
    """Return a record of one of the shapes: good, with a strange value, or broken."""
    values = {slot: random.choice(values_of(slot)) for slot in SLOTS if random.random() < 0.2}
    record = filled(random.choice(shapes), **values)
    form = random.random()
    if form < 0.05:
        return None
    return mutated(record, random) if form < 0.4 else record


numbers = st.integers(-(2**65), 2**65).map(str) | st.integers(0, 3_000_000_000).map(str)
strange = st.sampled_from([*INTEGERS, *NOT_INTEGERS, *NO_JSON, "null"])
addresses = st.ip_addresses().map(str) | st.sampled_from([ip for ip in ADDRESSES if ip.isascii()])
records = st.builds(
    filled,
    st.sampled_from([PLAIN, SPACED]) | st.sampled_from(list(SHAPES.values())),
    time=numbers | strange,
    category=numbers | strange,
    ip=addresses,
    kind=st.sampled_from(["click", "view", *(kind for kind in KINDS if kind.isascii())]),
)
pieces = st.sampled_from(FRAGMENTS) | st.binary(max_size=3)


@st.composite
def broken_records(draw: st.DrawFn) -> bytes:
    """Draw a record with some bytes in one place replaced by others."""
    record = draw(records)
    first = draw(st.integers(0, len(record)))
    last = draw(st.integers(first, min(first + 3, len(record))))
    return record[:first] + draw(pieces) + record[last:]


@settings(max_examples=sized(300, 40))
@given(st.lists(st.none() | records | broken_records(), max_size=12), st.sampled_from([0, 1]))
def test_drawn_batches_are_read_as_alone(values, strict):
    good = [filled(PLAIN), filled(SPACED)]
    assert difference([*good, *values, *good], STRICT if strict else CONFIG) == ""
