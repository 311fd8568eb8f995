"""botgen --profile: each kind of actor acts as its profile says, and a mix is read or refused."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import tool_process
from tests.tool_process import TOOLS, tool_module

START_S, DURATION_S = 1_700_000_007, 1_200
MIXES = sorted(path.stem for path in (TOOLS / "mixes").glob("*.yaml"))


@pytest.fixture
def profiles(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return tool_module("profiles", monkeypatch)


@pytest.fixture
def mix(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return tool_module("mix", monkeypatch)


def times_of(profiles: ModuleType, name: str, n: int = 20) -> dict[int, np.ndarray]:
    """Return the times of each actor's events, in seconds since the epoch."""
    done = deeds_of(profiles, name, n)
    return {
        actor: np.sort(done.time_s[done.actor == actor]) + START_S
        for actor in np.unique(done.actor).tolist()
    }


def deeds_of(profiles: ModuleType, name: str, n: int = 20) -> Any:
    rng, span = np.random.default_rng(5), {"start_s": START_S, "duration_s": DURATION_S}
    return profiles.deeds(rng, profiles.PROFILES[name], n=n, **span)


# --- what each kind does


def test_a_metronome_never_varies_and_a_jittered_one_does(profiles: ModuleType) -> None:
    for times_s in times_of(profiles, "metronome").values():
        assert np.allclose(np.diff(times_s), 2.0)
        assert len(times_s) >= DURATION_S / 2
    for times_s in times_of(profiles, "jittered").values():
        gaps_s = np.diff(times_s)
        assert np.median(gaps_s) == pytest.approx(3.0, rel=0.2)
        assert np.std(np.log(gaps_s)) == pytest.approx(0.6, rel=0.2)


@pytest.mark.parametrize("name", ["low_and_slow", "spread_24", "spread_64"])
def test_who_is_slow_stays_under_any_limit_of_ten_seconds(profiles: ModuleType, name: str) -> None:
    for times_s in times_of(profiles, name).values():
        assert max(Counter((times_s // 10).tolist()).values()) <= 3
        assert times_s[-1] - times_s[0] > DURATION_S - 200


def test_a_burst_lies_on_both_sides_of_a_windows_border(profiles: ModuleType) -> None:
    for times_s in times_of(profiles, "boundary").values():
        from_border_s = (times_s + 30) % 60 - 30
        assert np.abs(from_border_s).max() <= 2
        assert 0.3 < np.mean(from_border_s < 0) < 0.7
        assert len(times_s) >= 16 * (DURATION_S // 60 - 1)


def test_people_come_and_go_and_look_more_than_they_click(profiles: ModuleType) -> None:
    done = deeds_of(profiles, "person", 500)
    assert np.mean(done.is_click) == pytest.approx(0.25, abs=0.02)
    n_events = np.bincount(done.actor, minlength=500)
    assert n_events.max() < 10 * 25
    assert 0.05 < np.mean(n_events == 0) < 0.5
    in_ten_s = Counter(zip(done.actor.tolist(), (done.time_s // 10).tolist(), strict=True))
    assert np.mean(np.array(list(in_ten_s.values())) > 10) < 0.001


def test_people_walk_from_one_category_to_the_next(profiles: ModuleType) -> None:
    rng, shape = np.random.default_rng(1), (50, 30)
    walked = profiles._categories(rng, profiles.PROFILES["person"], shape)
    steps = np.diff(walked, axis=1) % profiles.N_CATEGORIES
    assert set(np.unique(steps).tolist()) == {0, 1, profiles.N_CATEGORIES - 1}
    assert np.mean(steps != 0) == pytest.approx(0.3, abs=0.05)


def test_many_people_share_the_address_of_a_nat(profiles: ModuleType) -> None:
    alone, shared = (len(deeds_of(profiles, name, 10).time_s) for name in ("person", "nat"))
    assert shared > 15 * alone
    assert np.mean(deeds_of(profiles, "nat").is_click) == pytest.approx(0.25, abs=0.02)


def test_a_flash_crowd_comes_within_a_minute(profiles: ModuleType) -> None:
    first_s = [times_s[0] - START_S for times_s in times_of(profiles, "flash_crowd", 200).values()]
    assert len(first_s) == 200
    assert 240 <= min(first_s) <= max(first_s) < 300


def test_a_crawler_only_looks(profiles: ModuleType) -> None:
    assert not deeds_of(profiles, "crawler", 1).is_click.any()


# --- mixes


def generated(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    code, out, err = tool_process.run(
        folder, "botgen", "-f", "-", "--format", "ndjson", "--start", START_S, *arguments
    )
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_has_events_in_order_of_addresses_that_its_labels_name(
    name: str, tmp_path: Path, profiles: ModuleType
) -> None:
    labels_file = tmp_path / "labels.csv"
    events = generated(
        tmp_path, "--profile", name, "-d", "300", "--seed", "3", "--labels", str(labels_file)
    )
    times_s = [event["unix_time"] for event in events]
    assert times_s == sorted(times_s)
    assert START_S <= times_s[0] <= times_s[-1] < START_S + 300
    header, *lines = labels_file.read_text().splitlines()
    labels = dict(line.split(",") for line in lines)
    assert (header, set(labels.values())) == ("key,label", set(labels.values()) & {"bot", "human"})
    crawlers = ip_network(profiles.PROFILES["crawler"].network)
    unlabelled = {event["ip"] for event in events} - labels.keys()
    assert all(ip_address(ip) in crawlers for ip in unlabelled)


def test_the_same_seed_and_start_give_the_same_bytes_at_any_pace(mix: ModuleType) -> None:
    everything, seconds = mix.read_mix("everything"), range(START_S, START_S + 120)

    def text(events_per_block: int, seed: int = 8) -> list[str]:
        options = {"seed": seed, "events_per_block": events_per_block}
        frames = list(mix.blocks(everything, seconds, **options))
        assert all(frame["value"].str.contains("unix_time").all() for frame in frames)
        return [value for frame in frames for value in frame["value"]]

    assert text(1) == text(5_000) == text(1_000_000)
    assert text(1_000_000, seed=9) != text(1_000_000)


def test_a_mix_may_change_what_a_profile_says(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "groups:\n"
        "  - {profile: metronome, n: 2, gap_s: 5}\n"
        "  - {profile: metronome, n: 3, gap_s: 10, network: 10.0.0.0/24}\n"
    )
    events = generated(tmp_path, "--profile", str(own), "-d", "100", "--seed", "1")
    by_ip: dict[str, list[int]] = defaultdict(list)
    for event in events:
        by_ip[event["ip"]].append(event["unix_time"])
    assert {ip: len(times) for ip, times in by_ip.items() if ip.startswith("10.")} == {
        "10.0.0.1": 10,
        "10.0.0.2": 10,
        "10.0.0.3": 10,
    }
    assert sorted(len(times) for times in by_ip.values()) == [10, 10, 10, 20, 20]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("groups: [{profile: ghost, n: 1}]", "groups[0].profile: allowed: person, flash_crowd"),
        ("groups: [{profile: mimic, n: 0}]", "groups[0].n: 0 is refused; allowed: 1 to 126"),
        ("groups: [{profile: mimic}]", "groups[0].n: None is refused; allowed: 1 to 126"),
        ("groups: [{profile: mimic, n: 1, pace: 3}]", "groups[0]: unknown key 'pace'; allowed: "),
        ("groups: [{profile: mimic, n: 1, gap_s: fast}]", "gap_s: 'fast' is refused; allowed: a n"),
        ("groups: [{profile: mimic, n: 1, network: here}]", "allowed: a network such as 10.0.0.0"),
        ("groups: [{profile: mimic, n: 1, label: dog}]", "allowed: bot, human or an empty text"),
        ("groups: [{profile: nat, n: 1, behind: 0.5}]", "allowed: a whole number from 1"),
        ("groups: []", "a list under `groups:` is needed"),
        ("- 1", "a list under `groups:` is needed"),
        ("groups: [", "no YAML: "),
        (
            "groups: [{profile: mimic, n: 1}, {profile: mimic, n: 2}]",
            "two groups have addresses of 192.0.2.0/25; give one of them a network of its own",
        ),
    ],
)
def test_a_mix_that_is_wrong_is_refused_in_one_line(
    content: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(content)
    code, out, err = tool_process.run(tmp_path, "botgen", "--profile", "own.yaml")
    assert (code, out) == (78, b"")
    assert err.startswith("botgen: argument --profile: own.yaml: ")
    assert problem in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--profile", "ghost"), "'ghost' is no file, and none of boundary, crawler, everything"),
        (("--profile", "mimic", "-b", "5"), "so -u, -b, -n and --bot-freq go without"),
    ],
)
def test_a_mix_that_is_not_there_or_beside_numbers_is_refused(
    arguments: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    code, _, err = tool_process.run(tmp_path, "botgen", *arguments)
    assert code == 78
    assert problem in err
