"""The end of a run: the summary for a person, the one for programs, and how to look at the keys."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.metrics import Metrics
from engine.sink_config import PrefixConf
from engine.terminal.summary import lines_how_to_look, summary_text, write_json
from tests.services.valkey import ValkeyServer

ANSI = re.compile(r"\x1b\[[0-9;]*m")
IP = "203.0.113.7"


def full_summary(**changes: Any) -> dict[str, Any]:
    """Return the summary of a run that has seen everything."""
    metrics = Metrics(started_s=100.0, first_fetch_s=102.2, last_ack_s=185.2)
    metrics.events, metrics.records, metrics.unknown_type, metrics.overflow = 102_000, 102_010, 4, 3
    metrics.late, metrics.late_after_idle = {0: (10, 30, 9), 1: (2, 6, 3)}, 1
    metrics.standing.n_lost, metrics.redis_evicted_keys = 1, 2_000
    metrics.rejected.update({"bad_ip": 3, "not_json": 7})
    metrics.windows, metrics.windows_partial, metrics.verdicts, metrics.flagged = 12, 1, 10_020, 35
    metrics.flagged_by_reason.update({"click_view_rate": 8, "event_rate": 30})
    metrics.addresses_flagged, metrics.keys_written, metrics.expired = 3, 12_034, 12
    metrics.suppressed_allowlisted, metrics.guard_tripped = 4, 1
    metrics.time_to_detect.add(np.array([0.01] * 10 + [1.3]))
    metrics.stage_s.update(fetch=71, decode=2, write=12)
    scores = {"precision": 0.98, "recall": None, "labelled": 1020, "unlabelled": 0}
    return metrics.summary() | {"cpu_s": 20.4, "peak_rss_mb": 345.2} | scores | changes


def lines_by_label(text: str) -> dict[str, str]:
    """Return the lines of a summary by their labels."""
    return dict(re.findall(r"^(\w+(?: \w+)?) {2,}(\S.*)$", text, re.MULTILINE))


def test_summary_of_a_run_without_an_event_is_all_zeros() -> None:
    lines = lines_by_label(summary_text(Metrics().summary(), color=False, width=80))
    assert lines["events"] == "0 in 0s, 0/s"
    assert lines["late"] == lines["rejected"] == lines["windows"] == "0"
    assert lines["flagged"] == "0 addresses"
    assert lines.keys().isdisjoint(
        {"labels", "detected", "reasons", "stages", "left out", "allowed", "held"}
    )


def test_summary_says_everything_in_few_aligned_lines() -> None:
    text = summary_text(full_summary(), color=False, width=80)
    assert lines_by_label(text) == {
        "events": "102,000 in 1m 23s, 1,229/s",
        "late": "12, by 3s on average, 9s at most, 1 after a partition was idle",
        "rejected": "10: not_json 7, bad_ip 3",
        "other type": "4 neither click nor view",
        "left out": "3 events beyond window.max_keys",
        "lost": "1 uncounted record that Kafka had deleted",
        "windows": "12, 1 of them partial: their beginning was not read",
        "verdicts": "10,020, 35 of them flagged",
        "flagged": "3 addresses",
        "allowed": "4 verdicts without a decision: of addresses on the allowlist",
        "held": "1 window without decisions: over guard.max_flagged_share",
        "reasons": "event_rate 30, click_view_rate 8",
        "labels": "precision 0.980, recall - over 1,020 labelled addresses",
        "detected": "10.1ms p50, 1.3s p95, 1.3s max after the limit was crossed",
        "keys": "12,034 written, 12 not written since they had expired",
        "evicted": "2,000 keys by Redis, for lack of memory, before their time was over",
        "cpu": "20.4s, 3m 20s a million events",
        "memory": "345 MB at the peak",
        "start": "2.2s until the first event",
        "stages": "fetch 1m 11s, decode 2s, write 12s",
    }
    columns = {re.match(r"\w+(?: \w+)? +", line).end() for line in text.splitlines() if line}  # type: ignore[union-attr]
    assert len(columns) == 1
    assert len(text.splitlines()) <= 25


def test_summary_of_a_short_run_gives_no_cost_of_an_event() -> None:
    lines = lines_by_label(summary_text(full_summary(events=900), color=False, width=80))
    assert lines["cpu"] == "20.4s"


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("color", [True, False])
def test_summary_fits_its_width_and_loses_nothing(width: int, color: bool) -> None:
    text = summary_text(full_summary(keys_written=0), color=color, width=width)
    plain = ANSI.sub("", text)
    assert (plain != text) is color
    assert max(map(len, plain.splitlines())) <= width
    words = ANSI.sub("", summary_text(full_summary(keys_written=0), color=False, width=500)).split()
    assert plain.split() == words


def test_summary_has_no_colours_where_none_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in summary_text(full_summary(), color=False, width=80)


@pytest.mark.parametrize(
    ("written", "expired", "is_said"), [(0, 12, True), (1, 12, False), (0, 0, False)]
)
def test_summary_explains_why_nothing_was_written(
    written: int, expired: int, is_said: bool
) -> None:
    summary = full_summary(keys_written=written, decisions_expired=expired)
    text = " ".join(summary_text(summary, color=False, width=80).split())
    assert ("All decisions had expired" in text) is is_said
    assert ("ttl.clock=write" in text) is is_said


# -- for programs ------------------------------------------------------------------------------


def test_write_json_writes_json(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(str(path), full_summary(), key="summary.json")
    assert json.loads(path.read_text()) == full_summary()
    assert path.read_text().endswith("}\n")


def test_write_json_replaces_a_file_in_one_step(tmp_path: Path) -> None:
    path, link = tmp_path / "summary.json", tmp_path / "link.json"
    path.write_text("what was there before")
    link.symlink_to(path)
    with path.open() as reader:
        write_json(str(link), {"events": 1}, key="summary.json")
        assert reader.read() == "what was there before"
    assert json.loads(path.read_text()) == {"events": 1}
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_write_json_leaves_what_was_there_when_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text("what was there before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(ConfigError, match="cannot be written"):
            write_json(str(path), full_summary(), key="summary.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_write_json_writes_into_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_json(str(pipe), {"events": 1}, key="summary.json")
    reader.join(30)
    assert json.loads(read[0]) == {"events": 1}
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    "name", ["no/such/folder.json", ".", "file/summary.json", "x" * 300, "a\0b"]
)
def test_write_json_says_where_it_cannot_write(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = os.path.join(tmp_path, name)
    with pytest.raises(ConfigError, match=r"^summary\.json: .* cannot be written \(.+\)") as raised:
        write_json(path, {"events": 1}, key="summary.json")
    assert raised.value.key == "summary.json"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


# -- how to look at the keys -------------------------------------------------------------------


def commands_in(text: str) -> list[list[str]]:
    """Return the commands as a shell would split them."""
    return [shlex.split(line) for line in text.splitlines() if line.startswith("  ")]


def looked_up(url: str, layout: str, *, decision: str = "bot_", statistics: str = "stat_") -> str:
    prefixes = PrefixConf(decision=decision, statistics=statistics)
    return lines_how_to_look(url, layout, prefixes=prefixes, example=IP, saved=None)


@pytest.mark.parametrize("prefix", ["bot_", "it's [b]o*t? "])
def test_commands_show_the_keys_of_the_layout_keys(prefix: str, valkey: ValkeyServer) -> None:
    text = looked_up(valkey.url, "keys", decision=prefix)
    scan, get, ttl, statistics = commands_in(text)
    with valkey.client(decode_responses=True) as client:
        client.set(f"{prefix}{IP}", "a decision", ex=600)
        client.set(f"stat_{IP}", "counts")
        client.set("bXot", "another")
        assert scan[:5] == ["valkey-cli", "-u", valkey.url, "--scan", "--pattern"]
        assert list(client.scan_iter(match=scan[5])) == [f"{prefix}{IP}"]
        answers = [client.execute_command(*words[3:]) for words in (get, ttl, statistics)]
    assert answers[0] == "a decision"
    assert 0 < answers[1] <= 600
    assert answers[2] == "counts"


def test_commands_show_the_keys_of_the_layout_hash(valkey: ValkeyServer) -> None:
    keys, get, ttl, statistics = commands_in(looked_up(valkey.url, "hash"))
    with valkey.client(decode_responses=True) as client:
        client.execute_command("HSETEX", "bots", "EX", 600, "FIELDS", 1, IP, "a decision")
        client.set(f"stat_{IP}", "counts")
        answers = [client.execute_command(*words[3:]) for words in (keys, get, ttl, statistics)]
    assert answers[:2] == [[IP], "a decision"]
    assert 0 < answers[2][0] <= 600
    assert answers[3] == "counts"


def test_commands_show_the_keys_of_the_layout_sets(valkey: ValkeyServer) -> None:
    members, ttl, some = commands_in(looked_up(valkey.url, "sets"))
    with valkey.client(decode_responses=True) as client:
        client.sadd("bots", "a decision")
        client.expire("bots", 600)
        client.sadd("statistics", "counts")
        answers = [client.execute_command(*words[3:]) for words in (members, ttl, some)]
    assert set(answers[0]) == {"a decision"}
    assert 0 < answers[1] <= 600
    assert list(answers[2]) == ["counts"]


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://me:secret@db:6379/3", ["-u", "redis://db:6379/3"]),
        ("redis://me:secret@one:7000,two:7001/0", ["-u", "redis://one:7000/0"]),
        ("rediss://:secret@[::1]:6380/0?password=secret", ["-u", "rediss://[::1]:6380/0"]),
        ("unix:///run/a b.sock?db=2&password=secret", ["-s", "/run/a b.sock", "-n", "2"]),
        ("unix://me:secret@/run/redis.sock", ["-s", "/run/redis.sock", "-n", "0"]),
    ],
)
def test_commands_name_the_server_without_its_password(url: str, options: list[str]) -> None:
    text = looked_up(url, "keys")
    assert "secret" not in text
    assert {tuple(words[1 : 1 + len(options)]) for words in commands_in(text)} == {tuple(options)}


def test_lines_say_what_a_missing_key_means_and_where_keys_are_saved() -> None:
    prefixes = PrefixConf()
    text = lines_how_to_look(
        "redis://db", "keys", prefixes=prefixes, example=None, saved="of a demo.txt"
    )
    assert "ttl.clock=write" in text
    assert "of a demo.txt" in text
    assert ["GET", "bot_ADDRESS"] in [words[3:] for words in commands_in(text)]


def test_stage_is_charged_without_the_stages_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = iter((0.0, 1.0, 4.0, 5.0, 7.0, 10.0))
    monkeypatch.setattr(time, "perf_counter", lambda: next(now_s))
    metrics = Metrics()
    with metrics.stage("write"):
        for _ in range(2):
            with metrics.stage("encode"):
                pass
    assert metrics.stage_s == {"encode": 3.0 + 2.0, "write": 10.0 - 5.0}


def test_start_is_counted_from_the_start_of_the_process() -> None:
    program = (
        "import time; t = time.monotonic(); from engine.metrics import process_started_s as s; "
    )
    program += "assert t - 5 < s() < t, (s(), t)"
    subprocess.run([sys.executable, "-c", program], check=True)
