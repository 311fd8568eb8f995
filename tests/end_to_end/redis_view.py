"""What Redis holds: values by address, and when each will expire, as its own clock says.

Reads only. Expiries are absolute unix seconds, so a slow test reads the same as a fast one.
"""

from __future__ import annotations

from typing import NamedTuple

import redis

N_PER_REQUEST = 10_000


class Held(NamedTuple):
    """A value and when it expires."""

    value: bytes
    expiry_s: float


def held_keys(client: redis.Redis, prefix: str) -> dict[str, Held]:
    """Return {address: held} of every key with this prefix."""
    if isinstance(client, redis.RedisCluster):
        return held_in_cluster(client, prefix)
    keys = sorted(client.scan_iter(match=f"{prefix}*", count=N_PER_REQUEST))
    found: dict[str, Held] = {}
    for first in range(0, len(keys), N_PER_REQUEST):
        some = keys[first : first + N_PER_REQUEST]
        asked = client.pipeline(transaction=False)
        asked.mget(some)
        for key in some:
            asked.pexpiretime(key)
        values, *expiries_ms = asked.execute()
        for key, value, expiry_ms in zip(some, values, expiries_ms, strict=True):
            found[key.decode().removeprefix(prefix)] = Held(value, expiry_ms / 1000)
    return found


def held_in_cluster(client: redis.RedisCluster, prefix: str) -> dict[str, Held]:
    """Return the same of all masters: no command may name keys of two slots."""
    keys = sorted(client.scan_iter(match=f"{prefix}*", count=N_PER_REQUEST))
    asked = client.pipeline()
    for key in keys:
        asked.get(key)
        asked.pexpiretime(key)
    answers = asked.execute()
    return {
        key.decode().removeprefix(prefix): Held(value, expiry_ms / 1000)
        for key, value, expiry_ms in zip(keys, answers[::2], answers[1::2], strict=True)
    }


def values_of(held: dict[str, Held]) -> dict[str, bytes]:
    """Return the values alone."""
    return {ip: one.value for ip, one in held.items()}


def held_fields(client: redis.Redis, name: str) -> dict[str, Held]:
    """Return {address: held} of every field of a hash."""
    values = client.hgetall(name)
    expiries_ms = client.hpexpiretime(name, *values)
    return {
        field.decode(): Held(value, expiry_ms / 1000)
        for (field, value), expiry_ms in zip(values.items(), expiries_ms, strict=True)
    }
