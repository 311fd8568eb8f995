"""Rows D3 to D8: documents written by hand, refused for the stated reason or the stated event.

All stand in one batch with good records between them, so a document that touched a neighbour, or
that made a row more or less, shows at that neighbour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from tests import naive
from tests.decoding import CONFIGS, TIMESTAMP_MS, decoded
from tests.faults import accepted, refused
from tests.faults.refused import CATEGORY, EVENT, GOOD, TIME, TYPE, with_field
from tests.naive import Event

Expected = list[tuple[bytes | None, Event | str]]


def with_value(value: bytes) -> Iterator[bytes]:
    """Yield records that are events but for a member with this value, in front and behind."""
    yield b'{"x":%s,%s}' % (value, EVENT)
    yield b'{%s,"x":%s}' % (EVENT, value)


def reads(documents: Iterable[tuple[bytes | None, Event | str]], *, n_between: int = 1) -> None:
    """Check that model and engine read each as expected, with good records between them."""
    good = [(GOOD, accepted.EXPECTED)]
    listed: Expected = [
        *good,
        *(pair for document in documents for pair in [document, *good * n_between]),
        *good,
    ]
    values = [value for value, _ in listed]
    expected = dict(enumerate(listed))
    by_model = [naive.parse_event(value, TIMESTAMP_MS, CONFIGS["default"]) for value in values]
    by_engine = decoded(values, CONFIGS["default"])
    for got in (by_model, by_engine):
        found = dict(enumerate(zip(values, got, strict=True)))
        assert naive.explain_difference(expected, found) == ""


def test_d3_values_that_are_no_json_are_refused_wherever_they_stand() -> None:
    reads((record, "not_json") for value in refused.VALUES.values() for record in with_value(value))


def test_d3_records_are_refused_for_the_stated_reason() -> None:
    reads((value, reason) for reason, value in refused.RECORDS.values())


def test_d3_values_that_are_json_are_accepted_wherever_they_stand() -> None:
    reads(
        (record, accepted.EXPECTED)
        for value in accepted.VALUES.values()
        for record in with_value(value)
    )


def test_d3_strange_records_are_the_stated_events() -> None:
    reads(accepted.RECORDS.values())


def test_d3_no_document_is_there_twice() -> None:
    values = [*refused.VALUES.values(), *accepted.VALUES.values()]
    records = [value for _, value in refused.RECORDS.values()]
    records += [value for value, _ in accepted.RECORDS.values()]
    assert len(set(values)) == len(values)
    assert len(set(records)) == len(records)
    assert len(refused.VALUES) + len(refused.RECORDS) >= 200


HALVES = GOOD[:30], GOOD[30:]


@pytest.mark.parametrize(
    "injected",
    [
        [GOOD + b"\n" + GOOD],
        [GOOD + b"," + GOOD],
        [GOOD + b"\r\n" + GOOD + b"\n"],
        [b"[" + GOOD + b",\n" + GOOD + b"]"],
        [GOOD + b"}\n{" + GOOD],
        # two that heal each other where records are glued together: the height still matches
        [HALVES[0], HALVES[1]],
        [GOOD + b"," + HALVES[0], HALVES[1]],
        [HALVES[0], HALVES[1] + b"," + GOOD],
        [GOOD + b"\n" + HALVES[0], HALVES[1]],
        [b'{"x":[', b"]," + EVENT + b"}"],
        [b'{"x":"', b'",' + EVENT + b"}"],
        [GOOD + b"/*", b"*/" + GOOD],
        [GOOD[:-1] + b',"x":"', b'"}'],
    ],
)
def test_d4_injected_rows_are_none_and_their_neighbours_exact(injected: list[bytes]) -> None:
    for n_between in (0, 1):
        reads(((value, "not_json") for value in injected * 3), n_between=n_between)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e308", "1e400", "1" * 40])
def test_d6_number_that_is_no_integer_of_64_bits_is_refused(number: str) -> None:
    is_json = number[-1].isdigit()
    reads(
        (with_field(field, name + number.encode()), reason if is_json else "not_json")
        for field, name, reason in (
            (TIME, b'"unix_time":', "bad_time"),
            (CATEGORY, b'"category_id":', "bad_category"),
        )
    )


def test_d6_minus_zero_is_zero() -> None:
    reads(
        [
            (with_field(TIME, b'"unix_time":-0'), "bad_time"),
            (with_field(CATEGORY, b'"category_id":-0'), accepted.EXPECTED._replace(category=0)),
        ]
    )


@pytest.mark.parametrize(
    ("text", "ip"),
    [
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8::0.0.0.1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::FFFF:102:304", "1.2.3.4"),
        ("0:0:0:0:0:ffff:1.2.3.4", "1.2.3.4"),
        ("1.2.3.4", "1.2.3.4"),
        (
            "ABCD:ABCD:ABCD:ABCD:ABCD:ABCD:192.168.158.190",
            "abcd:abcd:abcd:abcd:abcd:abcd:c0a8:9ebe",
        ),
    ],
)
def test_d1_address_has_one_key_however_it_is_written(text: str, ip: str) -> None:
    reads([(with_field(b"192.0.2.1", text.encode()), accepted.EXPECTED._replace(ip=ip))])


@pytest.mark.parametrize(
    "text", ["01.2.3.4", "1.2.3.04", "001.2.3.4", "::ffff:1.2.3.04", "::01.2.3.4"]
)
def test_d1_address_with_a_zero_in_front_is_refused(text: str) -> None:
    reads([(with_field(b"192.0.2.1", text.encode()), "bad_ip")])


@pytest.mark.parametrize(
    ("kind", "is_click"),
    [
        ('"click"', True),
        ('"cl\\u0069ck"', True),
        ('"view"', False),
        ('"CLICK"', False),
        ('"Click "', False),
        ('"scroll"', False),
        ('""', False),
        ("1", False),
        ("true", False),
        ('["click"]', False),
        ('{"click":"click"}', False),
    ],
)
def test_d8_type_that_is_not_click_is_a_view(kind: str, is_click: bool) -> None:
    reads([(with_field(b'"click"', kind.encode()), accepted.EXPECTED._replace(is_click=is_click))])


@pytest.mark.parametrize("kind", ['"CLICK"', '"Click "', '"scroll"', '""', "1", "true", "[]"])
def test_d8_type_that_is_unknown_is_refused_where_the_config_says_so(kind: str) -> None:
    value = with_field(b'"click"', kind.encode())
    good, bad, missing = decoded([GOOD, value, with_field(TYPE, b'"type":null')], CONFIGS["reject"])
    assert (good, bad, missing) == (accepted.EXPECTED, "bad_type", "missing_type")
