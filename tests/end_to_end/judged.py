"""What Redis holds, or was ever told, against the model: values byte for byte, and their expiry.

`differences` and `wrong_expiries` look at the keys at the end. `wrong_writes` goes through a
recording of MONITOR: no value may ever have been wrong, whatever was killed in between.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import redis

from tests import naive
from tests.end_to_end.redis_view import held_keys
from tests.services.monitor import Command

STATISTICS, DECISION, SHADOW = "stat_", "bot_", "shadow_"
ROUNDED_UP_S, ON_THE_WAY_S = 1.0, 1.0
SHOWN = 5


def differences(client: redis.Redis, expected: naive.Judgement) -> str:
    """Return what differs between the keys and the model; nothing when they are equal."""
    decisions = {ip: value for ip, (value, _) in expected.decisions.items()}
    shadows = {ip: value for ip, (value, _) in expected.shadows.items()}
    kinds = {STATISTICS: expected.statistics, DECISION: decisions, SHADOW: shadows}
    found = []
    for prefix, values in kinds.items():
        got = {ip: held.value for ip, held in held_keys(client, prefix).items()}
        found.append(naive.explain_difference(values, got))
    return "\n".join(text for text in found if text)


def wrong_expiries(client: redis.Redis, expected: naive.Judgement) -> dict[str, float]:
    """Return by how many seconds an expiry is off, for the keys where that is too much."""
    decided = {ip: expiry_s for ip, (_, expiry_s) in expected.decisions.items()}
    kinds = {STATISTICS: expected.statistics_expiry_s, DECISION: decided}
    return {
        prefix + ip: held.expiry_s - expiries_s[ip]
        for prefix, expiries_s in kinds.items()
        for ip, held in held_keys(client, prefix).items()
        if ip in expiries_s and is_off(held.expiry_s - expiries_s[ip])
    }


def is_off(late_s: float) -> bool:
    """Whether a key expires too late: TTLs are rounded up, and take a moment to get there."""
    return not 0.0 <= late_s < ROUNDED_UP_S + ON_THE_WAY_S


class Write(NamedTuple):
    """A SET that the server executed, and what its value says of itself."""

    time_s: float
    kind: str
    ip: str
    value: bytes
    ttl_s: int
    window: naive.Window
    final: bool
    reasons: list[str]


def writes_in(commands: Iterable[Command]) -> Iterator[Write]:
    """Yield every SET of a recording, by a client or in a script, in the server's order."""
    for command in commands:
        if command.args[0].upper() != b"SET":
            continue
        _, key, value, _, ttl_s = command.args
        prefix, _, ip = key.decode().partition("_")
        claim = json.loads(value)
        window = (claim["window_start"], claim["window_end"], ip)
        what = (f"{prefix}_", ip, value, int(ttl_s), window, claim["final"], claim["reasons"])
        yield Write(command.time_s, *what)


def wrong_writes(
    writes: Iterable[Write],
    expected: naive.Judgement,
    *,
    ascending: bool = True,
    on_time: bool = True,
) -> list[str]:
    """Return the first writes that were not true; `ascending` where no restart wrote again."""
    newest_s: dict[str, int] = {}
    found = []
    for write in writes:
        problem = "" if is_true(write, expected) else "the model has no such value"
        late_s = write.time_s + write.ttl_s - expiry_s(write, expected.config)
        if on_time and is_off(late_s):
            problem = f"expires {late_s:.3f} s late"
        if write.kind == STATISTICS and ascending:
            end_s = write.window[1]
            if end_s < newest_s.get(write.ip, end_s):
                problem = "after a later window"
            newest_s[write.ip] = end_s
        if problem:
            found.append(f"{write.kind}{write.ip} {write.value.decode()}: {problem}")
    return found[:SHOWN]


def is_true(write: Write, expected: naive.Judgement) -> bool:
    """Whether the model has this value: byte for byte, or as an early one that it allows."""
    shadow = write.kind == SHADOW
    if not write.final:
        early = naive.allowed_early(write.value, expected, ip=write.ip, shadow=shadow)
        return early and write.kind != STATISTICS
    verdict = expected.verdicts.get(write.window)
    if verdict is None or (write.kind != STATISTICS and not write.reasons):
        return False
    own_s = naive.own_length_s(write.window, expected.config)
    return write.value == naive.value_of(write.window, verdict, shadow=shadow, own_window_s=own_s)


def expiry_s(write: Write, config: naive.ModelConfig) -> int:
    """Return when the value has to expire: after its window, by its longest rule."""
    ttls_s = [rule.ttl_s for rule in config.rules if rule.name in write.reasons]
    return write.window[1] + (
        config.statistics_ttl_s if write.kind == STATISTICS else max(ttls_s, default=0)
    )
