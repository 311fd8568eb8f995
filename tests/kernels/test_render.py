"""Rendered bytes: values as the model writes them, commands as a Redis would read them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels import render as form
from engine.redis_scripts import KEEP_LATER, KEEP_LATER_FIELD, sha1
from engine.redis_sink import add_member, set_field, set_key
from tests import naive
from tests.kernels.test_address import text_of, words

pytestmark = pytest.mark.kernels

COUNT = st.integers(0, 2**32 - 1) | st.sampled_from([0, 9, 10, 2**32 - 1])
NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True), unique=True, max_size=64)
PREFIX = st.text("abc_:{}*", max_size=6)
verdicts = st.builds(
    lambda events, clicks, categories, saturated: naive.Verdict(
        max(events, clicks), clicks, max(events, clicks) - clicks, categories, saturated
    ),
    *(COUNT, COUNT, st.integers(0, 65_535), st.booleans()),
)
rows_drawn = st.tuples(words, verdicts, st.integers(0, 2**64 - 1), st.integers(1, 2 * 10**9))
windows = st.integers(-86_400, 10**11).map(lambda start_s: (start_s, start_s + 86_400))

Drawn = tuple[int, naive.Verdict, int, int]
"""128 bits of address, verdict, mask of the rules that fired, TTL."""


def columns_of(drawn: list[Drawn]) -> form.Rows:
    """Return rows as the renderer takes them."""
    counted = [verdict for _, verdict, _, _ in drawn]
    return form.Rows(
        np.array([value >> 64 for value, *_ in drawn], np.uint64),
        np.array([value & 2**64 - 1 for value, *_ in drawn], np.uint64),
        np.array([verdict.events for verdict in counted], np.uint32),
        np.array([verdict.clicks for verdict in counted], np.uint32),
        np.array([verdict.categories for verdict in counted], np.uint32),
        np.array([verdict.saturated for verdict in counted], np.uint8),
        np.array([mask for _, _, mask, _ in drawn], np.uint64),
        np.array([ttl_s for *_, ttl_s in drawn], np.int64),
    )


def value_of(window: tuple[int, int], drawn: Drawn, names: list[str], *, final: bool) -> bytes:
    """Return the value as the model writes it."""
    _, verdict, mask, _ = drawn
    fired = tuple(name for i, name in enumerate(names) if mask >> i & 1)
    return naive.value_of(window, verdict._replace(reasons=fired), final=final)


def pieces(plan: form.Template, drawn: list[Drawn], values: form.ValueForm) -> list[bytes]:
    """Render rows one by one, and all of them at once; none is longer than it was said to be."""
    row_bytes = form.row_bytes(plan, values)
    block = form.render(columns_of(drawn), values, plan, row_bytes)
    alone = [form.render(columns_of([one]), values, plan, row_bytes) for one in drawn]
    found = [piece.tobytes() for piece in alone]
    assert b"".join(found) == block.tobytes()
    assert max(map(len, found), default=0) <= row_bytes
    return found


def command(piece: bytes) -> list[bytes]:
    """Read one command of the Redis protocol, all of the bytes."""
    head, rest = piece.split(b"\r\n", 1)
    assert head[:1] == b"*"
    read = []
    for _ in range(int(head[1:])):
        size, rest = rest.split(b"\r\n", 1)
        assert size[:1] == b"$"
        n = int(size[1:])
        assert rest[n : n + 2] == b"\r\n"
        read.append(rest[:n])
        rest = rest[n + 2 :]
    assert rest == b""
    return read


@given(st.lists(rows_drawn, max_size=5), windows, NAMES, st.booleans())
def test_values_are_those_of_the_model(drawn, window, names, final):
    values = form.value_form(start_s=window[0], end_s=window[1], final=final, reasons=names)
    plan = form.template(form.ADDRESS, b"\t", form.VALUE, b"\n")
    expected = [
        text_of(one[0]).encode() + b"\t" + value_of(window, one, names, final=final) + b"\n"
        for one in drawn
    ]
    assert pieces(plan, drawn, values) == expected


@given(st.lists(rows_drawn, max_size=5), windows, NAMES.filter(len), st.booleans())
def test_values_over_a_rules_own_window_name_the_first_rule_and_the_window(
    drawn, window, names, final
):
    flagged = [
        (ip, verdict, mask | 1 << mask % len(names), ttl) for ip, verdict, mask, ttl in drawn
    ]
    values = form.value_form(
        start_s=window[0], end_s=window[1], final=final, reasons=names, is_base=False
    )
    expected = []
    for _, verdict, mask, _ in flagged:
        fired = tuple(name for i, name in enumerate(names) if mask >> i & 1)
        own = {"final": final, "own_window_s": window[1] - window[0]}
        expected.append(naive.value_of(window, verdict._replace(reasons=fired), **own))
    assert pieces(form.template(form.VALUE), flagged, values) == expected


@st.composite
def rendered(draw):
    """Draw rows; return them, the form of their values, and each one's address, value and TTL."""
    drawn = draw(st.lists(rows_drawn, max_size=4))
    window, names, final = draw(windows), draw(NAMES), draw(st.booleans())
    values = form.value_form(start_s=window[0], end_s=window[1], final=final, reasons=names)
    things = [
        (text_of(one[0]).encode(), value_of(window, one, names, final=final), b"%d" % one[3])
        for one in drawn
    ]
    return drawn, values, things


@given(rendered(), PREFIX)
def test_key_is_written_by_set_and_compared_first_by_a_script(drawn, prefix):
    rows, values, things = drawn
    layout, script = set_key(prefix), sha1(KEEP_LATER).encode()
    keyed = [(prefix.encode() + ip, value, ttl) for ip, value, ttl in things]
    first = [command(piece) for piece in pieces(layout.first, rows, values)]
    again = [command(piece) for piece in pieces(layout.again, rows, values)]
    assert first == [[b"EVALSHA", script, b"1", key, value, ttl] for key, value, ttl in keyed]
    assert again == [[b"SET", key, value, b"EX", ttl] for key, value, ttl in keyed]


@given(rendered())
def test_field_is_written_by_hsetex_and_compared_first_by_a_script(drawn):
    rows, values, things = drawn
    layout, script = set_field("bots"), [b"EVALSHA", sha1(KEEP_LATER_FIELD).encode(), b"1", b"bots"]
    first = [command(piece) for piece in pieces(layout.first, rows, values)]
    again = [command(piece) for piece in pieces(layout.again, rows, values)]
    assert first == [[*script, ip, value, ttl] for ip, value, ttl in things]
    hsetex = [b"HSETEX", b"bots", b"EX"]
    assert again == [[*hsetex, ttl, b"FIELDS", b"1", ip, value] for ip, value, ttl in things]


@given(rendered())
def test_member_of_a_set_is_the_line_of_the_original_job(drawn):
    rows, values, things = drawn
    layout = add_member("bots")
    expected = []
    for (ip, _, _), (_, verdict, _, _) in zip(things, rows, strict=True):
        rates = f"event rate: {verdict.events}, clickRate: {verdict.clicks}"
        others = f"viewRate: {verdict.views}, categories: {verdict.categories}"
        expected.append([b"SADD", b"bots", b"ip: " + ip + f", {rates}, {others}".encode()])
    assert [command(piece) for piece in pieces(layout.first, rows, values)] == expected
    assert [command(piece) for piece in pieces(layout.again, rows, values)] == expected


def test_longest_row_fits_into_the_bytes_that_are_set_aside():
    names = [f"{i:02}".rjust(64, "a") for i in range(64)]
    row = (
        2**128 - 1,
        naive.Verdict(2**32 - 1, 0, 2**32 - 1, 2**32 - 1, True),
        2**64 - 1,
        2**63 - 1,
    )
    window = (-(10**12), 10**18)
    values = form.value_form(
        start_s=window[0], end_s=window[1], final=False, reasons=names, is_base=False
    )
    for layout in (set_key("p" * 200), set_field("h" * 200), add_member("s" * 200)):
        for plan in (layout.first, layout.again):
            assert len(pieces(plan, [row, row], values)) == 2


def test_parts_are_written_in_the_order_of_the_template_and_texts_in_theirs():
    parts = (b"<", form.KEY, b"|", form.TTL, form.ADDRESS + form.BULK, b">")
    plan = form.template(*parts, prefix=b"k_")
    values = form.value_form(start_s=0, end_s=1, final=True, reasons=[])
    row = (0xFFFF << 32 | 1, naive.Verdict(1, 0, 1, 1), 0, 600)
    assert pieces(plan, [row], values) == [b"<k_0.0.0.1|600$7\r\n0.0.0.1\r\n>"]


def test_no_rows_are_no_bytes():
    values = form.value_form(start_s=0, end_s=1, final=True, reasons=["a"])
    assert pieces(form.template(form.VALUE), [], values) == []
