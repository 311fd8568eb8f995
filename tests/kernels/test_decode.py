"""The decode kernel, branch by branch; that it equals the model is shown by test_batch_decode."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernels import decode as kernel
from engine.kernels.decode import REASONS, decode_records
from engine.kernels.fields import CLICK, read_int
from tests import naive
from tests.doubles import options_of
from tests.kernels import sized
from tests.mutations import mutated
from tests.naive import ModelConfig
from tests.records import random_record

pytestmark = pytest.mark.kernels

TIMESTAMP_MS = 1_700_000_000_000
EVENT = '{"unix_time":1000,"category_id":-7,"ip":"192.0.2.1","type":"click"}'
CODES = {reason: code for code, reason in enumerate(REASONS)}


def decoded(values: list[bytes | None], config: ModelConfig) -> kernel.Decoded:
    """Run the kernel over values that lie end to end in a buffer."""
    sizes = np.array([-1 if value is None else len(value) for value in values], np.int64)
    starts = 1 + np.concatenate([[0], np.cumsum(np.maximum(sizes, 0))[:-1]]).astype(np.int64)
    buffer = np.frombuffer(b'"' + b"".join(value or b"" for value in values) + b'"', np.uint8)
    options = options_of(config)
    timestamps_ms = np.full(len(values), TIMESTAMP_MS, np.int64)
    return decode_records(
        buffer, starts, starts + sizes, timestamps_ms, options.fields, options.max_future_ms
    )


def status_of(text: str, config: ModelConfig | None = None) -> int:
    """Return the status of one record."""
    return int(decoded([text.encode("latin-1")], config or ModelConfig()).status[0])


def test_event_has_its_four_values():
    one = decoded([EVENT.encode()], ModelConfig())
    assert (one.status[0], one.time[0], one.category[0]) == (kernel.OK, 1_000, -7)
    assert (one.high[0], one.low[0], one.kind[0]) == (0, 0xFFFFC0000201, CLICK)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "blank"),
        (" [ , ", "blank"),
        ("x", "not_json"),
        (EVENT + "x", "not_json"),
        (EVENT[:-1], "not_json"),
        ("{", "not_json"),
        ('{"a"', "not_json"),
        ('{"a":', "not_json"),
        ('{"a":1', "not_json"),
        ('{"a":1 "b":2}', "not_json"),
        ('{"a":1,}', "not_json"),
        ('{"ip":"1.2.3.4', "not_json"),
        ('{"type":"click', "not_json"),
        ('{"unix_time":01}', "not_json"),
        ('{"unix_time":-}', "not_json"),
        ("7", "not_object"),
        ("[[1]]", "not_object"),
        ("{}", "missing_time"),
        ('{"unix_time":null}', "missing_time"),
        ('{"unix_time":true}', "bad_time"),
        ('{"unix_time":1.0}', "bad_time"),
        ('{"unix_time":0}', "bad_time"),
        ('{"unix_time":99999999999999999999}', "bad_time"),
        ('{"unix_time":100000000001}', "time_unit"),
        ('{"unix_time":1}', "missing_category"),
        ('{"unix_time":1,"category_id":null}', "missing_category"),
        ('{"unix_time":1,"category_id":[]}', "bad_category"),
        ('{"unix_time":1,"category_id":-9223372036854775809}', "bad_category"),
        ('{"unix_time":1,"category_id":1}', "missing_ip"),
        ('{"unix_time":1,"category_id":1,"ip":null}', "missing_ip"),
        ('{"unix_time":1,"category_id":1,"ip":7}', "bad_ip"),
        ('{"unix_time":1,"category_id":1,"ip":"1.2.3"}', "bad_ip"),
        ('{"unix_time":1,"category_id":1,"ip":"::1"}', "missing_type"),
        ('{"unix_time":1,"category_id":1,"ip":"::1","type":null}', "missing_type"),
        ('{"unix_time":1700000901,"category_id":1,"ip":"::1","type":7}', "future"),
        ('{"payload":{"unix_time":1}}', "missing_category"),
        ('{"payload":{"payload":{"unix_time":1}}}', "missing_time"),
        ('{"payload":7,"payload":{"unix_time":1}}', "missing_time"),
        ('{"ip":"x","payload":{"unix_time":1}}', "missing_time"),
        ('{"type":[],"payload":{"unix_time":1}}', "missing_time"),
    ],
)
def test_record_that_is_no_event_says_why(text, reason):
    assert status_of(text) == CODES[reason]


def test_null_and_oversized_values_are_told_before_all_else():
    values = [None, b" " * 4_097, b" " * 4_096]
    status = decoded(values, ModelConfig()).status.tolist()
    assert status == [CODES["tombstone"], CODES["too_big"], CODES["blank"]]


def test_unknown_types_are_refused_where_the_config_says_so():
    for kind, expected in (
        ('"click"', ""),
        ('"view"', ""),
        ('"views"', "bad_type"),
        ("7", "bad_type"),
    ):
        text = EVENT.replace('"click"', kind)
        assert status_of(text, ModelConfig(unknown_type="reject")) == CODES[expected]
        assert status_of(text) == kernel.OK


@pytest.mark.parametrize(
    "text",
    [
        EVENT.replace("ip", "\\u0069p"),
        EVENT.replace("192", "\\u0031"),
        EVENT.replace("click", "clic\\u006b"),
        EVENT.replace("{", '{"\\n":1,'),
        f'{{"payload":{EVENT.replace("ip", chr(92) + "u0069p")}}}',
        f'{{"p\\u0061yload":{EVENT}}}',
    ],
)
def test_record_that_hides_what_is_read_is_left_to_the_standard_library(text):
    assert status_of(text) == kernel.ESCAPED


def test_escapes_elsewhere_hide_nothing():
    assert status_of(EVENT.replace("{", '{"a":"\\n",')) == kernel.OK


def test_random_records_have_the_status_and_the_values_of_the_model():
    random, config = Random(2), ModelConfig()
    values = [random_record(random) for _ in range(sized(3_000, 300))]
    values += [mutated(value, random) for value in values]
    got = decoded(values, config)
    for i, value in enumerate(values):
        event = naive.parse_event(value, TIMESTAMP_MS, config)
        if got.status[i] == kernel.ESCAPED:
            assert b"\\" in value
        elif isinstance(event, str):
            assert REASONS[got.status[i]] == event
        else:
            read = (got.status[i], got.time[i], got.category[i], got.kind[i] == CLICK)
            assert read == (kernel.OK, event.time_s, event.category, event.is_click)


@given(st.integers(-(10**21), 10**21))
def test_integer_literals_are_read_where_they_fit_int64(value):
    text = str(value).encode()
    fits, read = read_int(np.frombuffer(text, np.uint8), 0, len(text))
    assert fits == (-(2**63) <= value < 2**63)
    assert not fits or read == value
