"""The page of task=evaluate: read as XML, placed where the figures say, and nothing but itself."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from engine.history.page import page_of
from tests.command_line import engine
from tests.tool_process import run as run_tool

HOSTILE = """</td><script>alert("1")</script> & 'so' <img src=x onerror=alert(1)>"""
RULES = [
    {"name": "fast", "description": HOSTILE, "when": "events > 10 and 1 < clicks"},
    {"name": "clicker", "description": "Only clicks.", "when": "views == 0 and events > 4"},
    {"name": "a" * 64, "description": "Watched.", "when": "events > 8", "mode": "shadow"},
]
FORBIDDEN = {"script", "link", "img", "iframe", "object", "embed", "base", "image", "use", "a"}
SECONDS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86_400}


def parsed(page: str) -> ET.Element:
    """Return a page, which is well-formed XML as well."""
    return ET.fromstring(page)  # noqa: S314 - our own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log, its labels, rules with hostile words, the report and the page."""
    folder = tmp_path_factory.mktemp("page")
    made = ("--profile", "everything", "-d", 200, "--seed", 7, "--start", 1_700_000_000)
    code, _, err = run_tool(
        folder, "botgen", *made, "--format", "ndjson", "-f", "log.ndjson", "--labels", "labels.csv"
    )
    assert code == 0, err
    (folder / "rules.yaml").write_text(yaml.safe_dump({"rules": RULES}))
    done = engine(
        "task=evaluate",
        "source=file",
        *(f"source.path={folder}/log.ndjson", f"labels={folder}/labels.csv"),
        *(f"rules.path={folder}/rules.yaml", "view=none"),
        *(f"report.json={folder}/report.json", f"report.html={folder}/report.html"),
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    """The report."""
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def page(folder: Path) -> ET.Element:
    """The page."""
    return parsed((folder / "report.html").read_text())


def plot(page: ET.Element, name: str) -> ET.Element:
    """Return the plot with this title."""
    return next(svg for svg in page.iter("svg") if svg.findtext("title") == name)


def by_class(svg: ET.Element, *classes: str) -> list[ET.Element]:
    """Return the elements of these classes."""
    return [one for one in svg.iter() if set(classes) <= set(one.get("class", "").split())]


def marks(svg: ET.Element, *classes: str) -> dict[str, tuple[float, float]]:
    """Return the place of each mark of an axis by its text."""
    found = by_class(svg, "mark", *classes)
    return {one.text or "": (float(one.get("x", "")), float(one.get("y", "")) - 4) for one in found}


def along(at: float, one: tuple[float, float], other: tuple[float, float]) -> float:
    """Return the value at a place, of which two are given as (place, value)."""
    return one[1] + (at - one[0]) * (other[1] - one[1]) / (other[0] - one[0])


def test_the_page_is_one_file_that_loads_and_runs_nothing(page: ET.Element, folder: Path) -> None:
    elements = list(page.iter())
    assert not {one.tag.lower() for one in elements} & FORBIDDEN
    words = [value for one in elements for value in one.attrib.values()]
    assert not [value for value in words if "//" in value or "javascript:" in value.lower()]
    assert not [name for one in elements for name in one.attrib if name.startswith("on")]
    style = next(page.iter("style")).text or ""
    assert "url(" not in style
    assert "@import" not in style
    policy = [one.get("content", "") for one in page.iter("meta") if one.get("http-equiv")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert (folder / "report.html").stat().st_size < 500_000


def test_what_rules_say_is_text(page: ET.Element) -> None:
    cells = ["".join(cell.itertext()) for cell in page.iter("td")]
    assert HOSTILE + RULES[0]["when"] in cells
    assert [one for one in cells if one.startswith("a" * 64) and one.endswith("(shadow)")]


def test_each_bot_lies_at_its_rate_and_jitter(page: ET.Element, report: dict[str, Any]) -> None:
    svg = plot(page, "Rate against jitter")
    x, y = marks(svg, "middle"), marks(svg, "end")
    ends = [
        (x[text][0], math.log10(float(text))) for text in (min(x, key=float), max(x, key=float))
    ]
    tops = [(y[text][1], float(text)) for text in (min(y, key=float), max(y, key=float))]
    found = {True: [], False: []}
    for dot in by_class(svg, "caught"):
        found[True].append((float(dot.get("cx", "")), float(dot.get("cy", ""))))
    for cross in by_class(svg, "missed"):
        left, top = re.match(r"M([\d.]+) ([\d.]+)", cross.get("d", "")).groups()
        found[False].append((float(left) + 4, float(top) + 4))
    for is_caught, places in found.items():
        bots = [bot for bot in report["bots"] if bot["caught"] is is_caught and bot["rate_per_s"]]
        assert len(bots) == len(places) > 0
        read = sorted((10 ** along(left, *ends), along(top, *tops)) for left, top in places)
        wanted = sorted((bot["rate_per_s"], bot["gap_cv"]) for bot in bots)
        assert [one[0] for one in read] == pytest.approx([one[0] for one in wanted], rel=1e-3)
        assert sorted(one[1] for one in read) == pytest.approx(
            sorted(one[1] for one in wanted), abs=0.01
        )


def seconds_of(text: str) -> float:
    """Return the seconds that a mark of time says."""
    amount, _, unit = text.partition(" ")
    return float(amount) * SECONDS[unit]


@pytest.mark.parametrize("name", ["crossing", "decision"])
def test_the_curve_goes_through_its_points(
    name: str, page: ET.Element, report: dict[str, Any]
) -> None:
    svg = plot(page, "Recall against time")
    x, y = marks(svg, "middle"), marks(svg, "end")
    last = max(x, key=seconds_of)
    ends = [(x[text][0], math.log1p(seconds_of(text))) for text in ("0", last)]
    tops = [(y[text][1], float(text) / 100) for text in ("0", "100")]
    [path] = by_class(svg, "curve", name)
    steps = re.findall(r"H([\d.]+)V([\d.]+)", path.get("d", ""))
    read = [(math.expm1(along(float(h), *ends)), along(float(v), *tops)) for h, v in steps]
    wanted = report["recall_over_time"][name]
    assert len(wanted) > 1
    assert [one[0] for one in read] == pytest.approx([one[0] for one in wanted], rel=2e-3, abs=0.01)
    assert [one[1] for one in read] == pytest.approx([one[1] for one in wanted], abs=1e-3)


def test_the_curve_is_that_of_the_bots(report: dict[str, Any]) -> None:
    bots, curves = report["bots"], report["recall_over_time"]
    caught = sum(bot["caught"] for bot in bots)
    assert len(bots) == report["by_address"]["bots"]
    assert caught == report["by_address"]["caught"]
    for name, curve in curves.items():
        assert curve == sorted(curve)
        assert curve[-1][1] == report["by_address"]["recall"]
        assert curve[-1][0] == report["time_to_detect_s"][name]["max"]
        median = next(s for s, share in curve if share * len(bots) >= caught / 2 - 1e-3)
        assert median == pytest.approx(report["time_to_detect_s"][name]["p50"], abs=1)
    free = {bot["address"] for bot in bots if not bot["caught"]}
    assert free == {one["address"] for one in report["missed"]}


def test_each_bar_is_as_long_as_its_figure(page: ET.Element, report: dict[str, Any]) -> None:
    svg = plot(page, "People flagged, by rule")
    figures = [rule["by_address"]["wrongly_flagged"] for rule in report["rules"]]
    alone = [rule["only_it"]["people"] for rule in report["rules"]]
    widest = max(float(one.get("width", "")) for one in by_class(svg, "wrong"))
    assert max(figures) > 0
    for name, wanted in (("wrong", figures), ("alone", alone)):
        widths = [float(one.get("width", "")) for one in by_class(svg, name)]
        read = [width / widest * max(figures) for width in widths]
        assert read == pytest.approx(wanted, abs=1e-2)


def test_a_long_name_leaves_room_for_the_figures(page: ET.Element) -> None:
    svg = plot(page, "People flagged, by rule")
    width = float(svg.get("viewBox", "").split()[2])
    rows = defaultdict(list)
    for one in by_class(svg, "mark"):
        rows[one.get("y")].append(one.text or "")
    assert len(rows) == len(RULES)
    assert all(len(name) + len(figures) <= width / 7.5 for name, figures in rows.values())
    assert ["a" * 64 + ": "] == [
        (one.text or "")[:66] for one in svg.iter("title") if "aaa" in (one.text or "")
    ]


def test_each_plot_has_words_for_who_does_not_see_it(page: ET.Element) -> None:
    plots = list(page.iter("svg"))
    assert len(plots) == 3
    for svg in plots:
        title, said = svg.findtext("title"), svg.findtext("desc")
        assert svg.get("role") == "img"
        assert svg.get("aria-label") == f"{title}. {said}"
    for svg in plots[:2]:
        assert len([one for one in by_class(svg, "name") if one.text]) == 2


def test_nothing_is_written_outside_its_plot(page: ET.Element) -> None:
    for svg in page.iter("svg"):
        width, height = map(float, svg.get("viewBox", "").split()[2:])
        for one in svg.iter("text"):
            n_chars, left = len(one.text or "") * 7, float(one.get("x", ""))
            kind = one.get("class", "")
            left -= n_chars if "end" in kind else n_chars / 2 if "middle" in kind else 0
            if "middle" not in kind:
                assert left >= -1, one.text
            assert left + n_chars <= width + 12, one.text
            assert 0 <= float(one.get("y", "")) <= height


def test_the_lists_name_who_is_hit_and_who_is_missed(
    page: ET.Element, report: dict[str, Any]
) -> None:
    cells = {cell.text for cell in page.iter("td")}
    assert report["wrongly_flagged"]
    assert {one["address"] for one in report["wrongly_flagged"][:200]} <= cells
    assert {one["address"] for one in report["missed"][:200]} <= cells


def test_a_long_list_is_cut_and_says_so(report: dict[str, Any]) -> None:
    people = [{"address": f"192.0.2.{i}", "events": i, "rules": ["fast"]} for i in range(250)]
    page = parsed(page_of({**report, "wrongly_flagged": people}))
    said = [one.text for one in page.iter("p")]
    assert "And 50 more; report.json=FILE has all." in said
    assert "192.0.2.199" in {cell.text for cell in page.iter("td")}
    assert "192.0.2.200" not in {cell.text for cell in page.iter("td")}


def test_bots_that_are_not_drawn_are_told(report: dict[str, Any]) -> None:
    drawn = {"events": 9, "rate_per_s": 1.0, "gap_cv": 0.5, "caught": True}
    at_once = {**drawn, "rate_per_s": None, "gap_cv": None}
    bots = [{**drawn, "address": f"2001:db8::{i:x}"} for i in range(4001)]
    page = parsed(page_of({**report, "bots": [*bots, {**at_once, "address": "192.0.2.1"}]}))
    svg = plot(page, "Rate against jitter")
    assert len(by_class(svg, "caught")) == 1334
    assert svg.findtext("desc") == "4,001 bots, 0 of them missed."
    [said] = [
        words for one in page.iter("figcaption") if "Jitter" in (words := "".join(one.itertext()))
    ]
    assert said.endswith(
        "1 bot left out: fewer than three events, or all in one second. Only one in 3 is drawn."
    )


def test_the_page_says_what_was_rejected(report: dict[str, Any]) -> None:
    read = {"events": 1, "late": 0, "rejected": {"future": 2, "<b>": 3}}
    said = [one.text for one in parsed(page_of({**report, "read": read})).iter("p")]
    assert said[0] == "1 event, 0 of them late; 5 records rejected (<b> 3, future 2)"


def test_a_log_without_bots_and_without_a_firing_rule_has_a_page(folder: Path) -> None:
    event = {"unix_time": 1_700_000_000, "category_id": 1, "ip": "192.0.2.1", "type": "view"}
    (folder / "one.ndjson").write_text(json.dumps(event) + "\n")
    (folder / "none.csv").write_text("key,label\n192.0.2.1,human\n")
    done = engine(
        "task=evaluate",
        "source=file",
        *(f"source.path={folder}/one.ndjson", f"labels={folder}/none.csv", "rules=fast"),
        f"report.html={folder}/none.html",
    )
    assert done.returncode == 0, done.stderr
    page = parsed((folder / "none.html").read_text())
    assert not by_class(page, "caught")
    assert not by_class(page, "missed")
    assert [one.text for one in page.iter("p")][-2:] == ["None.", "None."]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("no/such/page.html", "there is no such folder"),
        (".", "it is a folder; name a file in it"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_the_run(
    path: str, wanted: str, folder: Path
) -> None:
    done = engine(
        "task=evaluate",
        "source=file",
        f"source.path={folder}/none",
        f"labels={folder}/labels.csv",
        f"report.html={path}",
    )
    assert done.returncode == 78
    assert done.stderr == f"botsieve: report.html: '{path}' cannot be written: {wanted}\n"
