"""Array noise: the kernel and the block cleaner do what the plain model does, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.kernels.noise import clean_bounds, clean_lines
from tests.naive import clean_noise

pytestmark = pytest.mark.kernels

# Few letters, so that most draws are made of noise.
noisy = st.lists(st.sampled_from([b"[", b"]", b",", b" ", b"\t", b"\r", b'{"a":[1]}', b"x"]))
noisy_values = noisy.map(b"".join)


def clean(value: bytes) -> bytes:
    """What `clean_bounds` leaves of `value`, found inside a longer buffer."""
    before, after = b"[,] ", b" ],["
    buffer = np.frombuffer(before + value + after, dtype=np.uint8)
    start, end = clean_bounds(buffer, len(before), len(before) + len(value))
    return buffer[start:end].tobytes()


@given(noisy_values | st.binary())
@example(b"")
@example(b" \n\r\t")
@example(b"[")
@example(b"]")
@example(b",")
@example(b"[,")
@example(b" [ , ] ")
@example(b' {"a":1} ')
def test_clean_bounds_leave_what_the_model_leaves(value: bytes) -> None:
    assert clean(value) == clean_noise(value)


@pytest.mark.parametrize("line", [b"[J", b"[J,", b"J,", b"J]", b"J", b"[J]", b"\t [ J , \r"])
def test_each_form_of_an_array_line_gives_the_object(line: bytes) -> None:
    assert clean(line) == b"J"


@given(st.lists(noisy_values | st.binary().map(lambda line: line.replace(b"\n", b""))))
@example([])
@example([b""])
@example([b"[", b"", b"]", b""])
@example([b'[{"a":1},\r', b' {"a":1} \r', b'{"a":1}]'])
def test_clean_lines_cleans_each_line_and_keeps_every_line_end(lines: list[bytes]) -> None:
    expected = b"\n".join(clean_noise(line) for line in lines)
    assert clean_lines(b"\n".join(lines)) == expected


@given(st.lists(st.sampled_from([b"", b" ", b'{"a":[1]}', b' {"a":1}\t\r', b"text"])))
def test_clean_lines_changes_no_byte_where_no_noise_is(lines: list[bytes]) -> None:
    block = b"\n".join(lines)
    assert clean_lines(block) == block


def test_clean_bounds_takes_a_writable_buffer_too() -> None:
    buffer = np.array([91, 120, 44], dtype=np.uint8)
    assert clean_bounds(buffer, 0, 3) == (1, 2)
