"""The model's reading of one record: noise, fields, numbers, addresses, types."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.naive import Event, ModelConfig, clean_noise, parse_event

CONFIG = ModelConfig()
NOW_MS = 2_000_000_000_000
EVENT = Event(1000, 7, "192.0.2.1", is_click=False)


def with_fields(**changed: bytes | None) -> bytes:
    """Return a good event with some fields written otherwise, or left out where None."""
    fields = {
        "unix_time": b"1000",
        "category_id": b"7",
        "ip": b'"192.0.2.1"',
        "type": b'"view"',
    } | changed
    members = [b'"%s":%s' % (name.encode(), raw) for name, raw in fields.items() if raw is not None]
    return b"{" + b",".join(members) + b"}"


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"1", EVENT._replace(time_s=1)),
        (b"2000000900", EVENT._replace(time_s=2_000_000_900)),
        (b"2000000901", "future"),
        (b"100000000000", "future"),
        (b"100000000001", "time_unit"),
        (b"1700000000000", "time_unit"),
        (b"9223372036854775807", "time_unit"),
        (b"9223372036854775808", "bad_time"),
        (b"18446744073709551617", "bad_time"),
        (b"9" * 3000, "bad_time"),
        (b"0", "bad_time"),
        (b"-0", "bad_time"),
        (b"-1", "bad_time"),
        (b"-9223372036854775808", "bad_time"),
        (b"1000.0", "bad_time"),
        (b"1e3", "bad_time"),
        (b"1E3", "bad_time"),
        (b'"1000"', "bad_time"),
        (b"true", "bad_time"),
        (b"[1000]", "bad_time"),
        (b"{}", "bad_time"),
        (b"null", "missing_time"),
        (None, "missing_time"),
    ],
)
def test_time_is_an_integer_literal_of_seconds(raw, answer):
    assert parse_event(with_fields(unix_time=raw), NOW_MS, CONFIG) == answer


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        (b"0", EVENT._replace(category=0)),
        (b"-0", EVENT._replace(category=0)),
        (b"-3", EVENT._replace(category=-3)),
        (b"9223372036854775807", EVENT._replace(category=2**63 - 1)),
        (b"-9223372036854775808", EVENT._replace(category=-(2**63))),
        (b"9223372036854775808", "bad_category"),
        (b"-9223372036854775809", "bad_category"),
        (b"10000000000000000000", "bad_category"),
        (b"99999999999999999999999", "bad_category"),
        (b"7.0", "bad_category"),
        (b"7e0", "bad_category"),
        (b"false", "bad_category"),
        (b'"7"', "bad_category"),
        (b"[]", "bad_category"),
        (b"null", "missing_category"),
        (None, "missing_category"),
    ],
)
def test_category_is_an_integer_literal(raw, answer):
    assert parse_event(with_fields(category_id=raw), NOW_MS, CONFIG) == answer


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"unix_time": b"0", "category_id": None, "ip": b"1", "type": None}, "bad_time"),
        ({"unix_time": b"2000000901", "category_id": b"1.0", "ip": b"1"}, "bad_category"),
        ({"unix_time": b"2000000901", "ip": b"1", "type": None}, "bad_ip"),
        ({"unix_time": b"2000000901", "ip": None, "type": None}, "missing_ip"),
        ({"unix_time": b"2000000901", "type": None}, "missing_type"),
        ({"unix_time": b"2000000901", "type": b"1"}, "bad_type"),
        ({"unix_time": b"2000000901"}, "future"),
    ],
)
def test_of_several_faults_the_first_in_the_order_is_named(broken, reason):
    strict = ModelConfig(unknown_type="reject")
    assert parse_event(with_fields(**broken), NOW_MS, strict) == reason


@given(st.ip_addresses())
def test_every_address_reads_back_as_its_canonical_text(address):
    mapped = getattr(address, "ipv4_mapped", None)
    for text in {str(address), address.exploded, address.exploded.upper()}:
        event = parse_event(with_fields(ip=json.dumps(text).encode()), NOW_MS, CONFIG)
        assert event == EVENT._replace(ip=str(mapped or address))


@given(st.integers(0, 2**32 - 1))
def test_mapped_address_is_the_ipv4_address(number):
    plain = str(ipaddress.IPv4Address(number))
    spellings = [f"::ffff:{plain}", f"0:0::FFFF:{number >> 16:x}:{number & 0xFFFF:04x}"]
    for text in spellings:
        event = parse_event(with_fields(ip=json.dumps(text).encode()), NOW_MS, CONFIG)
        assert event == EVENT._replace(ip=plain)


@given(
    st.ip_addresses().flatmap(lambda address: st.sampled_from([str(address), address.exploded])),
    st.integers(0, 45),
    st.integers(0, 2),
    st.text("0123456789abcdef:./ ", max_size=3),
)
def test_text_near_an_address_is_judged_as_the_system_does(text, at, n_cut, inserted):
    near = text[:at] + inserted + text[at + n_cut :]
    answer = parse_event(with_fields(ip=json.dumps(near).encode()), NOW_MS, CONFIG)
    assert (answer == "bad_ip") == (len(near) > 45 or not is_address_to_the_system(near))


def is_address_to_the_system(text: str) -> bool:
    """Whether the C library reads this text as an address."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, text)
            return True
    return False


SPACES = st.text(" \t\r\n", max_size=5)


@given(st.sampled_from(["", "["]), st.sampled_from(["", ",", "]"]), SPACES, SPACES, SPACES, SPACES)
def test_noise_around_an_object_goes(opening, closing, before, inside, after, end):
    noisy = f'{before}{opening}{inside}{{"a":[1]}}{after}{closing}{end}'.encode()
    assert clean_noise(noisy) == (b'{"a":[1]}' if opening or closing else noisy)
