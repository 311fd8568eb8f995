"""The traffic of botgen, pure: who acts in a second, what they do, and its JSON text.

No clock, no file, no Kafka: times, seed and pace enter as arguments. The same seed gives the same
events whatever the block size. Draws and text are vectorised: no loop over events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import polars as pl

N_SMALL_NET = 256 * 255  # ids that x.y.(id // 255).(id % 255) can hold
N_ADDRESSES = N_SMALL_NET + 256**3
FIRST_CATEGORY, N_USER_CATEGORIES, N_BOT_CATEGORIES = 1000, 10, 20
USER_CLICK_SHARE, BOT_CLICK_SHARE = 0.25, 0.75


@dataclass(frozen=True)
class Crowd:
    """Who acts, and how often in a second; bots are numbered on after the users."""

    n_users: int
    n_bots: int
    user_events_per_s: int
    bot_events_per_s: Fraction

    def n_events_per_bot(self, n_seconds: int) -> int:
        """Events of each bot in the first `n_seconds`; at 0.5 a second: 1, 1, 2, 2, ..."""
        return ceil(self.bot_events_per_s * n_seconds)

    def n_events(self, n_seconds: int) -> int:
        """Events of all in the first `n_seconds`."""
        return self.user_events_per_s * n_seconds + self.n_bots * self.n_events_per_bot(n_seconds)

    def addresses(self) -> pl.Series:
        """Address of each actor."""
        users = user_addresses(pl.int_range(self.n_users, eager=True))
        return pl.concat([users, bot_addresses(pl.int_range(self.n_bots, eager=True))])

    def labels(self) -> pl.DataFrame:
        """Frame (key, label) of all who can act."""
        counts = [self.n_users, self.n_bots]
        label = pl.Series(["human", "bot"]).gather(np.repeat([0, 1], counts))
        labels = pl.DataFrame({"key": self.addresses(), "label": label})
        return labels if self.user_events_per_s else labels[self.n_users :]


def user_addresses(ids: pl.Series) -> pl.Series:
    """Addresses of users: 172.10.x.x, then 173.x.x.x."""
    return _addresses(ids, small_net="172.10", large_net="173")


def bot_addresses(ids: pl.Series) -> pl.Series:
    """Addresses of bots: 172.20.x.x, then 174.x.x.x."""
    return _addresses(ids, small_net="172.20", large_net="174")


def _addresses(ids: pl.Series, *, small_net: str, large_net: str) -> pl.Series:
    number = pl.lit(ids)
    rest = number - N_SMALL_NET
    small = pl.concat_str(pl.lit(small_net), number // 255, number % 255, separator=".")
    octets = (rest // 65536, rest // 256 % 256, rest % 256)
    large = pl.concat_str(pl.lit(large_net), *octets, separator=".")
    return pl.select(pl.when(number < N_SMALL_NET).then(small).otherwise(large)).to_series()


def blocks(
    crowd: Crowd, seconds: range, *, seed: int | None, events_per_block: int
) -> Iterator[pl.DataFrame]:
    """Frames (key = address, value = JSON text) of whole seconds, in time order.

    Who acts and what they do are two random streams, so the block size does not change a byte.
    """
    actor_rng, deed_rng = np.random.default_rng(seed).spawn(2)
    addresses = crowd.addresses()
    per_block = max(1, events_per_block * len(seconds) // crowd.n_events(len(seconds)))
    for first in range(0, len(seconds), per_block):
        times = seconds[first : first + per_block]
        drawn = [_draw_actors(actor_rng, crowd, time_s - seconds.start) for time_s in times]
        actors = np.concatenate(drawn)
        deeds = _draw_deeds(deed_rng, actors >= crowd.n_users)
        time_s = np.repeat(times, [len(in_second) for in_second in drawn])
        events = pl.DataFrame({"time": time_s, "key": addresses.gather(actors), **deeds})
        yield events.select("key", value=event_json())


def _draw_actors(rng: np.random.Generator, crowd: Crowd, second: int) -> np.ndarray:
    """Who acts in the `second` since the start, users and bots in one random order."""
    users = rng.choice(crowd.n_users, crowd.user_events_per_s, replace=False, shuffle=False)
    n_events_per_bot = crowd.n_events_per_bot(second + 1) - crowd.n_events_per_bot(second)
    bots = np.repeat(np.arange(crowd.n_bots) + crowd.n_users, n_events_per_bot)
    actors = np.concatenate([users, bots]).astype(np.uint32)
    rng.shuffle(actors)
    return actors


def _draw_deeds(rng: np.random.Generator, is_bot: np.ndarray) -> dict[str, np.ndarray]:
    """A category, and whether it is a click, for each event."""
    chance = rng.random((len(is_bot), 2))
    n_categories = np.where(is_bot, N_BOT_CATEGORIES, N_USER_CATEGORIES)
    return {
        "category": FIRST_CATEGORY + (chance[:, 0] * n_categories).astype(np.int64),
        "click": chance[:, 1] < np.where(is_bot, BOT_CLICK_SHARE, USER_CLICK_SHARE),
    }


def event_json() -> pl.Expr:
    """JSON text of one event, from the columns time, category, key and click."""
    event_type = pl.when("click").then(pl.lit("click")).otherwise(pl.lit("view"))
    texts = ('{"unix_time":', ',"category_id":', ',"ip":"', '","type":"', '"}')
    opening, category, ip, kind, closing = (pl.lit(text) for text in texts)
    return pl.concat_str(
        opening, "time", category, "category", ip, "key", kind, event_type, closing
    )
