"""What was committed, against what Redis had acknowledged by then.

A commit says: everything before it is counted, closed, and written. So each window that holds an
accepted event before a committed offset must have been written by the time of the commit, else a
crash right after it would have lost that event.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests import naive
from tests.end_to_end.judged import DECISION, SHOWN, STATISTICS, Write, expiry_s
from tests.services.kafka_client import Commit

NEVER_S = float("inf")
CLOCK_S = 0.002
"""Redis tells microseconds, Kafka milliseconds."""


def wrong_commits(
    history: Iterable[Commit],
    log: list[naive.Row],
    writes: Iterable[Write],
    expected: naive.Judgement,
) -> list[str]:
    """Return the first commits that went back, or were ahead of what was written."""
    done_s = done_by_offset(log, written_s(writes, expected), expected)
    newest: dict[int, int] = {}
    found = []
    for commit in history:
        offsets, times_s = done_s[commit.partition]
        n_before = bisect_left(offsets, commit.offset)
        if n_before and times_s[n_before - 1] > commit.time_s + CLOCK_S:
            found.append(f"{commit}: what is before it was written at {times_s[n_before - 1]}")
        if commit.offset < newest.get(commit.partition, 0):
            found.append(f"{commit}: after {newest[commit.partition]}")
        newest[commit.partition] = commit.offset
    return found[:SHOWN]


def written_s(writes: Iterable[Write], expected: naive.Judgement) -> dict[naive.Window, float]:
    """Return when each window of each address was written: itself, or what outlasts it."""
    config, counted = expected.config, expected.counted
    by_ip: dict[tuple[str, str], list[tuple[int, bool, float]]] = defaultdict(list)
    for write in writes:
        by_ip[write.kind, write.ip].append((expiry_s(write, config), write.final, write.time_s))
    found = {}
    for window, verdict in expected.verdicts.items():
        _, end_s, ip = window
        ends_s = [(STATISTICS, end_s + config.statistics_ttl_s)] * (window in counted)
        if verdict.reasons:
            ends_s.append((DECISION, end_s + naive.longest_ttl_s(verdict.reasons, config)))
        found[window] = max((first_s(by_ip[kind, ip], s) for kind, s in ends_s), default=0.0)
    return found


def first_s(writes: list[tuple[int, bool, float]], wanted_s: int) -> float:
    """Return when what expires then, or later, was first written."""
    fits = (time_s for s, final, time_s in writes if s > wanted_s or (s == wanted_s and final))
    return min(fits, default=NEVER_S)


def done_by_offset(
    log: list[naive.Row], done_s: dict[naive.Window, float], expected: naive.Judgement
) -> dict[int, tuple[list[int], list[float]]]:
    """Return for each partition (offsets, since when all up to each of them was written)."""
    found: dict[int, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for row, event in accepted(log, expected.config):
        windows = naive.windows_of(event, expected.config)
        until_s = max(done_s[window] for window in windows)
        offsets, times_s = found[row.partition]
        offsets.append(row.offset)
        times_s.append(max(until_s, times_s[-1] if times_s else 0.0))
    return found


def accepted(
    log: list[naive.Row], config: naive.ModelConfig
) -> Iterator[tuple[naive.Row, naive.Event]]:
    """Yield each record that counts, with what it says."""
    current: list[naive.Row] = []

    def noted() -> Iterator[naive.Row]:
        for row in log:
            current[:] = [row]
            yield row

    for event in naive.accepted_events(noted(), naive.Judgement(config)):
        yield current[0], event
