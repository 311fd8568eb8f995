"""What is shown while a run goes on: on real consoles, on a real pty, and on pipes."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.batch.verdict import VERDICT_SCHEMA, Verdicts
from engine.config import RuleConf
from engine.detections import Detection, Detections
from engine.kernels.triage import NEVER
from engine.metrics import Metrics
from engine.rules import load_rules
from engine.terminal.live_frame import Shown, frame
from engine.terminal.live_view import LiveView
from engine.terminal.log_lines import LogLines, printable
from engine.terminal.readings import STAGES, Pace, Rates, duration, snapshot
from engine.terminal.view import NoView, PlainView, View, make_view
from engine.windows import Window

ROOT = Path(__file__).resolve().parents[1]
NOON_S = 1_700_049_600
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
IPV4_MAPPED = 0xFFFF << 32
RULES = load_rules(
    [RuleConf("event_rate", "Many.", "events > 10"), RuleConf("clicks", "All.", "clicks > 5")],
    base=Window(10, 10),
    default_ttl_s=600,
    max_categories=64,
)
SIZES = [(80, 24), (120, 40), (40, 10)]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = float(NOON_S + 5)

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day are read in UTC, on a terminal with colours."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        patch.setenv("TERM", "xterm-256color")
        patch.delenv("NO_COLOR", raising=False)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def detections(metrics: Metrics) -> Detections:
    return Detections(RULES, metrics, seed=1, event_clock=True, keep_seen=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def view_of(
    metrics: Metrics, detections: Detections, clock: Clock, stream: io.StringIO
) -> Callable[..., View]:
    """Make a view on the stream: `view_of("live")`."""

    def make(kind: str, *, title: str = "Botsieve", to: TextIO = stream) -> View:
        return make_view(kind, metrics, detections, stream=to, title=title, clock=clock)

    return make


@pytest.fixture
def sized(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Set the size that a stream has which is no terminal."""

    def resize(width: int, height: int) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("LINES", str(height))

    return resize


def busy_metrics(metrics: Metrics) -> None:
    """Fill in the counters of a run that has seen everything."""
    metrics.events, metrics.keys_written, metrics.addresses_flagged = 10_200, 340, 3
    metrics.late, metrics.rejected = {0: (7, 9, 3)}, Counter(not_json=5, bad_ip=2)
    metrics.open_windows, metrics.windows, metrics.lag = 4, 12, 17
    metrics.watermark_s, metrics.overflow = NOON_S + 1, 2
    metrics.suppressed_allowlisted, metrics.guard_tripped, metrics.guard_open = 6, 1, True
    metrics.stage_s |= dict.fromkeys(("fetch", "decode", "accumulate", "judge"), 2)
    metrics.stage_s |= {"encode": 1, "write": 1}


def caught(n: int, *, first: int = 0, final: bool = False, end_s: int = NOON_S) -> Verdicts:
    """Return verdicts that flag `n` addresses from 203.0.113.`first` on by the first rule."""
    columns = {name: np.zeros(n, np.int64) for name in VERDICT_SCHEMA}
    columns["low"] = IPV4_MAPPED + 0xCB007100 + first + np.arange(n)
    columns["events"] = np.full(n, 12)
    columns["mask"] = columns["new_mask"] = np.ones(n, np.int64)
    frame = pl.DataFrame(columns).cast(VERDICT_SCHEMA)  # type: ignore[arg-type]
    return Verdicts(end_s - 10, end_s, final=final, partial=False, frame=frame)


def shown_text(stream: io.StringIO) -> str:
    """Return the last frame without colours."""
    drawn = stream.getvalue()
    return ANSI.sub("", drawn[drawn.rindex("Botsieve") :])


# -- which view --------------------------------------------------------------------------------


@pytest.fixture
def pty_stream() -> Iterator[TextIO]:
    """The program's end of a pty."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield stream
    os.close(ours)


@pytest.fixture
def pipe_stream() -> Iterator[TextIO]:
    """A pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    yield stream
    with suppress(BrokenPipeError):
        stream.close()


def test_auto_is_live_on_a_terminal(pty_stream: TextIO, view_of: Callable[..., View]) -> None:
    assert isinstance(view_of("auto", to=pty_stream), LiveView)


def test_auto_is_plain_on_a_pipe(
    pipe_stream: TextIO, view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(view_of("auto", to=pipe_stream), PlainView)


@pytest.mark.parametrize("kind", ["auto", "live"])
def test_view_is_plain_where_the_cursor_cannot_move(
    kind: str, pty_stream: TextIO, view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(view_of(kind, to=pty_stream), PlainView)


def test_live_and_plain_are_what_was_asked_for(view_of: Callable[..., View]) -> None:
    assert isinstance(view_of("live"), LiveView)
    assert isinstance(view_of("plain"), PlainView)


def test_none_shows_nothing_but_log_lines(
    view_of: Callable[..., View], stream: io.StringIO, metrics: Metrics
) -> None:
    busy_metrics(metrics)
    view = view_of("none")
    with view:
        view.refresh()
        assert stream.getvalue() == ""
        view.log_handler().emit(logging.makeLogRecord({"msg": "a line", "levelname": "INFO"}))
    assert isinstance(view, NoView)
    assert stream.getvalue().endswith(" INFO a line\n")


# -- the live view -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_live_view_begins_with_zeros(
    size: tuple[int, int],
    view_of: Callable[..., View],
    stream: io.StringIO,
    sized: Callable[[int, int], None],
) -> None:
    sized(*size)
    with view_of("live"):
        text = shown_text(stream)
    assert "0/s, 0 in all" in text
    assert "0 addresses" in text
    assert "no bots caught yet" in text
    assert "late" not in text
    assert "rejected" not in text


@pytest.mark.parametrize("size", SIZES[:2])
def test_live_view_shows_every_counter(
    size: tuple[int, int],
    view_of: Callable[..., View],
    stream: io.StringIO,
    sized: Callable[[int, int], None],
    metrics: Metrics,
    clock: Clock,
) -> None:
    sized(*size)
    with view_of("live") as view:
        busy_metrics(metrics)
        clock.now_s += 4
        view.refresh()
        text = shown_text(stream)
    facts = [
        "events    2,550/s, 10,200 in all",
        "flagged   3 addresses",
        "sink      ready, 85 keys/s",
        "lag       17 records",
        "watermark 12:00:01, 8s behind",
        "windows   4 open, 12 closed",
        "late      7 events",
        "rejected  7: not_json 5, bad_ip 2",
        "left out  2 events beyond window.max_keys",
        "allowed   6 verdicts",
        "held      1 window, no decision is written now",
        "12:00:09, up 4s",
    ]
    assert [fact for fact in facts if fact not in text] == []
    shares = re.findall(r"(\w+) +#+\.+ +50%", text)
    assert shares == list(STAGES)


def test_live_view_on_a_low_terminal_keeps_the_counters_and_bots_that_matter_most(
    view_of: Callable[..., View],
    stream: io.StringIO,
    sized: Callable[[int, int], None],
    metrics: Metrics,
    detections: Detections,
    clock: Clock,
) -> None:
    sized(40, 10)
    busy_metrics(metrics)
    detections(caught(100), now_s=clock.now_s, n_expired=0)
    with view_of("live"):
        text = shown_text(stream)
    assert "10,200 in all" in text
    assert "100 addresses" in text
    assert "203.0.113.99" in text
    assert len(text.rstrip("\r\n").splitlines()) == 9


def test_live_view_says_that_the_sink_is_not_ready(
    view_of: Callable[..., View], stream: io.StringIO, metrics: Metrics
) -> None:
    metrics.sink_ready = False
    with view_of("live"):
        assert "not ready" in shown_text(stream)


def test_live_view_shows_no_watermark_before_there_is_one(
    view_of: Callable[..., View], stream: io.StringIO, metrics: Metrics
) -> None:
    metrics.watermark_s = NEVER
    with view_of("live"):
        assert re.search(r"watermark - +", shown_text(stream))


def test_live_view_dates_a_watermark_of_another_day(
    view_of: Callable[..., View], stream: io.StringIO, metrics: Metrics
) -> None:
    metrics.watermark_s = NOON_S - 400 * 86_400
    with view_of("live"):
        assert "2022-10-11 12:00, 400d behind" in shown_text(stream)


def test_live_view_shows_the_newest_bots_first_with_all_that_is_known(
    view_of: Callable[..., View],
    stream: io.StringIO,
    sized: Callable[[int, int], None],
    detections: Detections,
    clock: Clock,
) -> None:
    sized(80, 24)
    detections(caught(1), now_s=clock.now_s, n_expired=0)
    clock.now_s += 2
    detections(caught(1, first=7, final=True, end_s=NOON_S + 7), now_s=clock.now_s, n_expired=0)
    clock.now_s += 63
    with view_of("live"):
        rows = re.findall(r"203\.0\.113\..*\S", shown_text(stream))
    words = [re.split(" {2,}", row) for row in rows]
    assert words == [
        ["203.0.113.7", "event_rate", "12", "close", "8m 57s", "1m 3s"],
        ["203.0.113.0", "event_rate", "12", "early", "8m 50s", "1m 5s"],
    ]


def test_live_view_shows_an_address_once_with_its_latest_expiry(
    view_of: Callable[..., View], stream: io.StringIO, detections: Detections, clock: Clock
) -> None:
    detections(caught(1, end_s=NOON_S + 100), now_s=clock.now_s, n_expired=0)
    detections(caught(1, end_s=NOON_S), now_s=clock.now_s, n_expired=0)
    with view_of("live"):
        text = shown_text(stream)
    assert text.count("203.0.113.0") == 1
    assert "11m 35s" in text


def test_live_view_puts_an_address_that_is_caught_again_on_top(
    view_of: Callable[..., View], stream: io.StringIO, detections: Detections, clock: Clock
) -> None:
    for first in (0, 1, 0):
        detections(caught(1, first=first, final=True), now_s=clock.now_s, n_expired=0)
    with view_of("live"):
        assert re.findall(r"203\S+", shown_text(stream)) == ["203.0.113.0", "203.0.113.1"]


def test_live_view_keeps_the_clock_beside_a_long_title(
    view_of: Callable[..., View], stream: io.StringIO, sized: Callable[[int, int], None]
) -> None:
    sized(60, 20)
    with view_of("live", title="Botsieve " * 20):
        assert ".. 12:00:05, up 0s" in ANSI.sub("", stream.getvalue())


def test_live_view_says_of_a_decision_whose_time_has_passed_that_it_is_over(
    view_of: Callable[..., View], stream: io.StringIO, detections: Detections, clock: Clock
) -> None:
    detections(caught(1, end_s=NOON_S - 86_400), now_s=clock.now_s, n_expired=1)
    with view_of("live"):
        assert re.search(r"203\.0\.113\.0 .* over ", shown_text(stream))


def test_live_view_reads_nothing_as_markup(
    view_of: Callable[..., View], stream: io.StringIO, detections: Detections, clock: Clock
) -> None:
    odd = Detection("[red]::1[/red]", ("[b]x",), 1, NOON_S, 600, True, clock.now_s, NOON_S + 9, 1)
    detections.recent.append(odd)
    with view_of("live", title="Botsieve [bold]:smile:[/bold] \x1b[31m"):
        text = shown_text(stream)
    assert "Botsieve [bold]:smile:[/bold] \\x1b[31m" in text
    assert "[red]::1[/red]" in text
    assert "[b]x" in text


def test_live_view_gives_the_cursor_back_when_the_run_fails(
    view_of: Callable[..., View], stream: io.StringIO
) -> None:
    with pytest.raises(KeyError), view_of("live") as view:
        view.refresh()
        assert HIDE_CURSOR in stream.getvalue()
        assert SHOW_CURSOR not in stream.getvalue()
        raise KeyError
    assert stream.getvalue().endswith(SHOW_CURSOR)


def test_live_view_leaves_standard_output_alone(view_of: Callable[..., View]) -> None:
    before = (sys.stdout, sys.stderr)
    with view_of("live"):
        assert (sys.stdout, sys.stderr) == before


ON_A_PTY = """
import sys
from engine.detections import Detections
from engine.metrics import Metrics
from engine.rules import RuleSet
from engine.terminal.view import make_view
from engine.windows import Window
metrics, rules = Metrics(), RuleSet((), Window(10, 10))
detections = Detections(rules, metrics, seed=1, event_clock=True, keep_seen=False)
with make_view("auto", metrics, detections, stream=sys.stderr, title="Botsieve") as view:
    view.refresh()
    print("a result")
    raise SystemExit(3)
"""


def test_live_view_fills_the_pty_of_a_process_and_gives_it_back(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 93, 0, 0))
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with (tmp_path / "out").open("w") as out:
        ended = subprocess.run(
            [sys.executable, "-c", ON_A_PTY],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=theirs,
            cwd=ROOT,
            env=plain,
            check=False,
        )
    os.close(theirs)
    drawn = b"".join(iter(lambda: read_some(ours), b"")).decode()
    os.close(ours)
    assert ended.returncode == 3
    assert (tmp_path / "out").read_text() == "a result\n"
    assert drawn.count(HIDE_CURSOR) == drawn.count(SHOW_CURSOR) == 1
    assert drawn.endswith(SHOW_CURSOR)
    headings = [line for line in ANSI.sub("", drawn).splitlines() if "Botsieve" in line]
    assert {len(line.rpartition("Botsieve")[2]) for line in headings} == {93 - len("Botsieve")}


def read_some(fd: int) -> bytes:
    """Return what a pty holds; nothing at its end, which Linux reports as an error."""
    try:
        return os.read(fd, 65_536)
    except OSError:
        return b""


counters = st.integers(0, 10**15)
names = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64)
addresses = st.one_of(st.ip_addresses().map(str), st.just("2001:db8:1234:5678:9abc:def0:1234:5678"))
found = st.builds(
    Detection,
    ip=addresses,
    reasons=st.lists(names, min_size=1, max_size=4).map(tuple),
    events=counters,
    end_s=st.integers(1, 10**11),
    ttl_s=st.integers(1, 10**9),
    final=st.booleans(),
    at_s=st.floats(0, 1e10),
    expiry_s=st.integers(0, 10**11),
    nth=counters,
)


@given(
    n=counters,
    watermark_s=st.none() | st.just(NEVER) | st.integers(-(10**9), 10**11),
    lag=st.none() | counters,
    share=st.floats(0, 1),
    recent=st.lists(found, max_size=60),
    width=st.integers(1, 250),
    height=st.integers(1, 70),
)
def test_frame_fits_every_terminal(
    n: int,
    watermark_s: int | None,
    lag: int | None,
    share: float,
    recent: list[Detection],
    width: int,
    height: int,
) -> None:
    metrics = Metrics(events=n, windows=n, lag=lag, watermark_s=watermark_s, overflow=n)
    metrics.rejected["bad_ip"], metrics.late[0] = n, (n, n, n)
    rates = Rates(float(n), float(n), dict.fromkeys(STAGES, share))
    shown = Shown("Botsieve", 0.0, float(NOON_S), metrics, rates, recent)
    lines = frame(shown, width=width, height=height).plain.split("\n")
    assert len(lines) <= max(height - 1, 1)
    assert max(map(len, lines)) <= width
    assert "".join(lines).isprintable()


@given(st.lists(found, min_size=1, max_size=30), st.integers(40, 200))
def test_frame_never_cuts_an_address(recent: list[Detection], width: int) -> None:
    shown = Shown("x", 0.0, float(NOON_S), Metrics(), Rates(0.0, 0.0, {"fetch": 0.0}), recent)
    text = frame(shown, width=width, height=60).plain
    assert {bot.ip for bot in recent} <= set(text.split())


# -- rates -------------------------------------------------------------------------------------


def test_rates_are_those_of_the_last_seconds(metrics: Metrics) -> None:
    pace = Pace(metrics)
    assert pace.rates(0.0).events_per_s == 0
    for second in range(1, 60):
        metrics.events += 1000 if second <= 30 else 20
        rates = pace.rates(float(second))
    assert rates.events_per_s == 20


def test_rates_survive_a_clock_that_is_set_back(metrics: Metrics) -> None:
    pace = Pace(metrics)
    pace.rates(1000.0)
    metrics.events = 50
    assert pace.rates(10.0).events_per_s == 0
    metrics.events = 80
    assert pace.rates(12.0).events_per_s == 15


def test_rates_of_a_stage_that_ends_late_are_a_share_all_the_same(metrics: Metrics) -> None:
    pace = Pace(metrics)
    pace.rates(0.0)
    metrics.stage_s["write"] += 30
    assert pace.rates(1.0).busy["write"] == 1.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0123, "12.3ms"),
        (0.99949, "999ms"),
        (0.9999, "1s"),
        (4.25, "4.2s"),
        (59.7, "1m 0s"),
        (598, "9m 58s"),
        (7_500, "2h 5m"),
        (3 * 86_400 + 4 * 3600, "3d 4h"),
        (400 * 86_400, "400d"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class GrowingDeque(deque[Detection]):
    """A deque that another thread adds to while it is copied for the first time."""

    n_copies = 0

    def __iter__(self) -> Iterator[Detection]:
        self.n_copies += 1
        for item in super().__iter__():
            if self.n_copies == 1:
                self.append(item)
            yield item


def test_snapshot_of_bots_is_taken_again_when_they_grow_meanwhile() -> None:
    bot = Detection("::1", ("x",), 1, 1, 1, True, 1.0, 1, 1)
    growing = GrowingDeque([bot])
    assert snapshot(growing) == [bot, bot]
    assert growing.n_copies == 2


# -- the plain view ----------------------------------------------------------------------------


def test_plain_view_begins_with_a_line_of_zeros(
    view_of: Callable[..., View], stream: io.StringIO
) -> None:
    with view_of("plain") as view:
        assert view.period_s == 5
    zeros = "events=0 rate=0/s flagged=0 windows=0 late=0 rejected=0 watermark=- lag=-"
    assert stream.getvalue() == f"12:00:05 {zeros}\n"


def test_plain_view_writes_one_line_a_period(
    view_of: Callable[..., View], stream: io.StringIO, metrics: Metrics, clock: Clock
) -> None:
    with view_of("plain") as view:
        busy_metrics(metrics)
        metrics.sink_ready = False
        clock.now_s += 5
        view.refresh()
    counted = "events=10200 rate=2040/s flagged=3 windows=12 late=7 rejected=7"
    reached = "watermark=12:00:01 lag=17 sink=not_ready"
    assert stream.getvalue().splitlines()[1:] == [f"12:00:10 {counted} {reached}"]


def test_plain_view_dates_a_watermark_of_another_day(
    view_of: Callable[..., View], stream: io.StringIO, metrics: Metrics
) -> None:
    metrics.watermark_s = NOON_S - 86_400 * 2
    with view_of("plain"):
        assert " watermark=2023-11-13T12:00:00 " in stream.getvalue()


def bot_lines_of(stream: io.StringIO) -> list[str]:
    """Return what was said of bots, without the time of day."""
    lines = [line.partition(" ")[2] for line in stream.getvalue().splitlines()]
    return [line for line in lines if not line.startswith("events=")]


def test_plain_view_tells_each_bot_once(
    view_of: Callable[..., View], stream: io.StringIO, detections: Detections, clock: Clock
) -> None:
    with view_of("plain") as view:
        detections(caught(2), now_s=clock.now_s, n_expired=0)
        view.refresh()
        detections(caught(3, final=True), now_s=clock.now_s, n_expired=0)
        view.refresh()
        view.refresh()
    assert bot_lines_of(stream) == [
        "bot 203.0.113.0 event_rate events=12 early ttl=595s",
        "bot 203.0.113.1 event_rate events=12 early ttl=595s",
        "bot 203.0.113.2 event_rate events=12 at_close ttl=595s",
    ]


def test_plain_view_tells_twenty_bots_a_period_and_counts_the_others(
    view_of: Callable[..., View], stream: io.StringIO, detections: Detections, clock: Clock
) -> None:
    with view_of("plain") as view:
        detections(caught(251), now_s=clock.now_s, n_expired=0)
        view.refresh()
        detections(caught(1, first=251), now_s=clock.now_s, n_expired=0)
        view.refresh()
    lines = bot_lines_of(stream)
    assert lines[20] == "... and 231 more"
    assert [line.split()[1] for line in lines[21:]] == ["203.0.113.251"]


# -- what detections tell a view ---------------------------------------------------------------


def test_detections_number_each_address_when_it_is_flagged_first(
    detections: Detections, metrics: Metrics
) -> None:
    detections(caught(2), now_s=1.0, n_expired=0)
    detections(caught(3, final=True), now_s=2.0, n_expired=0)
    assert [bot.nth for bot in detections.recent] == [1, 2, 0, 0, 3]
    assert metrics.addresses_flagged == 3
    assert metrics.summary()["flagged_by_reason"] == {"event_rate": 5}


@pytest.mark.parametrize(("ttl_event_clock", "expiry_s"), [(None, NOON_S + 600), (False, 702)])
def test_detections_expire_by_the_clock_of_the_ttl(
    ttl_event_clock: bool | None, expiry_s: int, metrics: Metrics
) -> None:
    detections = Detections(
        RULES,
        metrics,
        seed=1,
        event_clock=True,
        keep_seen=False,
        ttl_event_clock=ttl_event_clock,
    )
    detections(caught(1), now_s=102.9, n_expired=0)
    assert detections.recent[0].expiry_s == expiry_s


# -- log lines ---------------------------------------------------------------------------------

HOSTILE = "broker \x1b[2J\x1b]0;title\x07 \x9b31m\r\nfake \u202edrowssap \ud800"
ESCAPED = r"broker \x1b[2J\x1b]0;title\x07 \x9b31m\r\nfake \u202edrowssap \ud800"


def record(message: str, *arguments: object, exc_info: object = None) -> logging.LogRecord:
    """Return a record as `logging` makes it."""
    return logging.LogRecord(
        "engine",
        logging.WARNING,
        "f.py",
        1,
        message,
        arguments,
        exc_info,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("kind", ["live", "plain", "none"])
def test_log_lines_cannot_drive_the_terminal(
    kind: str, view_of: Callable[..., View], stream: io.StringIO, sized: Callable[[int, int], None]
) -> None:
    sized(200, 24)
    with view_of(kind) as view:
        handler = view.log_handler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        handler.handle(record("said: %s", HOSTILE))
        written = stream.getvalue()
    assert f"WARNING said: {ESCAPED}\n" in written
    assert not set(ANSI.sub("", written)) & set("\x1b\x07\x9b\u202e\ud800")


def test_log_lines_appear_above_the_live_view(
    view_of: Callable[..., View], stream: io.StringIO, sized: Callable[[int, int], None]
) -> None:
    sized(80, 24)
    with view_of("live") as view:
        before = len(stream.getvalue())
        view.log_handler().handle(record("x" * 300 + "[red]:smile:[/red]"))
        written = stream.getvalue()[before:]
    frame_lines = re.match(r"(\r|\x1b\[(2K|1A))+", written)
    assert frame_lines is not None, "the frame is wiped first"
    assert "x" * 300 + "[red]:smile:[/red]\n" in written, "the line is whole, and no markup"
    assert written.rindex("Botsieve") > written.index("[/red]"), "and the frame is drawn again"


def test_log_lines_keep_the_lines_of_a_traceback_but_not_those_of_a_message() -> None:
    lines: list[str] = []
    handler = LogLines(lines.append)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        failed = record("a\nb", exc_info=sys.exc_info())
    logging.Formatter().format(failed)  # another handler has left its raw text in the record
    handler.handle(failed)
    first, *rest = lines[0].split("\n")
    assert first.endswith(r"WARNING a\nb")
    assert rest[0] == "Traceback (most recent call last):"
    assert all(printable(line) == line for line in rest)


def test_log_lines_with_a_wrong_message_do_not_end_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines: list[str] = []
    LogLines(lines.append).handle(record("%d", "no number"))
    assert lines == []
    assert "Logging error" in capsys.readouterr().err


# -- a terminal that goes away -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["live", "plain", "none"])
def test_run_outlives_its_terminal(
    kind: str, pipe_stream: TextIO, view_of: Callable[..., View], metrics: Metrics
) -> None:
    with view_of(kind, to=pipe_stream) as view:
        for _ in range(3):
            view.refresh()
            view.log_handler().handle(record("nobody reads this"))
    metrics.events += 1
    view.refresh()
