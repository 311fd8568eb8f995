"""What a run has done, in the words of Prometheus: read off `Metrics` when the page is asked for.

Nothing is counted for it, so it costs nothing in between. A label takes its values from a closed
set (reasons, partitions, stages); an address is never one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from engine.kernels.decode import REASONS
from engine.kernels.triage import NEVER
from engine.metrics import Metrics

PREFIX = "botsieve_"
DETECT_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)


class RunCollector(Collector):
    """The families of one run."""

    def __init__(self, metrics: Metrics) -> None:
        """Read these, now and then."""
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield every family as it is now; counters get their `_total` from the library."""
        for name, (value, meaning) in counters(self._metrics).items():
            yield CounterMetricFamily(PREFIX + name, meaning, value)
        for name, (level, meaning) in gauges(self._metrics).items():
            yield GaugeMetricFamily(PREFIX + name, meaning, level)
        yield from labelled(self._metrics)
        yield time_to_detect(self._metrics)


def counters(metrics: Metrics) -> dict[str, tuple[int, str]]:
    """Return the value and the meaning of each plain counter."""
    return {
        "records": (metrics.records, "Records that were read."),
        "events": (metrics.events, "Records that are events."),
        "unknown_type_events": (metrics.unknown_type, "Events that are neither click nor view."),
        "late_after_idle_events": (metrics.late_after_idle, "Late since their partition was idle."),
        "replayed_events": (metrics.replayed, "Events of windows that were acknowledged before."),
        "key_mismatch_records": (metrics.key_mismatch, "Sampled, with a key that is not the ip."),
        "overflow_events": (metrics.overflow, "Events left out beyond window.max_keys."),
        "windows": (metrics.windows, "Windows that were closed."),
        "partial_windows": (metrics.windows_partial, "Of these, begun before the first record."),
        "verdicts": (metrics.verdicts, "Addresses that were judged at the close of a window."),
        "flagged_verdicts": (metrics.flagged, "Of these, flagged."),
        "flagged_addresses": (metrics.addresses_flagged, "Different addresses that were flagged."),
        "keys_written": (metrics.keys_written, "Keys that the sink has acknowledged."),
        "keys_expired": (metrics.expired, "Keys not written, since their time was over."),
        "redis_evicted_keys": (metrics.redis_evicted_keys, "Keys that Redis dropped to make room."),
        "data_loss_records": (metrics.standing.n_lost, "Records deleted before they were counted."),
    }


def gauges(metrics: Metrics) -> dict[str, tuple[float | None, str]]:
    """Return the level and the meaning of each gauge; what is not known has no sample."""
    standing, reached_s = metrics.standing, metrics.watermark_s
    return {
        "lag_records": (metrics.lag, "Records that are still to be read."),
        "watermark_timestamp_seconds": (
            None if reached_s == NEVER else reached_s,
            "Event time up to which windows are closed.",
        ),
        "open_windows": (metrics.open_windows, "Windows that are open, as panes."),
        "keys_held": (metrics.keys_held, "Addresses in all open windows."),
        "sink_ready": (metrics.sink_ready, "Whether the sink answered last."),
        "source_paused": (standing.is_paused, "Whether nothing is read until more is written."),
        "partial_view": (standing.is_partial, "Whether another engine holds a part of the topic."),
    }


def labelled(metrics: Metrics) -> Iterator[Metric]:
    """Yield what is counted apart; `dict` copies in one step what another thread adds to."""
    rejected = dict.fromkeys(REASONS[1:], 0) | dict(metrics.rejected)
    yield by_label("rejected_records", "Records that are no event.", "reason", rejected)
    late = {str(partition): n for partition, (n, _, _) in metrics.late.items()}
    yield by_label("late_events", "Later than window.delay_s.", "partition", late)
    spent_s = dict(metrics.stage_s)
    yield by_label("stage_seconds", "Time that each stage has taken.", "stage", spent_s)


def by_label(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a counter with one value for each label."""
    family = CounterMetricFamily(PREFIX + name, meaning, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family


def time_to_detect(metrics: Metrics) -> Metric:
    """Return the times from the event that crossed a limit to the written decision."""
    histogram = metrics.time_to_detect
    edges = [*map(str, DETECT_S), "+Inf"]
    buckets = list(zip(edges, histogram.at_most(DETECT_S), strict=True))
    meaning = "From the event that crossed a limit to the written decision."
    return HistogramMetricFamily(
        f"{PREFIX}time_to_detect_seconds", meaning, buckets, histogram.sum_s
    )
