"""Row D7: broken records by the hundred thousand, read by the engine as the model reads them.

A batch is what a few producers send: records of a few shapes, with good and strange values, many
of them broken. So the short way through a record, by the shape of one before, is tried on all of
them and left in every way.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from random import Random

import numpy as np
import pytest

from engine.kernels.alike import learn, read_alike, unknown_shape
from engine.kernels.decode import OK, read_record
from engine.kernels.fields import UNKNOWN
from engine.kernels.frozen import frozen
from tests.decoding import CONFIGS, TIMESTAMP_MS, difference
from tests.doubles import options_of, records_of
from tests.mutations import mutated, split_anew
from tests.naive import ModelConfig, Row
from tests.records import NAMES, quoted, random_address, random_record
from tests.shapes import SHAPES, SLOTS, filled, values_of

BATCH, RUN = 2_000, 100
BROKEN, STRANGE, SHAPELESS, NULL = 0.4, 0.08, 0.1, 0.002
N_SPLIT = 20
SHARE_BY_SHAPE = {"default": 0.2, "reject": 0.2, "names": 0.0}  # a key that is escaped has no shape

A_MILLION = pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(900)])

Names = tuple[str, str, str, str]


def batch_of(random: Random, names: Names) -> list[bytes | None]:
    """Return the records of a batch: runs of one shape, of two that take turns, and of three."""
    values: list[bytes] = []
    while len(values) < BATCH:
        shapes = random.sample(list(SHAPES.values()), random.choice((1, 1, 1, 2, 3)))
        shapes = [with_names(shape, names) for shape in shapes]
        values += [one_of(random, shapes, names) for _ in range(RUN)]
    for _ in range(N_SPLIT):
        values = split_anew(values, random)
    return [None if random.random() < NULL else value for value in values]


def with_names(shape: str, names: Names) -> str:
    """Return the shape with other names for the four fields."""
    for name, other in zip(NAMES, names, strict=True):
        shape = shape.replace(f'"{name}"', quoted(Random(0), other, 0.0))
    return shape


def one_of(random: Random, shapes: list[str], names: Names) -> bytes:
    """Return a record, perhaps broken."""
    if random.random() < SHAPELESS:
        record = random_record(random, names)
    else:
        record = filled(random.choice(shapes), **slots(random))
    return mutated(record, random) if random.random() < BROKEN else record


def slots(random: Random) -> dict[str, str]:
    """Return what stands in the four slots: now and then something strange."""
    ordinary = {
        "time": str(random.randrange(1, 1_700_000_901)),
        "category": str(random.randrange(10 ** random.randrange(1, 19))),
        "ip": random_address(random) if random.random() < 0.3 else plain_address(random),
        "kind": random.choice(("click", "view")),
    }
    strange = {slot: random.choice(values_of(slot)) for slot in SLOTS if random.random() < STRANGE}
    return ordinary | strange


def plain_address(random: Random) -> str:
    """Return an address as most are written."""
    n = random.getrandbits(32)
    return f"2001:db8::{n % 65536:x}" if random.random() < 0.2 else str(IPv4Address(n))


def n_alike(values: list[bytes | None], config: ModelConfig) -> int:
    """Return how many records are read by their shape: the calls that `decode_records` makes."""
    records = records_of([Row(0, i, value, TIMESTAMP_MS) for i, value in enumerate(values)])
    buffer, fields = frozen(records.buffer), options_of(config).fields
    states, places, shape = np.empty(5, np.uint8), np.empty(5, np.int64), unknown_shape()
    n = 0
    for start, end in zip(records.starts.tolist(), records.ends.tolist(), strict=True):
        if read_alike(buffer, start, end, shape)[0]:
            n += 1
            continue
        status, *_, kind = read_record(buffer, start, end, fields, states, places)
        if status == OK and kind != UNKNOWN:
            learn(buffer, start, end, places, shape)
    return n


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("n_cases", [100_000, A_MILLION])
def test_d7_broken_records_of_one_shape_are_read_as_the_model_reads_them(
    n_cases: int, name: str
) -> None:
    random, config = Random(f"{n_cases} {name}"), CONFIGS[name]
    n_by_shape = n_seen = 0
    while n_seen < n_cases / len(CONFIGS):
        values = batch_of(random, config.fields)
        assert difference(values, config) == ""
        n_by_shape += n_alike(values, config)
        n_seen += len(values)
    assert n_by_shape >= SHARE_BY_SHAPE[name] * n_seen
