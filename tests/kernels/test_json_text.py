"""The grammar kernels take exactly what the model's reader takes, and say where it ends."""

from __future__ import annotations

import json
import re
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels.json_text import (
    MAX_DEPTH,
    is_word,
    skip_digits,
    skip_key,
    skip_number,
    skip_space,
    skip_string,
    skip_value,
    utf8_length,
)
from tests.kernels import sized
from tests.mutations import mutated
from tests.naive_json import read_json
from tests.records import FRAGMENTS, random_value

pytestmark = pytest.mark.kernels

NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def buffer_of(text: bytes) -> np.ndarray:
    """Return the text as a kernel takes it; it ends before the buffer does."""
    return np.frombuffer(text + b'"}],:0', np.uint8)


def is_json(text: bytes) -> bool:
    """Whether the kernels take the text as one JSON value."""
    buffer, end = buffer_of(text), len(text)
    after = skip_value(buffer, skip_space(buffer, 0, end), end, 0)
    return after >= 0 and skip_space(buffer, after, end) == end


def model_is_json(text: bytes) -> bool:
    """Whether the model does."""
    try:
        read_json(text)
    except ValueError:
        return False
    return True


def test_values_good_and_broken_are_told_apart_like_the_model():
    random = Random(5)
    for _ in range(sized(3_000, 400)):
        text = random_value(random, 0).encode()
        assert is_json(text) == model_is_json(text), text
        text = mutated(text, random)
        assert is_json(text) == model_is_json(text), text


@given(st.lists(st.sampled_from(FRAGMENTS)).map(b"".join) | st.binary(max_size=20))
def test_pieces_of_json_in_any_order_are_told_apart_like_the_model(text):
    assert is_json(text) == model_is_json(text)


@pytest.mark.parametrize("opened", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_is_allowed_to_the_limit_and_no_deeper(opened):
    closed = opened.replace(b'{"a":', b"}").replace(b"[", b"]")[::-1]
    n = MAX_DEPTH // len(closed)
    assert is_json(opened * n + b"1" + closed * n)
    assert not is_json(opened * n + b"[1]" + closed * n)
    text = opened * 1_000
    assert not is_json(text)


def test_depth_counts_the_containers_that_are_open_around_the_value():
    buffer = buffer_of(b"[[1]]")
    assert skip_value(buffer, 0, 5, MAX_DEPTH - 2) == 5
    assert skip_value(buffer, 0, 5, MAX_DEPTH - 1) == -1


def valid_length(raw: bytes) -> int:
    """Return the length of the multi-byte character that the bytes begin with, or 0."""
    for length in (2, 3, 4):
        try:
            if len(raw[:length].decode()) == 1 and len(raw) >= length:
                return length
        except UnicodeDecodeError:
            continue
    return 0


def test_every_pair_of_bytes_begins_a_character_where_python_says_so():
    step = sized(1, 7)
    for lead in range(0x80, 0x100):
        for second in range(0, 0x100, step):
            for tail in (b"", b"\x80", b"\xbf\x80", b"\x80\xc0", b"A"):
                raw = bytes([lead, second]) + tail
                length = utf8_length(np.frombuffer(raw, np.uint8), 0, len(raw))
                assert length == valid_length(raw), raw


@given(st.text(max_size=12), st.booleans())
def test_strings_end_at_their_quote_and_say_whether_they_have_an_escape(text, ascii_only):
    quoted = json.dumps(text, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    after, escaped = skip_string(buffer_of(quoted), 1, len(quoted))
    assert escaped == (b"\\" in quoted)
    assert after == (len(quoted) if model_is_json(quoted) else -1)


@pytest.mark.parametrize("text", [b'"', b'"a', b'"\\', b'"\\"', b'"\\u12', b'"\x1f"', b'"\xc3"'])
def test_string_that_does_not_end_is_none(text):
    assert skip_string(buffer_of(text), 1, len(text))[0] == -1


@given(st.text("0123456789+-.eE", max_size=8).map(str.encode))
def test_numbers_are_those_of_the_grammar_and_whole_without_point_and_exponent(text):
    after, whole = skip_number(buffer_of(text), 0, len(text))
    match = NUMBER.fullmatch(text)
    assert (after == len(text)) == (match is not None)
    if match:
        assert whole == (match[1] is match[2] is None)


def test_digits_are_at_least_one():
    assert skip_digits(buffer_of(b"12a"), 0, 3) == 2
    assert skip_digits(buffer_of(b"a"), 0, 1) == -1
    assert skip_digits(buffer_of(b""), 0, 0) == -1


def test_words_must_be_there_to_their_last_letter():
    word = tuple(b"null")
    assert is_word(buffer_of(b"null"), 0, 4, word)
    assert is_word(buffer_of(b"xnully"), 1, 6, word)
    assert not is_word(buffer_of(b"nul"), 0, 3, word)
    assert not is_word(buffer_of(b"nulL"), 0, 4, word)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'"ip":1', (5, 3, False)),
        (b'"ip" \n:\t1', (8, 3, False)),
        (b'"\\u0069p":1', (10, 8, True)),
        (b'"":1', (3, 1, False)),
        (b'"ip"', (-1, -1, False)),
        (b'"ip" 1', (-1, -1, False)),
        (b"ip:1", (-1, -1, False)),
        (b'"ip', (-1, -1, False)),
        (b"", (-1, -1, False)),
    ],
)
def test_keys_end_before_their_value(text, expected):
    assert skip_key(buffer_of(text), 0, len(text)) == expected


def test_space_is_the_four_characters_of_json():
    for byte in range(256):
        expected = 1 if byte in b" \t\n\r" else 0
        assert skip_space(np.array([byte], np.uint8), 0, 1) == expected
