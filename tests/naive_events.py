"""From the bytes of a record to an event, or to the reason why it is none.

The checks stand in the order in which they apply; the first one that fails is the reason.
Knows nothing of windows and rules. Part of the model: standard library only.
Invariant: one record is one event or one reason, whatever the bytes are.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any, NamedTuple

from tests.naive_config import ModelConfig
from tests.naive_json import read_json

JSON_SPACE = b" \t\n\r"
LAST_TIME_S = 100_000_000_000
LONGEST_ADDRESS = 45


class Event(NamedTuple):
    """What an accepted record says; the address in its one canonical form."""

    time_s: int
    category: int
    ip: str
    is_click: bool


def clean_noise(value: bytes) -> bytes:
    """Return the value without the brackets and commas of a JSON array written line by line."""
    inner = value.strip(JSON_SPACE)
    if not inner.startswith(b"[") and not inner.endswith((b",", b"]")):
        return value
    inner = inner.removeprefix(b"[")
    if inner.endswith((b",", b"]")):
        inner = inner[:-1]
    return inner.strip(JSON_SPACE)


def parse_event(value: bytes | None, timestamp_ms: int, config: ModelConfig) -> Event | str:
    """Return the event of a record, or the first reason why it is none."""
    if value is None:
        return "tombstone"
    if len(value) > config.max_bytes:
        return "too_big"
    cleaned = clean_noise(value)
    if not cleaned.strip(JSON_SPACE):
        return "blank"
    try:
        document = read_json(cleaned)
    except ValueError:
        return "not_json"
    if not isinstance(document, dict):
        return "not_object"
    return read_fields(without_envelope(document, config), timestamp_ms, config)


def without_envelope(document: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Return the object under `payload` when the document's own fields are all unusable."""
    time_s, category, ip, kind = fields_of(document, config)
    usable = is_integer(time_s) or is_integer(category) or ip is not None or kind is not None
    payload = document.get("payload")
    return payload if isinstance(payload, dict) and not usable else document


def read_fields(document: dict[str, Any], timestamp_ms: int, config: ModelConfig) -> Event | str:
    """Return the event that these fields describe, or the first reason why they do not."""
    time_s, category, ip, kind = fields_of(document, config)
    return (
        time_reject(time_s)
        or category_reject(category)
        or ip_reject(ip)
        or type_reject(kind, config)
        or future_reject(time_s, timestamp_ms, config)
        or Event(time_s, category, canonical_ip(ip), kind == "click")
    )


def fields_of(document: dict[str, Any], config: ModelConfig) -> list[Any]:
    """Return time, category, ip and type as the document has them, None where it has none."""
    return [document.get(name) for name in config.fields]


def is_integer(value: object) -> bool:
    """Whether the value was an integer literal within int64; true and false are none."""
    return type(value) is int


def time_reject(time_s: Any) -> str:
    """Return what is wrong with the event time, or nothing."""
    if time_s is None:
        return "missing_time"
    if not is_integer(time_s) or time_s <= 0:
        return "bad_time"
    return "time_unit" if time_s > LAST_TIME_S else ""


def category_reject(category: Any) -> str:
    """Return what is wrong with the category, or nothing."""
    if category is None:
        return "missing_category"
    return "" if is_integer(category) else "bad_category"


def ip_reject(ip: object) -> str:
    """Return what is wrong with the address, or nothing."""
    if ip is None:
        return "missing_ip"
    return "" if canonical_ip(ip) else "bad_ip"


def type_reject(kind: object, config: ModelConfig) -> str:
    """Return what is wrong with the type, or nothing."""
    if kind is None:
        return "missing_type"
    known = kind in ("click", "view")
    return "bad_type" if not known and config.unknown_type == "reject" else ""


def future_reject(time_s: int, timestamp_ms: int, config: ModelConfig) -> str:
    """Return `future` when the event is too far ahead of its record."""
    return "future" if time_s * 1000 > timestamp_ms + config.max_future_s * 1000 else ""


def canonical_ip(raw: object) -> str:
    """Return the one text of an address, a mapped IPv4 as IPv4; nothing when it is no address."""
    return canonical_text(raw) if isinstance(raw, str) else ""


@lru_cache(maxsize=100_000)
def canonical_text(raw: str) -> str:
    """Return the one text of an address that is written like this; addresses come many times."""
    if not raw.isascii() or len(raw) > LONGEST_ADDRESS or "%" in raw:
        return ""
    try:
        address = ipaddress.ip_address(raw)
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(address if mapped is None else mapped)
