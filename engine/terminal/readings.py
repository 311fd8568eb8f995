"""What a person reads off a run: rates over the last seconds, and numbers and times as text.

Only reads, and takes no lock: the pipeline's threads never wait for whoever looks at them. A number
may so be one batch older than its neighbour. What time it is comes as an argument.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from engine.detections import Detection
from engine.kernels.triage import NEVER
from engine.metrics import Metrics

# as the view calls it -> the stages of the metrics
STAGES = {
    "fetch": ("fetch",),
    "decode": ("decode",),
    "count": ("accumulate",),
    "judge": ("judge",),
    "write": ("encode", "write"),
}
RATE_S = 5.0
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
LEAST_S = 0.9995  # what is less is not 1s when it is rounded
LONG_S = 100 * DAY_S  # from here on hours are left out
UNKNOWN = "-"


class Sample(NamedTuple):
    """The counters that become rates, at one moment."""

    at_s: float
    events: int
    keys: int
    stage_s: Mapping[str, float]


class Rates(NamedTuple):
    """Changes over the last seconds; `busy` is the share of that time that each stage took."""

    events_per_s: float
    keys_per_s: float
    busy: dict[str, float]


class Pace:
    """Keeps samples of the last seconds and tells the rates between them."""

    def __init__(self, metrics: Metrics) -> None:
        """Begin without a sample."""
        self._metrics = metrics
        self._samples: deque[Sample] = deque()

    def rates(self, now_s: float) -> Rates:
        """Take a sample and return the rates; 0 until there are two samples."""
        metrics, samples = self._metrics, self._samples
        if samples and now_s < samples[-1].at_s:
            samples.clear()  # the clock was set back
        # dict() copies in one step; a loop could meet a stage that is added meanwhile.
        stage_s = dict(metrics.stage_s)
        samples.append(Sample(now_s, metrics.events, metrics.keys_written, stage_s))
        while len(samples) > 2 and samples[1].at_s <= now_s - RATE_S:  # noqa: PLR2004 - a pair
            samples.popleft()
        return between(samples[0], samples[-1])


def between(first: Sample, last: Sample) -> Rates:
    """Return the rates between two samples."""
    passed_s = last.at_s - first.at_s
    if passed_s <= 0:
        return Rates(0.0, 0.0, dict.fromkeys(STAGES, 0.0))
    spent_s = {
        shown: sum(last.stage_s.get(name, 0) - first.stage_s.get(name, 0) for name in names)
        for shown, names in STAGES.items()
    }
    # A stage is counted when it ends, so a long one may end with more than has passed.
    busy = {name: min(spent / passed_s, 1.0) for name, spent in spent_s.items()}
    events, keys = last.events - first.events, last.keys - first.keys
    return Rates(events / passed_s, keys / passed_s, busy)


def snapshot(recent: deque[Detection]) -> list[Detection]:
    """Return what the deque holds now, oldest first, although another thread adds to it."""
    while True:
        try:
            return list(recent)
        except RuntimeError:  # it grew while it was copied
            continue


def watermark_s(metrics: Metrics) -> int | None:
    """Return the watermark, or None before there is one."""
    found = metrics.watermark_s
    return None if found is None or found == NEVER else found


def n_late(metrics: Metrics) -> int:
    """Return how many events were late, over all partitions."""
    return sum(n for n, _, _ in metrics.late.values())


def number(n: float) -> str:
    """Write a count or a rate: 1,020."""
    return f"{n:,.0f}"


def counted(n: int, word: str) -> str:
    """Write a count with its word: 1 address, 2 addresses."""
    plural = word + ("es" if word.endswith(("s", "ch")) else "s")
    return f"{number(n)} {word if n == 1 else plural}"


def listed(counts: Mapping[str, int]) -> str:
    """Write counts by name, the largest first: not_json 7, bad_ip 3."""
    found = dict(counts)  # in one step: another thread may add a name
    names = sorted(found, key=lambda name: -found[name])
    return ", ".join(f"{name} {number(found[name])}" for name in names)


def duration(seconds: float) -> str:
    """Write a duration in its two largest units: 12ms, 4.2s, 9m 58s, 2h 5m, 3d 4h, 120d."""
    if 0 < seconds < LEAST_S:
        return f"{seconds * 1000:.3g}ms"
    if round(seconds) < MINUTE_S:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    if whole < HOUR_S:
        return f"{whole // MINUTE_S}m {whole % MINUTE_S}s"
    if whole < DAY_S:
        return f"{whole // HOUR_S}h {whole % HOUR_S // MINUTE_S}m"
    if whole < LONG_S:
        return f"{whole // DAY_S}d {whole % DAY_S // HOUR_S}h"
    return f"{whole // DAY_S}d"


def whole(seconds: float) -> str:
    """Write a duration of whole seconds, which does not flicker; one below 0 is 0s."""
    return duration(max(round(seconds), 0))


def moment(at_s: float, *, now_s: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """Write a time of day, or by `form` with its date where that is not about now."""
    is_near = abs(now_s - at_s) < DAY_S
    return time.strftime("%H:%M:%S" if is_near else form, time.localtime(at_s))


def distance(at_s: float, *, now_s: float) -> str:
    """Write how far a time is from now: 4s behind, 2s ahead."""
    word = "ahead" if at_s > now_s else "behind"
    return f"{whole(abs(now_s - at_s))} {word}"


def cut(text: str, width: int) -> str:
    """Return text that fits, with two dots where it was cut."""
    if len(text) <= width:
        return text
    return (text[: max(width - 2, 0)] + "..")[: max(width, 0)]
