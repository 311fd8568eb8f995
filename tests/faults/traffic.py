"""Logs for the fault tests: several windows, open at once, with bots and people in them."""

from __future__ import annotations

from itertools import zip_longest

from tests.end_to_end.logs import WINDOW_S, burst, event
from tests.end_to_end.rig import Rig

N_WINDOWS = 4
N_PEOPLE = 30


def windows(partition: int, start_s: int, *, n: int = N_WINDOWS) -> list[bytes]:
    """Return some windows of one partition: each begins before the one before it has ended.

    In each, one address is a bot in this partition alone, one only by what both partitions hold,
    and some are people.
    """
    found: list[bytes] = []
    for k in range(n):
        begin_s = start_s + k * WINDOW_S
        bots = burst(begin_s, f"192.0.2.{k}") if partition == k % 2 else []
        shared = burst(begin_s, f"198.18.0.{k + 10}", n=7)
        people = [event(begin_s + i % 10, f"203.0.113.{i}", category=i) for i in range(N_PEOPLE)]
        mixed = [one for pair in zip_longest(people, bots, shared) for one in pair if one]
        late, rest = mixed[: len(mixed) // 4], mixed[len(mixed) // 4 :]
        found[len(found) - len(found) // 8 :] = mix(found[len(found) - len(found) // 8 :], late)
        found += rest
    return found


def mix(*logs: list[bytes]) -> list[bytes]:
    """Return the logs mixed: one record of each in turn."""
    return [one for several in zip_longest(*logs) for one in several if one is not None]


def produce_windows(here: Rig, start_s: int, *, n: int = N_WINDOWS) -> None:
    """Produce these windows on two partitions."""
    for partition in (0, 1):
        here.produce(partition, windows(partition, start_s, n=n))


def crowd(start_s: int, *, n: int) -> list[bytes]:
    """Return one window of so many addresses."""
    return [
        event(start_s + k % WINDOW_S, f"10.{k >> 16}.{k >> 8 & 255}.{k & 255}") for k in range(n)
    ]
