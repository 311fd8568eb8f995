"""The page in this process: what it says of given metrics, and that it costs nothing when off."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.config import MetricsConf
from engine.errors import UnavailableError
from engine.kernels.decode import REASONS
from engine.kernels.triage import NEVER
from engine.metrics import Metrics
from engine.page.server import ALIVE_S, page
from engine.sources import Standing
from tests.services.process import LOOPBACK, free_port

PORT = free_port()
CLOSED_SETS = {"reason", "partition", "stage", "le"}
NAME = re.compile(r"botsieve_[a-z_]+")
Samples = dict[tuple[str, str], float]
"""By name and label, which is empty where there is none."""

NUMBERS = {
    "records_total": 101,
    "events_total": 102,
    "unknown_type_events_total": 103,
    "late_after_idle_events_total": 104,
    "replayed_events_total": 105,
    "overflow_events_total": 106,
    "windows_total": 107,
    "partial_windows_total": 108,
    "verdicts_total": 109,
    "flagged_verdicts_total": 110,
    "flagged_addresses_total": 111,
    "keys_written_total": 112,
    "keys_expired_total": 113,
    "redis_evicted_keys_total": 114,
    "data_loss_records_total": 115,
    "lag_records": 116,
    "watermark_timestamp_seconds": 117,
    "open_windows": 118,
    "keys_held": 119,
}


def full_metrics() -> Metrics:
    """Return the metrics of a run that has seen everything, each number another one."""
    metrics = Metrics()
    metrics.records, metrics.events, metrics.unknown_type = 101, 102, 103
    metrics.late_after_idle, metrics.replayed, metrics.overflow = 104, 105, 106
    metrics.windows, metrics.windows_partial, metrics.verdicts = 107, 108, 109
    metrics.flagged, metrics.addresses_flagged, metrics.keys_written = 110, 111, 112
    metrics.expired, metrics.redis_evicted_keys = 113, 114
    metrics.standing = Standing(is_paused=True, is_partial=True, n_lost=115)
    metrics.lag, metrics.watermark_s, metrics.open_windows, metrics.keys_held = 116, 117, 118, 119
    metrics.late = {0: (120, 30, 9), 3: (121, 6, 3)}
    metrics.rejected.update({"bad_ip": 122})
    metrics.stage_s.update(fetch=123.5)
    metrics.time_to_detect.add(np.array([0.015, 0.3, 100.0]))
    return metrics


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    """The metrics behind the page that is served during the test."""
    found = full_metrics()
    with page(MetricsConf(port=PORT), found):
        yield found


def get(path: str, *, port: int = PORT, host: str = LOOPBACK) -> tuple[int, str]:
    """Return status and text."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def samples() -> Samples:
    """Return the engine's own samples."""
    families = text_string_to_metric_families(get("/metrics")[1])
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("botsieve_")
    }


def test_page_shows_every_number_under_a_name_of_prometheus(metrics: Metrics) -> None:
    shown = {name.removeprefix("botsieve_"): value for (name, _), value in samples().items()}
    assert {name: int(shown[name]) for name in NUMBERS} == NUMBERS
    assert shown["sink_ready"] == shown["source_paused"] == shown["partial_view"] == 1


def test_page_counts_apart_by_labels_of_closed_sets_only(metrics: Metrics) -> None:
    found = samples()
    assert found["botsieve_late_events_total", "0"] == 120
    assert found["botsieve_late_events_total", "3"] == 121
    assert found["botsieve_rejected_records_total", "bad_ip"] == 122
    assert found["botsieve_stage_seconds_total", "fetch"] == 123.5
    reasons = {label for name, label in found if name == "botsieve_rejected_records_total"}
    assert reasons == set(REASONS[1:])
    families = list(text_string_to_metric_families(get("/metrics")[1]))
    ours = [family for family in families if family.name.startswith("botsieve_")]
    assert {label for one in ours for s in one.samples for label in s.labels} <= CLOSED_SETS
    assert all(NAME.fullmatch(family.name) and family.documentation for family in ours)
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= {f.name for f in families}


def test_page_shows_how_long_detection_took(metrics: Metrics) -> None:
    found, name = samples(), "botsieve_time_to_detect_seconds"
    counts = [found[f"{name}_bucket", edge] for edge in ("0.01", "0.02", "0.5", "60.0", "+Inf")]
    assert counts == [0, 1, 2, 2, 3]
    assert found[f"{name}_count", ""] == 3
    assert found[f"{name}_sum", ""] == pytest.approx(100.315)


def test_page_leaves_out_what_is_not_known_yet(metrics: Metrics) -> None:
    metrics.lag, metrics.watermark_s = None, NEVER
    names = {name for name, _ in samples()}
    assert names.isdisjoint({"botsieve_lag_records", "botsieve_watermark_timestamp_seconds"})


@pytest.mark.parametrize(
    ("standing", "sink_ready", "words"),
    [
        (Standing(), True, []),
        (Standing(missing="broker"), True, ["broker"]),
        (Standing(missing="topic"), False, ["topic", "redis"]),
        (Standing(missing="partitions", is_partial=True), True, ["partitions"]),
        (Standing(is_paused=True), False, ["redis", "paused"]),
    ],
)
def test_readyz_names_what_is_missing_a_word_a_line(
    standing: Standing, sink_ready: bool, words: list[str], metrics: Metrics
) -> None:
    metrics.standing, metrics.sink_ready = standing, sink_ready
    wanted = (503, "".join(f"{word}\n" for word in words)) if words else (200, "ok\n")
    assert get("/readyz") == wanted


def test_healthz_fails_when_the_source_was_not_served_for_long(metrics: Metrics) -> None:
    metrics.standing = Standing(missing="broker", served_s=time.monotonic() - ALIVE_S + 10)
    assert get("/healthz") == (200, "ok\n")
    metrics.standing.served_s -= 20
    assert get("/healthz") == (503, "silent\n")


def test_any_other_path_is_not_found_and_lists_those_that_are(metrics: Metrics) -> None:
    assert get("/") == (404, "/metrics\n/healthz\n/readyz\n")


def test_a_client_that_says_nothing_holds_up_no_other(
    metrics: Metrics, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection((LOOPBACK, PORT)) as silent:
        assert get("/healthz")[0] == 200
        silent.sendall(b"GET /metrics HTTP/1.1\r\nHost")
    assert get("/healthz")[0] == 200
    assert capfd.readouterr().err == ""


def test_f6_a_port_that_is_taken_and_a_host_that_is_not_ours_are_refused_by_their_key() -> None:
    with page(MetricsConf(port=PORT), Metrics()):
        for conf in (MetricsConf(port=PORT), MetricsConf(port=PORT, host="192.0.2.1")):
            with pytest.raises(UnavailableError, match=rf"^metrics.port: {conf.host} port {PORT}"):
                with page(conf, Metrics()):
                    pass


def test_page_can_be_served_on_an_ipv6_address() -> None:
    with page(MetricsConf(port=PORT, host="::1"), Metrics()):
        assert get("/healthz", host="::1") == (200, "ok\n")


def test_without_a_port_the_page_and_its_library_are_not_even_loaded() -> None:
    code = "import sys, engine.__main__; print('prometheus_client' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "False\n"
