"""task=explain: fired is what the model flags, and every number and place is one of the log."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.allowlist import Allowlist
from engine.history.span import Span
from engine.history.tasks import explanation_of
from engine.rule_windows import rule_set
from engine.settings.compose import compose
from tests import logs, naive
from tests.command_line import Done, engine
from tests.naive_config import ModelConfig
from tests.test_evaluate import CONFIG, MONOTONE, NOW_MS, RULES, as_written, fired

ADDRESSES = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "::", "203.0.113.9")
START_S = 1_700_000_000
SHORTFALLS = {
    "many": lambda n: (4 - n.events) / 3,
    "ratio": lambda n: (n.views - n.clicks + 1) / (n.views or 1),
    "many_in_40": lambda n: (5 - n.events) / 4,
    "no_views_in_25": lambda n: n.views,
}
"""What each rule lacks where it does not fire, as a share of its limit, by hand."""


class Placed(NamedTuple):
    """An event that counts, and its line."""

    offset: int
    event: naive.Event


def counted(rows: list[naive.Row], config: ModelConfig) -> dict[naive.Window, list[Placed]]:
    """Return the events of each window as they came."""
    at: list[int] = []

    def noted() -> Iterator[naive.Row]:
        for row in rows:
            at.append(row.offset)
            yield row

    found = defaultdict(list)
    for event in naive.accepted_events(noted(), naive.Judgement(config)):
        for window in naive.windows_of(event, config):
            found[window].append(Placed(at[-1], event))
    return found


def needed(name: str, window: naive.Window, events: list[Placed]) -> int:
    """Return how many events of a window a rule waits for."""
    said = [one.event for one in events]
    ends = range(1, len(said) + 1) if name in MONOTONE else [len(said)]
    return next(n for n in ends if name in fired(window, said[:n]))


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A config with these rules; its file is written by each example."""
    folder = tmp_path_factory.mktemp("explain")
    (folder / "rules.yaml").write_text(yaml.safe_dump({"rules": [as_written(r) for r in RULES]}))
    argv = ["task=explain", "source=file", f"source.path={folder}/log.ndjson", "address=::"]
    return compose([*argv, f"rules.path={folder}/rules.yaml"], environ={})


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(logs.logs(max_partitions=1), logs.logs_in_time(10, max_partitions=1)),
    st.sampled_from(ADDRESSES),
)
def test_it_fires_where_the_model_flags(conf: Any, rows: list[naive.Row], address: str) -> None:
    path = Path(conf.source.path)
    lines = [row.value for row in rows if row.value and b"\n" not in row.value]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    rows = naive.read_file_rows(path, NOW_MS)
    span = Span(conf, rule_set(conf), Allowlist(conf.allow))
    report = explanation_of(address, conf, span)
    windows = {w: events for w, events in counted(rows, CONFIG).items() if w[2] == address}
    found = {rule["name"]: rule for rule in report["rules"]}
    wanted = defaultdict(list)
    for window, events in sorted(windows.items(), key=lambda one: naive.closing_order(one[0])):
        for name in fired(window, [one.event for one in events]):
            wanted[name].append(window)
    assert {name: rule["fired_in"] for name, rule in found.items()} == {
        name: [list(window[:2]) for window in some] for name, some in wanted.items()
    }
    enforced = {rule.name for rule in RULES if rule.mode == "enforce"}
    assert report["flagged"] is bool(enforced & wanted.keys())
    assert (report["nearest"] is None) is (report["flagged"] or not windows)
    if report["nearest"] is not None:
        assert report["nearest"]["relative"] == pytest.approx(
            min(
                SHORTFALLS[rule.name](naive.verdict_of(w, [one.event for one in some], CONFIG))
                for w, some in windows.items()
                for rule in CONFIG.rules_over(naive.length_of(w))
                if rule.mode == "enforce"
            ),
            abs=1e-6,
        )
    for name, rule in found.items():
        check_cases(name, rule, wanted[name], windows, lines)


def check_cases(
    name: str,
    rule: dict[str, Any],
    fired_in: list[naive.Window],
    windows: dict[naive.Window, list[Placed]],
    lines: list[bytes],
) -> None:
    """Compare each window that is told in full with its events in the log."""
    for case, window in zip(rule["cases"], fired_in, strict=False):
        events = windows[window]
        n = needed(name, window, events)
        told = (case["first_event"]["offset"], case["deciding_event"]["offset"])
        assert told == (events[0].offset, events[n - 1].offset)
        assert case["counts"] == naive.verdict_of(window, [e.event for e in events], CONFIG).counts
        late_s = window[1] + CONFIG.delay_s
        known_s = events[n - 1].event.time_s if name in MONOTONE else late_s
        assert (case["decided_s"], case["until_s"]) == (known_s, window[1] + 600)
        assert len(case["events"]) == min(n, 5)
        shown = [(one["offset"], one["record"]) for one in case["events"]]
        assert shown == [
            (one.offset, lines[one.offset].decode(errors="replace"))
            for one in events[max(n - 5, 0) : n]
        ]


def event(
    second: int, ip: str = "192.0.2.1", *, kind: str = "view", category: int = 1, more: str = ""
) -> str:
    """Return the line of an event."""
    fields = f'"unix_time":{START_S + second},"category_id":{category},"ip":"{ip}","type":"{kind}"'
    return f"{{{fields}{more}}}\n"


def explain(folder: Path, *words: object) -> Done:
    """Run the task over the log of a folder."""
    log = f"source.path={folder}/log.ndjson"
    return engine("task=explain", "source=file", "rules=fast", log, *words)


def written(folder: Path, *events: str) -> Path:
    """Write the log of a folder."""
    (folder / "log.ndjson").write_text("".join(events))
    return folder


def test_who_is_flagged_is_told_by_which_numbers_and_records(tmp_path: Path) -> None:
    lines = [event(k // 2, kind="click", category=3) for k in range(13)]
    written(tmp_path, event(0, "192.0.2.2"), *lines, event(40, "192.0.2.2"))
    done = explain(tmp_path, "address=192.0.2.1", f"report.json={tmp_path}/e.json")
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert out.startswith("192.0.2.1: flagged; 13 events in 1 window\n")
    assert "first decided 2023-11-14 22:13:25 UTC (1700000005), 5s after its first event" in out
    assert "the last decision holds until 2023-11-14 22:23:30 UTC (1700000610)" in out
    assert "2023-11-14 22:13:20 to 2023-11-14 22:13:30 UTC (1700000000 to 1700000010)" in out
    assert "    events 13 > 10: 3 above\n    first event 0:1, crossing event 0:11\n" in out
    assert (
        "    clicks / max(views, 1) 13 > 3: 10 above\n    first event 0:1, last event 0:13" in out
    )
    assert f"      0:11 {lines[10].strip()}\n" in out
    assert "categories_rate" not in out
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["rules"][0]["cases"][0]["events"][-1]["record"] == lines[10].strip()
    assert report["decision"] == {"decided_s": START_S + 5, "until_s": START_S + 610}


def test_who_is_not_flagged_is_told_what_is_missing(tmp_path: Path) -> None:
    few = [event(k, category=k) for k in range(4)]
    more = [event(20 + k, category=k % 3) for k in range(8)]
    done = explain(written(tmp_path, *few, *more), "address=192.0.2.1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "192.0.2.1: not flagged; 12 events in 2 windows",
        "",
        "nearest rule: event_rate: The address sent more events in one window than a person does.",
        "  window 2023-11-14 22:13:40 to 2023-11-14 22:13:50 UTC (1700000020 to 1700000030)",
        "    events 8 > 10: 3 short",
    ]


def test_of_a_conjunction_only_what_fails_is_told(tmp_path: Path) -> None:
    events = [event(k, kind="click" if k < 3 else "view") for k in range(4)]
    done = explain(written(tmp_path, *events), "address=192.0.2.1", "rules.limits.events=1000")
    assert done.stdout.splitlines()[-2:] == [
        "    events 4 >= 5: 1 short",
        "    clicks / max(views, 1) 3 > 3: more than 0 short",
    ]


def test_who_was_never_seen_is_told_so(tmp_path: Path) -> None:
    done = explain(written(tmp_path, event(0)), "address=2001:db8::7")
    assert (done.returncode, done.stdout) == (
        0,
        "2001:db8::7: not seen in 1 event of the range\n",
    )


def test_rejected_records_are_told_since_they_may_be_of_the_address(tmp_path: Path) -> None:
    done = explain(written(tmp_path, "{\n", '{"ip":"192.0.2.1"}\n', "{\n"), "address=192.0.2.1")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "192.0.2.1: not seen in 0 events of the range",
            "3 records rejected (not_json 2, missing_time 1); whose they are is not known",
        ],
    )


def test_an_event_that_came_too_late_is_told(tmp_path: Path) -> None:
    written(tmp_path, event(100, "192.0.2.2"), event(0, "2001:DB8::7"))
    done = explain(tmp_path, "address=2001:db8:0::7")
    assert done.stdout.splitlines() == [
        "2001:db8:0::7: not flagged; 0 events in 0 windows",
        "1 event more came too late to be counted (window.delay_s), or lie before the range",
    ]


def test_an_address_on_the_allowlist_is_told_as_such(tmp_path: Path) -> None:
    written(tmp_path, *(event(1) for _ in range(11)))
    done = explain(tmp_path, "address=::ffff:192.0.2.1", 'allow.cidrs=["192.0.2.0/24"]')
    lines = done.stdout.splitlines()
    assert lines[0] == "::ffff:192.0.2.1: not flagged; 11 events in 1 window"
    assert lines[1].startswith("it is on the allowlist (allow.*): it never gets a decision")
    assert "    events 11 > 10: 1 above" in lines
    assert not [line for line in lines if "decided" in line]


def test_what_the_breaker_held_back_is_no_decision(tmp_path: Path) -> None:
    clicks = [event(1, f"192.0.2.{k % 30}", kind="click") for k in range(150)]
    written(tmp_path, *clicks)
    done = explain(tmp_path, "address=192.0.2.1", "guard.max_flagged_share=0.5")
    lines = done.stdout.splitlines()
    assert lines[0] == "192.0.2.1: not flagged; 5 events in 1 window"
    held = "no decision in 1 window: held back by the allowlist or guard.max_flagged_share"
    assert f"  {held}" in lines


def test_a_shadow_rule_is_named_as_such_and_flags_nobody(tmp_path: Path) -> None:
    rules = [{"name": "seen", "description": "Any.", "when": "not events < 1", "mode": "shadow"}]
    rules += [{"name": "much", "description": "Much.", "when": "events > 4 or clicks > 2"}]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"rules": rules}))
    written(tmp_path, event(1))
    done = explain(tmp_path, "address=192.0.2.1", f"rules.path={tmp_path}/rules.yaml")
    lines = done.stdout.splitlines()
    assert lines[0] == "192.0.2.1: not flagged; 1 event in 1 window"
    assert "seen (shadow: only watched, it flags nobody): Any." in lines
    assert "    events 1 >= 1: at the limit" in lines
    assert lines[-3] == "nearest rule: much: Much."
    assert lines[-1] == "    events 1 > 4: 4 short"


def test_a_record_cannot_steer_the_terminal(tmp_path: Path) -> None:
    written(tmp_path, *(event(1, more=',"x":"\x9b31m\x7f"') for _ in range(11)))
    done = explain(tmp_path, "address=192.0.2.1")
    assert '"x":"\\x9b31m\\x7f"}' in done.stdout
    assert all(c.isprintable() or c == "\n" for c in done.stdout)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ((), "address: task=explain needs an address; give one"),
        (("address=192.0.2",), "address: '192.0.2' is refused; allowed: an IPv4 or IPv6 address"),
        (("address=192.0.2.0/24",), "address: '192.0.2.0/24' is refused; allowed: an IPv4"),
        (
            ("address=::1", "report.html=page.html"),
            "report.html: 'page.html' is refused; allowed: only task=evaluate",
        ),
        (("address=::1", "report.json=no/such.json"), "report.json: 'no/such.json' cannot be"),
    ],
)
def test_wrong_input_is_one_line(words: tuple[str, ...], wanted: str, tmp_path: Path) -> None:
    done = explain(written(tmp_path, event(0)), *words)
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr.startswith(f"botsieve: {wanted}")
    assert done.stderr.count("\n") == 1


def test_of_a_recorded_folder_the_decoded_fields_are_told(tmp_path: Path) -> None:
    written(tmp_path, *(event(1, kind="click", category=7) for _ in range(11)))
    folder, path = tmp_path / "recorded", tmp_path / "explained.json"
    words = ("source=file", f"source.path={tmp_path}/log.ndjson", "rules=fast", "sink=memory")
    assert engine(*words, f"record.path={folder}", "view=none").returncode == 0
    done = explain(tmp_path, f"source.path={folder}", "address=192.0.2.1", f"report.json={path}")
    assert done.returncode == 0, done.stderr
    [case] = json.loads(path.read_text())["rules"][0]["cases"]
    assert case["deciding_event"] == {"partition": 0, "offset": 10, "time": START_S + 1}
    fields = {"time": START_S + 1, "category": 7, "type": "click"}
    assert [one["record"] for one in case["events"]] == [fields] * 5
