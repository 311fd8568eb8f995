"""Rows D2, D5 and D9: what comes from strangers reaches no key, no log line, and no limit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.batch.decode import SHOWN_BYTES, decode
from engine.kernels.json_text import skip_value
from tests import naive
from tests.decoding import CONFIGS, TIMESTAMP_MS
from tests.doubles import options_of, records_of
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import event
from tests.faults import refused
from tests.faults.refused import GOOD
from tests.services.valkey import ValkeyServer

NO_ADDRESSES = (
    *("", " ", "*", "{}", "192.0.2.1 ", "192.0.2.1/32", "fe80::1%eth0", "::1%25", "%", "a" * 45),
    *("192.0.2.1\r\nDEL bot_192.0.2.9\r\n", "fe80::1%a\r\nFLUSHALL", "192.0.2.1\0", "\0"),
    *(
        "\x1b[2J",
        "*1\r\n$8\r\nFLUSHALL\r\n",
        "bot_192.0.2.1",
        "..",
        "localhost",
        "\ud83d",
        "\U0001f600",
    ),
    *("\uff11\uff19\uff12.0.2.1", "\u0661.2.3.4", "192.0.2.\u00b9"),
)
FEW_S = 1.0  # the bound is 0.05 s; a busy machine may take twenty times as long
N_LINES = 20_000


@pytest.fixture
def new_engine(tmp_path: Path) -> Iterator[Callable[..., EngineProcess]]:
    """Start an engine over a file of these lines."""
    started: list[EngineProcess] = []

    def start(lines: list[bytes], *overrides: str) -> EngineProcess:
        path = tmp_path / "events.ndjson"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        words = ("source=file", f"source.path={path}", "view=none", *overrides)
        started.append(EngineProcess(tmp_path / "engine", words))
        return started[-1]

    yield start
    for engine in started:
        engine.close()


def test_d2_text_that_is_no_address_makes_no_key(
    valkey: ValkeyServer, new_engine: Callable[..., EngineProcess]
) -> None:
    record = json.loads(GOOD)
    lines = [
        json.dumps(record | {"ip": ip}, ensure_ascii=as_ascii).encode("utf-8", "surrogatepass")
        for ip in NO_ADDRESSES
        for as_ascii in (True, False)
    ]
    lines.append(json.dumps(record | {"ip": "1" * 1_000_000}).encode())
    engine = new_engine(lines * 20, f"sink.url={valkey.url}", "rules=seed")
    engine.ends()
    summary = engine.summary
    assert summary["events"] == summary["keys_written"] == 0
    # a surrogate that is not escaped is no UTF-8, so that record is no JSON
    assert summary["rejected"] == {
        "bad_ip": 20 * (2 * len(NO_ADDRESSES) - 1),
        "not_json": 20,
        "too_big": 20,
    }
    with valkey.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("n", [1_000, 100_000, 10_000_000])
@pytest.mark.parametrize("opened", [b"[", b'{"a":'])
def test_d5_nesting_however_deep_is_refused_at_once(opened: bytes, n: int) -> None:
    refused_at_once(opened * n)
    refused_at_once(b'{"x":%s,%s}' % (opened * n, refused.EVENT))
    nested = np.frombuffer(opened * n, np.uint8)
    assert skip_value(nested, 0, len(nested), 0) == -1  # nor would a longer record be followed


def test_d5_a_million_keys_and_a_megabyte_of_text_are_refused_at_once() -> None:
    refused_at_once(b"{%s}" % b",".join(b'"key_%d":%d' % (n, n) for n in range(1_000_000)))
    refused_at_once(b'{"ip":"%s"}' % (b"1" * 1_000_000))
    refused_at_once(b'"%s"' % (b"\\u0061" * 170_000))


def refused_at_once(value: bytes) -> None:
    """Check that a value is refused between good neighbours, and how long that takes."""
    values = [GOOD, value, GOOD]
    records = records_of([naive.Row(0, i, one, TIMESTAMP_MS) for i, one in enumerate(values)])
    begun_s = time.perf_counter()
    batch = decode(records, options_of(CONFIGS["default"]))
    seconds = time.perf_counter() - begun_s
    reason = naive.parse_event(value, TIMESTAMP_MS, CONFIGS["default"])
    assert batch.rejects.rows() == [(0, 1, reason, value[:SHOWN_BYTES])]
    assert batch.events["offset"].to_list() == [0, 2]
    assert seconds < FEW_S


def test_d9_half_of_all_lines_bad_leaves_the_others_exact_the_log_short_and_letters_small(
    tmp_path: Path, new_engine: Callable[..., EngineProcess]
) -> None:
    bad = [value for _, value in refused.RECORDS.values() if value and b"\n" not in value]
    lines = [
        bad[n // 2 % len(bad)] if n % 2 else event(1_700_000_000 + n // 1_000, f"10.0.0.{n % 97}")
        for n in range(N_LINES)
    ]
    letters = tmp_path / "letters.ndjson"
    engine = new_engine(lines, "sink=console", f"dead_letter.path={letters}", "rules=seed")
    engine.ends()
    rows = naive.read_file_rows(tmp_path / "events.ndjson", int(engine.started_s * 1000))
    expected = naive.judge(rows, naive.ModelConfig())
    found = dict(printed(engine.output))
    counts = {
        (start_s, end_s, ip): (verdict.events, verdict.clicks, verdict.categories)
        for (start_s, end_s, ip), verdict in expected.verdicts.items()
    }
    assert naive.explain_difference(counts, found) == ""
    assert engine.summary["rejected"] == expected.rejected
    assert engine.stderr == ""
    told = letters.read_bytes().splitlines()
    assert len(told) == expected.rejected.total() > N_LINES / 3
    assert max(len(json.loads(letter)["value"]) for letter in told) <= 4 * SHOWN_BYTES
    assert max(map(len, told)) < 10 * SHOWN_BYTES


def printed(output: str) -> Iterator[tuple[naive.Window, tuple[int, int, int]]]:
    """Yield window, address and counts of each line of statistics."""
    for line in output.splitlines():
        if not line.startswith("stat_"):
            continue
        key, value, _ = line.split(" ")
        claim = json.loads(value)
        window = (claim["window_start"], claim["window_end"], key.removeprefix("stat_"))
        yield window, (claim["events"], claim["clicks"], claim["categories"])
