"""Profiles of botgen, pure: how people and bots of each kind act, as numbers of one model.

An actor comes for visits; within one, the gaps between events are lognormal, and what is looked at
is any category or a walk from one to its neighbours. A metronome is an actor whose only visit never
ends and whose gaps do not vary. Each group draws from a stream of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_network
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

FIRST_CATEGORY, N_CATEGORIES = 1000, 40
LONGEST_VISIT = 4  # times its mean


class Deeds(NamedTuple):
    """What a group does: one entry an event, time in seconds since the start, in no order."""

    time_s: NDArray[np.float64]
    actor: NDArray[np.int64]
    category: NDArray[np.int64]
    is_click: NDArray[np.bool_]


@dataclass(frozen=True)
class Profile:
    """One kind of actor; `label` is bot, human, or nothing for one that is neither to be caught.

    gap_s: median between two events of a visit; gap_spread: sigma of its logarithm. visit_events:
    mean number of events; between_visits_s: mean from one begin to the next. arrive_s: the one
    visit begins then, all within a minute. burst_s: instead of its gaps, the visit's events fall
    within so many seconds around a whole minute. moves: chance of an event to be in a neighbouring
    category, above 1 in any. behind: people behind each address.
    """

    label: str
    network: str
    gap_s: float
    gap_spread: float = 0.0
    visit_events: float = inf
    between_visits_s: float = inf
    arrive_s: float | None = None
    burst_s: float = 0.0
    click_share: float = 0.75
    moves: float = 2.0
    behind: int = 1


PERSON = Profile("human", "198.18.0.0/16", 7.0, 0.8, 25, 900, click_share=0.25, moves=0.3)
PROFILES = {
    "person": PERSON,
    "flash_crowd": Profile(
        "human", "198.19.0.0/17", 5.0, 0.8, 15, arrive_s=240, click_share=0.25, moves=0.2
    ),
    "nat": replace(PERSON, network="198.19.128.0/24", behind=30),
    "metronome": Profile("bot", "198.51.100.0/26", 2.0),
    "jittered": Profile("bot", "198.51.100.64/26", 3.0, 0.6),
    "low_and_slow": Profile("bot", "198.51.100.128/26", 20.0, 0.4),
    "boundary": Profile("bot", "198.51.100.192/26", 60.0, visit_events=16, burst_s=4.0),
    "spread_24": Profile("bot", "203.0.113.0/24", 40.0, 0.3),
    "spread_64": Profile("bot", "2001:db8:0:64::/64", 40.0, 0.3),
    "mimic": Profile("bot", "192.0.2.0/25", 4.0, 0.6, 60, 300, click_share=0.6, moves=0.6),
    "crawler": Profile("", "192.0.2.128/28", 1.0, 0.1, click_share=0.0),
}


def addresses(profile: Profile, n: int) -> list[str]:
    """Addresses of the first n actors: hosts of the network, from its second address on."""
    network = ip_network(profile.network)
    return [str(network[1 + i]) for i in range(n)]


def n_most(profile: Profile) -> int:
    """How many actors have room in the network."""
    return ip_network(profile.network).num_addresses - 2


def deeds(rng: Generator, profile: Profile, *, n: int, start_s: int, duration_s: int) -> Deeds:
    """What n actors do in so many seconds."""
    begin_s, visitor = _visits(rng, profile, n * profile.behind, start_s, duration_s)
    sizes = _visit_sizes(rng, profile, len(begin_s), duration_s)
    shape = (len(begin_s), int(sizes.max(initial=1)))
    time_s = begin_s[:, None] + _offsets(rng, profile, shape)
    happens = (np.arange(shape[1]) < sizes[:, None]) & (time_s >= 0) & (time_s < duration_s)
    category = FIRST_CATEGORY + _categories(rng, profile, shape)
    is_click = rng.random(shape) < profile.click_share
    actor = np.broadcast_to((visitor // profile.behind)[:, None], shape)
    return Deeds(time_s[happens], actor[happens], category[happens], is_click[happens])


def _visits(
    rng: Generator, profile: Profile, n: int, start_s: int, duration_s: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """When each visit begins, and whose it is; some have begun before the start."""
    everyone = np.arange(n)
    if profile.burst_s:
        minutes_s = np.arange(-start_s % 60, duration_s + 60, profile.gap_s)
        return np.tile(minutes_s, n), np.repeat(everyone, len(minutes_s))
    if profile.arrive_s is not None:
        return profile.arrive_s + 60 * rng.random(n), everyone
    if profile.between_visits_s == inf:
        return profile.gap_s * rng.random(n), everyone
    before_s = profile.gap_s * min(profile.visit_events, duration_s)
    count = rng.poisson((duration_s + before_s) / profile.between_visits_s, n)
    visitor = np.repeat(everyone, count)
    return (duration_s + before_s) * rng.random(len(visitor)) - before_s, visitor


def _visit_sizes(rng: Generator, profile: Profile, n: int, duration_s: int) -> NDArray[np.int64]:
    """How many events each visit has; one that never ends has more than the duration holds."""
    mean = profile.visit_events
    if mean == inf:
        return np.full(n, int(2 * duration_s / profile.gap_s) + 2)
    if profile.burst_s:
        return np.full(n, int(mean))
    return np.minimum(rng.geometric(1 / mean, n), int(LONGEST_VISIT * mean))


def _offsets(rng: Generator, profile: Profile, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Seconds from a visit's begin to each of its events."""
    if profile.burst_s:
        return profile.burst_s * (rng.random(shape) - 0.5)
    gaps_s = profile.gap_s * np.exp(profile.gap_spread * rng.standard_normal(shape))
    return np.cumsum(gaps_s, axis=1) - gaps_s[:, :1]


def _categories(rng: Generator, profile: Profile, shape: tuple[int, int]) -> NDArray[np.int64]:
    """The category of each event: any, or a walk from a first one to its neighbours."""
    if profile.moves > 1:
        return rng.integers(0, N_CATEGORIES, shape)
    steps = np.where(rng.random(shape) < profile.moves, rng.choice([-1, 1], shape), 0)
    return (
        rng.integers(0, N_CATEGORIES, shape[0])[:, None] + np.cumsum(steps, axis=1)
    ) % N_CATEGORIES
