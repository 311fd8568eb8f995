"""The model's reading of JSON, corner by corner of RFC 8259, and of records that hold no event."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.naive import Event, ModelConfig, parse_event
from tests.naive_json import depth_of, is_harmless, read_json

CONFIG = ModelConfig()
NOW_MS = 2_000_000_000_000
HEAD = b'{"unix_time":1000,"category_id":7,"ip":"192.0.2.1","type":"view"'
EVENT = Event(1000, 7, "192.0.2.1", is_click=False)


def with_member(member: bytes) -> bytes:
    """Return a good event with one more member, `"x":` and these bytes."""
    return HEAD + b',"x":' + member + b"}"


ACCEPTED_MEMBERS = [
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0",
    b"-0.0",
    b"1.5",
    b"1E400",
    b"1e-400",
    b"1e+7",
    b"-12.50e7",
    b"9" * 1000,
    b"-" + b"9" * 3000,
    b"0." + b"1" * 3000,
    b'""',
    b'"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\\uAbCd"',
    b'"\x7f"',
    b'"\xc2\x80\xe2\x80\xa8\xef\xbb\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf"',
    b'"NaN"',
    b'"[{[{"',
    b'"// no comment"',
    b'"\\\\"',
    b"[]",
    b"{}",
    b"[[],{},[{}]]",
    b' [ 1 ,\t2 ,\r\n{ "a" : 3 } ] ',
    b'{"":1,"":2}',
    b'{"\\ud800":1}',
    b"[" * 63 + b"]" * 63,
    b'{"a":' * 63 + b"1" + b"}" * 63,
    b"[" + b"[]," * 500 + b"[]]",
    b'"' + b"[" * 500 + b'"',
    b'"\\"' + b"{" * 100 + b'"',
]

REFUSED_MEMBERS = [
    b"",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"nan",
    b"True",
    b"None",
    b"nul",
    b"nulll",
    b"undefined",
    b"01",
    b"-01",
    b"00",
    b"+1",
    b"-",
    b"--1",
    b"1.",
    b".5",
    b"-.5",
    b"1e",
    b"1e+",
    b"1.e5",
    b"0x10",
    b"1_000",
    b"1 000",
    b"1,",
    b"'a'",
    b'"a',
    b'"a\\"',
    b'"\\"',
    b'"\\x41"',
    b'"\\u12"',
    b'"\\u12G4"',
    b'"\\u1_23"',
    b'"\\u+123"',
    b'"\\u 123"',
    b'"\\U00000041"',
    b'"\\\'"',
    b'"\\0"',
    b'"a\nb"',
    b'"a\tb"',
    b'"\x00"',
    b'"\x1f"',
    b'"\\\n"',
    b'"\xff"',
    b'"\xc0\x80"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\xe2\x80"',
    "１".encode(),
    "٣".encode(),
    b"\xc2\xa01",
    b"\x0b1",
    b"\x0c1",
    b"\x001",
    b"\xe2\x80\xa81",
    b"1/**/",
    b"1//",
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b"[1",
    b"1]",
    b"[}",
    b"{]",
    b'{"a":1,}',
    b'{"a" 1}',
    b'{"a"}',
    b"{a:1}",
    b"{1:2}",
    b'{"a":1 "b":2}',
    b'{"a"::1}',
    b"[" * 64 + b"]" * 64,
    b'{"a":' * 64 + b"1" + b"}" * 64,
    b"[" * 2000 + b"]" * 2000,
    b"[" * 3000,
]


@pytest.mark.parametrize("member", ACCEPTED_MEMBERS)
def test_json_of_the_standard_is_accepted(member):
    assert parse_event(with_member(member), NOW_MS, CONFIG) == EVENT


@pytest.mark.parametrize("member", REFUSED_MEMBERS)
def test_json_beyond_the_standard_is_refused(member):
    assert parse_event(with_member(member), NOW_MS, CONFIG) == "not_json"


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (HEAD + b"}", EVENT),
        (b" \t\r\n" + HEAD + b"\n}\r\n\t ", EVENT),
        (b"\xef\xbb\xbf" + HEAD + b"}", "not_json"),
        (HEAD + b"}\xef\xbb\xbf", "not_json"),
        ((HEAD + b"}").decode().encode("utf-16"), "not_json"),
        ((HEAD + b"}").decode().encode("utf-16-le"), "not_json"),
        ((HEAD + b"}").decode().encode("utf-32-be"), "not_json"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "not_json"),
        (HEAD, "not_json"),
        (HEAD + b"}}", "not_json"),
        (HEAD + b"}" + HEAD + b"}", "not_json"),
        (HEAD + b"}\n" + HEAD + b"}", "not_json"),
        (HEAD + b"}," + HEAD + b"}", "not_json"),
        (HEAD + b"}\x00", "not_json"),
        (HEAD + b"};", "not_json"),
        (b"\xc2\xa0", "not_json"),
        (b"\x00", "not_json"),
        (b"\x0b", "not_json"),
        (b"NaN", "not_json"),
        (b"null", "not_object"),
        (b"true", "not_object"),
        (b"-1.5e3", "not_object"),
        (b'"{}"', "not_object"),
        (b"[[]]", "not_object"),
        (b"[[{}]]", "not_object"),
        (b"[" * 65 + b"1" + b"]" * 65, "not_object"),
        (b"[" * 66 + b"1" + b"]" * 66, "not_json"),
        (b"", "blank"),
        (b"[]", "blank"),
        (b"{}", "missing_time"),
        (b"[{}", "missing_time"),
        (None, "tombstone"),
        (b" " * 4096, "blank"),
        (b" " * 4097, "too_big"),
        (b"x" * 4097, "too_big"),
    ],
)
def test_record_is_an_event_or_the_first_reason(value, answer):
    assert parse_event(value, NOW_MS, CONFIG) == answer


@given(st.binary(max_size=200) | st.text('[]{},:"\\0123eE+-.tfn u\n', max_size=60).map(str.encode))
def test_reading_any_bytes_never_fails_otherwise_than_refusing(value):
    assert isinstance(parse_event(value, NOW_MS, CONFIG), str)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
)
def test_whatever_is_written_as_json_is_read(document, indent, ensure_ascii):
    text = json.dumps(document, indent=indent, ensure_ascii=ensure_ascii)
    assert read_json(text.encode()) == document


PIECES = ["{", "}", "[", "]", ",", ":", '"', "a", "0", "1", "-", "+", ".", "e", " ", "true", "null"]


@given(st.lists(st.sampled_from([*PIECES, "Infinity", "NaN", "\\u0061", "\t"]), max_size=12))
def test_a_text_that_skips_the_lexer_is_read_as_the_lexer_would(pieces):
    text = "".join(pieces)
    if is_harmless(text) and not is_made_of_tokens(text):
        with pytest.raises(ValueError, match=r"."):
            read_json(text.encode())


@pytest.mark.parametrize(
    "text", ["NaN", "-Infinity", '"\\u0061"', '"\t"', "\ufeff1", "１", "[" * 65]
)
def test_a_suspicious_text_never_skips_the_lexer(text):
    assert not is_harmless(text)


def is_made_of_tokens(text):
    """Whether the lexer finds its way through the text."""
    try:
        depth_of(text)
    except ValueError:
        return False
    return True
