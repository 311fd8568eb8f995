"""Decoding equals the model's reading of a record, byte for byte of whatever comes.

The many records that are compared for this are in `tests.faults.test_d_fuzz`.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.batch.decode import EVENT_SCHEMA, Records, decode, decode_options
from engine.kernels.decode import REASONS
from tests.decoding import CONFIGS, decoded, difference
from tests.doubles import options_of, records_of
from tests.mutations import mutated
from tests.naive import Event, ModelConfig, Row
from tests.records import FRAGMENTS, NAMES, random_record


def test_generated_records_meet_every_reason():
    random, config = Random(1), CONFIGS["reject"]
    values = [None, *(random_record(random) for _ in range(3_000))]
    values += [mutated(value, random) for value in values[1:]]
    got = decoded(values, config)
    assert {event for event in got if isinstance(event, str)} == set(REASONS) - {""}
    n_events = sum(isinstance(event, Event) for event in got)
    assert len(values) / 10 < n_events < len(values) / 2


json_like = st.lists(st.sampled_from([*FRAGMENTS, *(f'"{name}"'.encode() for name in NAMES)]))
records = st.randoms(use_true_random=False).map(random_record)


@settings(max_examples=300)
@given(st.lists(st.none() | st.binary(max_size=50) | json_like.map(b"".join) | records))
def test_values_of_any_kind_are_read_as_the_model_reads_them(values):
    assert difference(values, CONFIGS["default"]) == ""


@given(st.integers(-(2**64), 2**64), st.integers(-(2**64), 2**64))
def test_integers_at_the_borders_of_int64_are_read_as_the_model_reads_them(time_s, category):
    form = '{"unix_time":%d,"category_id":%d,"ip":"::1","type":"view"}'
    values = [(form % pair).encode() for pair in ((time_s, category), (1, category), (time_s, 1))]
    assert difference(values, CONFIGS["default"]) == ""


@pytest.mark.parametrize("depth", [62, 63, 64, 65])
def test_containers_nest_as_deep_as_the_model_allows(depth):
    arrays, objects = "[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth
    event = '"unix_time":1,"category_id":1,"ip":"::1","type":"view"'
    inside, enveloped = f'{{"a":{arrays},{event}}}', f'{{"payload":{{"a":{objects},{event}}}}}'
    values = [text.encode() for text in (arrays, objects, inside, enveloped)]
    assert difference(values, CONFIGS["default"]) == ""


# -- what decoding gives besides the events --------------------------------------------------------

GOOD = b'{"unix_time":1000,"category_id":7,"ip":"192.0.2.1","type":"click"}'


def test_events_keep_the_place_and_the_moment_of_their_records():
    rows = [Row(3, 10, GOOD, 5_000_000), Row(0, 4, b"nonsense", 6), Row(3, 12, GOOD, 7_000_000)]
    batch = decode(records_of(rows), options_of(ModelConfig()))
    assert dict(batch.events.schema) == EVENT_SCHEMA
    places = batch.events.select("partition", "offset", "timestamp_ms").rows()
    assert places == [(3, 10, 5_000_000), (3, 12, 7_000_000)]


def test_rejects_keep_the_place_the_reason_and_the_bytes_of_their_records():
    rows = [
        Row(0, 0, None, 0),
        Row(0, 1, b"nonsense", 0),
        Row(1, 0, GOOD, 2_000_000),
        Row(1, 1, None, 0),
        Row(1, 2, b"[ ", 0),
    ]
    batch = decode(records_of(rows), options_of(ModelConfig()))
    assert batch.rejects.rows() == [
        (0, 0, "tombstone", b""),
        (0, 1, "not_json", b"nonsense"),
        (1, 1, "tombstone", b""),
        (1, 2, "blank", b"[ "),
    ]


def test_unknown_types_are_counted_where_they_are_events():
    kinds = [b'"click"', b'"view"', b'"scroll"', b"7", b"[]", b"null"]
    rows = [Row(0, i, GOOD.replace(b'"click"', kind), 2_000_000) for i, kind in enumerate(kinds)]
    as_views = decode(records_of(rows), options_of(ModelConfig()))
    refused = decode(records_of(rows), options_of(ModelConfig(unknown_type="reject")))
    assert (len(as_views.events), as_views.n_unknown_type) == (5, 3)
    assert (len(refused.events), refused.n_unknown_type) == (2, 0)


def test_blank_lines_of_a_file_are_no_records():
    rows = [Row(0, i, value, 2_000_000) for i, value in enumerate([b"", b"[", b" ]\r", GOOD, b"x"])]
    options = decode_options(names=NAMES, reject_unknown=False, max_future_s=0, skip_blank=True)
    batch = decode(records_of(rows), options)
    assert batch.events["offset"].to_list() == [3]
    assert batch.rejects["reason"].to_list() == ["not_json"]


def test_records_may_lie_anywhere_in_their_buffer():
    buffer = np.frombuffer(b"}]" + GOOD + b'"' + GOOD + b"{", np.uint8)
    starts = np.array([2, 3 + len(GOOD)], np.int64)
    numbers = np.zeros(2, np.int64)
    records = Records(
        buffer, starts, starts + len(GOOD), numbers.astype(np.int32), numbers, numbers + 2_000_000
    )
    assert len(decode(records, options_of(ModelConfig())).events) == 2


def test_no_records_give_no_events():
    batch = decode(records_of([]), options_of(ModelConfig()))
    assert (len(batch.events), len(batch.rejects), batch.n_unknown_type) == (0, 0, 0)
