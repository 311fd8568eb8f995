"""Two readings of the same records, the engine's and the model's, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence

from engine.batch.decode import decode
from engine.detections import addresses
from engine.kernels.fields import CLICK
from tests import naive
from tests.doubles import options_of, records_of
from tests.naive import Event, ModelConfig, Row

TIMESTAMP_MS = 1_700_000_000_000
CONFIGS = {
    "default": ModelConfig(),
    "reject": ModelConfig(unknown_type="reject", max_future_s=0),
    "names": ModelConfig(fields=("t", "catégorie", 'i"p', "a\\b")),
}


def decoded(values: Sequence[bytes | None], config: ModelConfig) -> list[Event | str]:
    """Return what the engine makes of each value."""
    rows = [Row(0, i, value, TIMESTAMP_MS) for i, value in enumerate(values)]
    batch = decode(records_of(rows), options_of(config))
    found: dict[int, Event | str] = dict(batch.rejects.select("offset", "reason").iter_rows())
    frame = batch.events
    names = addresses(frame["high"].to_numpy(), frame["low"].to_numpy())
    columns = frame.select("offset", "time", "category", "kind").iter_rows()
    for ip, (offset, time_s, category, kind) in zip(names, columns, strict=True):
        found[offset] = Event(time_s, category, ip, kind == CLICK)
    assert len(found) == len(values)
    return [found[i] for i in range(len(values))]


def difference(values: Sequence[bytes | None], config: ModelConfig) -> str:
    """Return the values that the engine reads otherwise than the model."""
    expected = [naive.parse_event(value, TIMESTAMP_MS, config) for value in values]
    got = decoded(values, config)
    differing = [i for i, event in enumerate(expected) if event != got[i]]
    return "\n".join(f"{values[i]!r}: {expected[i]} but got {got[i]}" for i in differing[:5])
