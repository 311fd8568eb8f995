"""Slots as Redis has them: known CRCs, redis-py's own function, and whole blocks of commands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from engine.kernels.slots import crc16, places, slot_of, some_of
from engine.redis_sink import resp
from tests.kernels.test_address import text_of, words

pytestmark = pytest.mark.kernels

ASKING = resp("ASKING")
KEY = st.binary(max_size=40) | st.text("ab{}", max_size=12).map(str.encode)


def block_of(commands: list[bytes]) -> np.ndarray:
    """Return commands end to end, as they are sent."""
    return np.frombuffer(b"".join(commands), np.uint8)


def slot(key: bytes) -> int:
    """Return the slot by our kernel."""
    return slot_of(np.frombuffer(key or b"?", np.uint8), 0, len(key))


@pytest.mark.parametrize(
    ("text", "crc"), [(b"123456789", 0x31C3), (b"", 0), (b"A", 0x58E5), (b"\xff" * 4, 0x99CF)]
)
def test_crc_is_that_of_the_specification(text: bytes, crc: int) -> None:
    assert crc16(np.frombuffer(text or b"?", np.uint8), 0, len(text)) == crc


@pytest.mark.parametrize(
    ("key", "same_as"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", None),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"bot_{a", None),
        (b"bot_}a{", None),
    ],
)
def test_a_hash_tag_stands_for_the_key(key: bytes, same_as: bytes | None) -> None:
    assert slot(key) == key_slot(key)
    assert same_as is None or slot(key) == slot(same_as)


@given(KEY)
def test_slot_of_any_key_is_that_of_the_client(key: bytes) -> None:
    assert slot(key) == key_slot(key)


@given(
    st.lists(st.tuples(words, st.integers(0, 3)), min_size=1, max_size=20),
    st.sampled_from(["bot_", "{all}", "a{b", "x{1}{2}_"]),
    st.data(),
)
def test_places_in_a_block_of_any_of_our_commands(
    rows: list[tuple[int, int]], prefix: str, data: st.DataObject
) -> None:
    keys = [prefix + text_of(word) for word, _ in rows]
    kinds = [
        lambda key: resp("SET", key, "{value}", "EX", "60"),
        lambda key: resp("EVALSHA", "0" * 40, "1", key, "{value}", "60"),
        lambda key: resp("HSETEX", key, "EX", "60", "FIELDS", "1", "192.0.2.1", "{}"),
        lambda key: resp("SADD", key, ""),
    ]
    commands = [kinds[kind](key) for key, (_, kind) in zip(keys, rows, strict=True)]
    ends, slots = places(block_of(commands), len(commands))
    assert slots.tolist() == [key_slot(key.encode()) for key in keys]
    assert ends.tolist() == np.cumsum([len(command) for command in commands]).tolist()
    some = data.draw(st.lists(st.sampled_from(range(len(commands))), unique=True).map(sorted))
    for before in (b"", ASKING):
        expected = b"".join(before + commands[row] for row in some)
        ahead = np.frombuffer(before, np.uint8)
        assert some_of(block_of(commands), ends, np.array(some, np.int64), ahead).tobytes() == (
            expected
        )


def test_a_prefix_with_a_hash_tag_puts_all_keys_into_one_slot() -> None:
    commands = [resp("SET", f"{{bots}}_192.0.2.{n}", "1") for n in range(200)]
    assert set(places(block_of(commands), 200).slots.tolist()) == {key_slot(b"bots")}
