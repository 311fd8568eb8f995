"""A mix of profiles: read from YAML, and the traffic of all its groups in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from ipaddress import ip_network
from itertools import combinations
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import yaml
from profiles import PROFILES, Profile, addresses, deeds, n_most
from traffic import event_json

MIXES = Path(__file__).parent / "mixes"
OWN_KEYS = {field.name for field in fields(Profile)}
AT_LEAST = {"gap_s": 0.01, "visit_events": 1, "between_visits_s": 1, "behind": 1}


class MixError(ValueError):
    """What is wrong with a mix, in one line."""


class Group(NamedTuple):
    """So many actors of one profile."""

    profile: Profile
    n: int


def names() -> list[str]:
    """The mixes that come with the tool."""
    return sorted(path.stem for path in MIXES.glob("*.yaml"))


def read_mix(name: str) -> Mix:
    """The mix of that name, or of a file; MixError for the first thing that is wrong."""
    path = MIXES / f"{name}.yaml" if name in names() else Path(name)
    if not path.is_file():
        problem = f"{name!r} is no file, and none of {', '.join(names())}"
        raise MixError(problem)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = f"{path}: no YAML: {' '.join(str(error).split())}"
        raise MixError(problem) from None
    entries = content.get("groups") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        problem = f"{path}: a list under `groups:` is needed"
        raise MixError(problem)
    return Mix([group_of(entry, f"{path}: groups[{i}]") for i, entry in enumerate(entries)], path)


def group_of(entry: Any, where: str) -> Group:
    """One entry: a profile, how many actors, and what differs from the profile."""
    if not isinstance(entry, dict) or entry.get("profile") not in PROFILES:
        problem = f"{where}.profile: allowed: {', '.join(PROFILES)}"
        raise MixError(problem)
    own = {key: value for key, value in entry.items() if key not in ("profile", "n")}
    unknown = own.keys() - OWN_KEYS
    if unknown:
        allowed = ", ".join(["profile", "n", *sorted(OWN_KEYS)])
        problem = f"{where}: unknown key {min(unknown)!r}; allowed: {allowed}"
        raise MixError(problem)
    for key, value in own.items():
        if problem := refusal(key, value):
            message = f"{where}.{key}: {value!r} is refused; allowed: {problem}"
            raise MixError(message)
    profile, n = replace(PROFILES[entry["profile"]], **own), entry.get("n")
    if type(n) is not int or not 1 <= n <= n_most(profile):
        problem = f"{where}.n: {n!r} is refused; allowed: 1 to {n_most(profile)}"
        raise MixError(problem)
    return Group(profile, n)


def refusal(key: str, value: Any) -> str:
    """What would be allowed in the place of a value, nothing where it is."""
    if key == "label":
        return "" if value in ("bot", "human", "") else "bot, human or an empty text"
    if key == "network":
        try:
            return "" if ip_network(value).num_addresses > 2 else "a network with hosts"  # noqa: PLR2004
        except ValueError:
            return "a network such as 10.0.0.0/24"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    least = AT_LEAST.get(key, 0)
    if key == "behind":
        return "" if type(value) is int and value >= least else "a whole number from 1"
    return "" if is_number and least <= value < inf else f"a number from {least:g}"


class Mix:
    """Groups whose addresses are their own."""

    def __init__(self, groups: list[Group], path: Path) -> None:
        """Refuse groups that would share addresses."""
        self.groups = groups
        for a, b in combinations(groups, 2):
            networks = [ip_network(group.profile.network) for group in (a, b)]
            if networks[0].version == networks[1].version and networks[0].overlaps(networks[1]):
                problem = f"{path}: two groups have addresses of {a.profile.network}; give one"
                problem += " of them a network of its own"
                raise MixError(problem)

    def n_events(self, _n_seconds: int) -> None:
        """Nothing: how many events there will be is known when they are drawn."""

    def labels(self) -> pl.DataFrame:
        """Frame (key, label) of all who are people or bots."""
        known = [group for group in self.groups if group.profile.label]
        return pl.DataFrame(
            {
                "key": [ip for group in known for ip in addresses(group.profile, group.n)],
                "label": np.repeat(
                    [group.profile.label for group in known], [group.n for group in known]
                ),
            }
        )

    def events(self, seconds: range, *, seed: int | None) -> pl.DataFrame:
        """Frame (time, key, category, click), in the order of time."""
        streams = np.random.default_rng(seed).spawn(len(self.groups))
        frames = []
        for group, rng in zip(self.groups, streams, strict=True):
            size = {"n": group.n, "start_s": seconds.start, "duration_s": len(seconds)}
            done = deeds(rng, group.profile, **size)
            key = pl.Series(addresses(group.profile, group.n)).gather(done.actor)
            columns = {"at": done.time_s, "key": key, "category": done.category}
            frames.append(pl.DataFrame(columns | {"click": done.is_click}))
        ordered = pl.concat(frames).sort("at", maintain_order=True)
        whole_s = pl.col("at").floor().cast(pl.Int64) + seconds.start
        return ordered.select("key", "category", "click", time=whole_s)


def blocks(
    mix: Mix, seconds: range, *, seed: int | None, events_per_block: int
) -> Iterator[pl.DataFrame]:
    """Frames (key = address, value = JSON text) of whole seconds, in time order."""
    events = mix.events(seconds, seed=seed)
    per_block = max(1, events_per_block * len(seconds) // max(1, len(events)))
    borders = range(seconds.start, seconds.stop + per_block, per_block)
    places = np.searchsorted(events["time"].to_numpy(), borders).tolist()
    for first, last in zip(places, places[1:], strict=False):
        yield events[first:last].select("key", value=event_json())
