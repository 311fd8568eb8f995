"""botgen: the traffic is what its options say, and it arrives whole, wherever it goes."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests import tool_process
from tests.mock_kafka import mock_kafka, read_topic
from tests.services.process import wait_until
from tests.tool_process import refusal_of, tool_module

START_S = 1_700_000_000
REPEATABLE = ("--seed", "7", "--start", str(START_S))


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return tool_module("traffic", monkeypatch)


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with mock_kafka() as address:
        yield address


def started(folder: Path, *arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return tool_process.started(folder, "botgen", *arguments)


def run(folder: Path, *arguments: str) -> tuple[int, bytes, str]:
    """Exit code, stdout and stderr."""
    return tool_process.run(folder, "botgen", *arguments)


def is_bot(event: dict[str, Any]) -> bool:
    return event["ip"].startswith("172.20.")


# --- the same again


def test_a_seed_makes_traffic_of_its_own(tmp_path: Path) -> None:
    seven, eight = (
        run(tmp_path, "-f", "-", "-d", "9", "--start", "5", "--seed", seed)[1]
        for seed in ("7", "8")
    )
    assert seven != eight


def test_the_same_seed_and_start_give_the_same_bytes_at_any_pace(tmp_path: Path) -> None:
    options = ("-f", "-", "-d", "1", "-b", "3", "-n", "70", *REPEATABLE)
    assert run(tmp_path, *options, "--realtime")[1] == run(tmp_path, *options)[1]


# --- in real time


def test_realtime_writes_no_event_before_its_second(tmp_path: Path) -> None:
    options = ("--realtime", "-d", "1", "-n", "40", "-f", "-", "--format", "ndjson")
    with started(tmp_path, *options) as process:
        assert process.stdout
        for line in process.stdout:
            assert json.loads(line)["unix_time"] <= time.time()
        assert process.wait() == 0


def test_realtime_spreads_a_second_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    botgen, traffic = (tool_module(name, monkeypatch) for name in ("botgen", "traffic"))
    crowd = traffic.Crowd(1000, 10, 200, Fraction(1))
    seconds = traffic.blocks(crowd, range(1, 4), seed=1, events_per_block=1)
    overdue_s = time.monotonic() - 1000
    sizes = [len(events) for events in botgen.paced(seconds, first_due_s=overdue_s)]
    assert sum(sizes) == 3 * 210
    assert set(sizes) == {10, 11}


# --- the file


def test_the_default_file_is_one_array_with_an_object_a_line(tmp_path: Path) -> None:
    before_s = int(time.time())
    code, out, err = run(tmp_path, "-n", "3", "-d", "2")
    assert (code, out) == (0, b"")
    lines = (tmp_path / "data.json").read_text().splitlines()
    assert lines[0].startswith("[{")
    assert all(line.endswith("},") for line in lines[:-1])
    assert lines[-1].endswith("}]")
    events = json.loads("".join(lines))
    assert len(events) == len(lines) == 7
    assert [json.loads(line.strip("[],")) for line in lines] == events
    times = {event["unix_time"] for event in events}
    assert before_s <= min(times) <= time.time()
    assert len(times) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]
    assert err.startswith("botgen: 7 events in ")
    assert err.endswith("events/s, data.json\n")
    assert err.count("\n") == 1


def test_the_array_is_whole_over_many_blocks(tmp_path: Path) -> None:
    run(tmp_path, "-n", "1000", "-d", "120")
    assert len(json.loads((tmp_path / "data.json").read_bytes())) == 120_060


def test_ndjson_has_the_same_events(tmp_path: Path) -> None:
    options = ("-d", "5", *REPEATABLE)
    _, ndjson, _ = run(tmp_path, *options, "-f", "-", "--format", "ndjson")
    _, array, _ = run(tmp_path, *options, "-f", "-")
    assert [json.loads(line) for line in ndjson.splitlines()] == json.loads(array)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_no_part_and_the_old_file(tmp_path: Path, stop: signal.Signals) -> None:
    target, part = tmp_path / "x.json", tmp_path / "x.json.part"
    target.write_text("old")
    with started(tmp_path, "--realtime", "-f", "x.json", "-d", "600") as process:
        wait_until(lambda: part.exists() and part.stat().st_size, deadline_s=20, what="a part")
        assert target.read_text() == "old"
        process.send_signal(stop)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err.decode()
    assert err.decode().startswith("botgen: stopped, ")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert target.read_text() == "old"


def test_a_device_is_written_and_never_replaced(tmp_path: Path) -> None:
    code, out, _ = run(tmp_path, "-f", "/dev/stdout", "-d", "1", "-n", "1", "-b", "0")
    assert code == 0
    assert len(json.loads(out)) == 1
    assert [*tmp_path.iterdir()] == []


def test_a_reader_that_goes_away_is_no_error_to_talk_about(tmp_path: Path) -> None:
    with started(tmp_path, "-f", "-", "-d", "100000") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=20) == -signal.SIGPIPE
        assert process.stderr.read() == b""


def test_labels_name_every_address(tmp_path: Path) -> None:
    run(tmp_path, *"-u 300 -b 20 -n 200 -d 20 --labels labels.csv".split())
    events = json.loads((tmp_path / "data.json").read_bytes())
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [*rows[0]] == ["key", "label"]
    labels = {row["key"]: row["label"] for row in rows}
    assert len(labels) == len(rows) == 320
    assert Counter(labels.values()) == {"human": 300, "bot": 20}
    assert all(labels[event["ip"]] == ("bot" if is_bot(event) else "human") for event in events)


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("-n 11 -u 10", "-n/--freq"),
        ("-n -1", "-n/--freq"),
        ("-n 0 -b 0", "-n/--freq"),
        ("-b -1", "-b/--bots"),
        ("-b 99999999", "-b/--bots"),
        ("-u 0", "-u/--users"),
        ("-u many", "-u/--users"),
        ("-d 0", "-d/--duration"),
        ("--bot-freq 0", "--bot-freq"),
        ("--bot-freq -0.5", "--bot-freq"),
        ("--bot-freq 1/0", "--bot-freq"),
        ("--start 0", "--start"),
        ("--seed -1", "--seed"),
        ("--format xml", "--format"),
        ("--to-kafka localhost:9092", "--to-kafka"),
        ("--to-kafka h/t -f x", "-f/--file"),
        ("--keyed", "--keyed"),
        ("--colour", "--colour"),
    ],
)
def test_a_bad_option_is_refused_in_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    option: str,
) -> None:
    assert option in refusal_of(tool_module("botgen", monkeypatch), arguments, capsys)


def test_a_refusal_makes_no_file(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, "-n", "11", "-u", "10")
    assert (code, out) == (78, b"")
    assert err == "botgen: argument -n/--freq: 11 must not be above -u 10\n"
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("option", ["-f", "--labels"])
def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, option: str) -> None:
    code, _, err = run(tmp_path, option, "absent/x", "-d", "1")
    assert code == 69
    assert "absent/x" in err
    assert err.count("\n") == 1


# --- to Kafka


@pytest.mark.parametrize("keyed", [False, True])
def test_kafka_gets_exactly_the_events(tmp_path: Path, broker: str, keyed: bool) -> None:
    topic = f"events-{keyed}"
    options = ("-b", "3", "-n", "500", "-d", "51", *REPEATABLE)
    keys = ("--keyed",) if keyed else ()
    code, _, err = run(tmp_path, *options, "--to-kafka", f"{broker}/{topic}", *keys)
    assert code == 0, err
    assert err.startswith("botgen: 25578 events in ")
    messages = read_topic(broker, topic)
    expected = run(tmp_path, *options, "-f", "-", "--format", "ndjson")[1].splitlines()
    assert sorted(message.value() for message in messages) == sorted(expected)
    partition_of = defaultdict(set)
    for message in messages:
        partition_of[message.key()].add(message.partition())
    if keyed:
        assert all(m.key().decode() == json.loads(m.value())["ip"] for m in messages)
        assert all(len(partitions) == 1 for partitions in partition_of.values())
    else:
        assert [*partition_of] == [None]
        sizes = Counter(message.partition() for message in messages).values()
        assert max(sizes) - min(sizes) <= 1


def test_round_robin_goes_on_over_small_slices(
    monkeypatch: pytest.MonkeyPatch, traffic: ModuleType, broker: str
) -> None:
    crowd = traffic.Crowd(50, 0, 41, Fraction(1))
    (events,) = traffic.blocks(crowd, range(1, 2), seed=1, events_per_block=100)
    sink = tool_module("event_sinks", monkeypatch).KafkaSink(broker, "slices", keyed=False)
    for part in events.iter_slices(3):
        sink.write(part)
    sink.finish()
    sizes = Counter(message.partition() for message in read_topic(broker, "slices"))
    assert sorted(sizes.values()) == [10, 10, 10, 11]


def test_a_stop_delivers_what_was_produced_and_counts_it(tmp_path: Path, broker: str) -> None:
    options = ("--realtime", "-d", "600", "--to-kafka", f"{broker}/stopped")
    with started(tmp_path, *options) as process:
        wait_until(lambda: read_topic(broker, "stopped"), deadline_s=20, what="the first event")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    n_events = len(read_topic(broker, "stopped"))
    assert err.decode().startswith(f"botgen: stopped, {n_events} events in ")


def test_every_failed_delivery_is_counted(
    monkeypatch: pytest.MonkeyPatch, traffic: ModuleType
) -> None:
    event_sinks = tool_module("event_sinks", monkeypatch)
    crowd = traffic.Crowd(30, 0, 10, Fraction(1))
    (events,) = traffic.blocks(crowd, range(1, 2), seed=1, events_per_block=100)
    with mock_kafka() as address:
        sink = event_sinks.KafkaSink(address, "lost", keyed=False, timeout_s=0.3)
    sink.write(events)
    with pytest.raises(ConnectionError, match="10 of 10 events were not delivered"):
        sink.finish()


def test_a_broker_that_is_not_there_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    event_sinks = tool_module("event_sinks", monkeypatch)
    with pytest.raises(ConnectionError, match=r"^127\.0\.0\.1:1/t: "):
        event_sinks.KafkaSink("127.0.0.1:1", "t", keyed=False, timeout_s=0.3)
