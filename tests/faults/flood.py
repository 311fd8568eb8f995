"""A window of so many addresses that no model holds them: what is right is known by arithmetic.

Address number k has one event, or as a bot many; its number says which kind, category and second.
All events of an address are in one partition, the repeated ones after the first of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl
import redis

from tests import naive
from tests.end_to_end.judged import DECISION, SHOWN, STATISTICS
from tests.end_to_end.logs import FAST_RULES, WINDOW_S
from tests.services.kafka_client import KafkaClient

N_PARTITIONS = 4
PER_BLOCK = 400_000
PER_REQUEST = 10_000
N_OF_A_BOT = 12
"""Events of a bot: more than a person makes in a window."""


class Flood(NamedTuple):
    """Addresses number 0 to n - 1; each `bot_every`th of them is a bot."""

    n: int
    start_s: int
    bot_every: int = 10_000

    @property
    def n_bots(self) -> int:
        """How many bots there are."""
        return len(range(0, self.n, self.bot_every))

    @property
    def n_events(self) -> int:
        """How many events there are."""
        return self.n + (N_OF_A_BOT - 1) * self.n_bots

    def produce(self, kafka: KafkaClient, topic: str) -> None:
        """Fill a topic of N_PARTITIONS."""
        for first in range(0, self.n, PER_BLOCK):
            for partition in range(N_PARTITIONS):
                numbers = range(first + partition, min(first + PER_BLOCK, self.n), N_PARTITIONS)
                kafka.produce_many(topic, partition, self._records(numbers))

    def _records(self, numbers: range) -> list[str]:
        k = pl.col("k")
        parts = ('{"unix_time":', ',"category_id":', ',"ip":"', '","type":"', '"}')
        begin, category, ip, kind, end = map(pl.lit, parts)
        is_click = pl.when(k % 3 == 0).then(pl.lit("click")).otherwise(pl.lit("view"))
        time = self.start_s + k % WINDOW_S
        text = pl.concat_str(begin, time, category, k % 1000, ip, _address(), kind, is_click, end)
        found = _numbers(numbers).select("k", text=text)
        bots = found.filter(k % self.bot_every == 0)["text"].to_list()
        return found["text"].to_list() + bots * (N_OF_A_BOT - 1)

    def wrong(self, client: redis.Redis, numbers: range) -> Iterator[str]:
        """Yield how statistics and decisions of these addresses differ; one may have neither."""
        for first in range(0, len(numbers), PER_REQUEST):
            some = numbers[first : first + PER_REQUEST]
            ips = addresses(some)
            kept = client.mget([STATISTICS + ip for ip in ips])
            decided = client.mget([DECISION + ip for ip in ips])
            for number, *found in zip(some, kept, decided, strict=True):
                if found != [None, None] and found != self.values(number):
                    yield f"{number}: {found}"

    def values(self, number: int) -> list[bytes | None]:
        """Return what has to be kept of an address: its statistics, and its decision if any."""
        events = N_OF_A_BOT if number % self.bot_every == 0 else 1
        clicks = events if number % 3 == 0 else 0
        counted = naive.Verdict(events, clicks, events - clicks, categories=1)
        verdict = naive.with_reasons(counted, FAST_RULES)
        value = naive.value_of((self.start_s, self.start_s + WINDOW_S), verdict)
        return [value, value if verdict.reasons else None]


def addresses(numbers: Sequence[int]) -> list[str]:
    """Return the addresses with these numbers, all different and in no order."""
    return _numbers(numbers).select(_address()).to_series().to_list()


def _numbers(numbers: Sequence[int]) -> pl.DataFrame:
    return pl.DataFrame({"k": pl.Series(numbers, dtype=pl.Int64)})


def _address() -> pl.Expr:
    word = pl.col("k") * 2_654_435_761 % (1 << 32)  # odd: no two numbers share a word
    octets = [word // (1 << shift) % 256 for shift in (24, 16, 8, 0)]
    return pl.concat_str(octets, separator=".")


def first_few(lines: Iterator[str]) -> list[str]:
    """Return some lines of what may be very many."""
    return [line for line, _ in zip(lines, range(SHOWN), strict=False)]
