"""task=check: it passes what is as good as before, and fails what is worse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import Done, engine
from tests.tool_process import run as run_tool

STRICT = (
    "rules.rules=[{name: clicks, description: Clicks., when: 'events >= 5 and clicks > 4 * views'}]"
)


def over(folder: Path, *words: str) -> Done:
    """Run the engine on the log of a folder."""
    return engine("source=file", f"source.path={folder}/log.ndjson", *words)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log, its labels, and the report of rules=fast."""
    folder = tmp_path_factory.mktemp("check")
    made = ("-b", 10, "-u", 300, "-n", 100, "-d", 120, "--seed", 3, "--start", 1_700_000_000)
    files = ("-f", "log.ndjson", "--labels", "labels.csv", "--format", "ndjson")
    assert run_tool(folder, "botgen", *made, *files)[0] == 0
    report = f"report.json={folder}/report.json"
    done = over(folder, "task=evaluate", "rules=fast", f"labels={folder}/labels.csv", report)
    assert done.returncode == 0, done.stderr
    return folder


def check(folder: Path, *words: str) -> Done:
    """Compare with the report that was kept."""
    said = ("task=check", f"check.baseline={folder}/report.json", f"labels={folder}/labels.csv")
    return over(folder, *said, *words)


def test_the_same_rules_pass(kept: Path) -> None:
    done = check(kept, "rules=fast", "check.max_fall=0", "check.max_changed_share=0")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["passed"] * 5
    n = len(json.loads((kept / "report.json").read_text())["flagged"])
    assert f"flagged addresses: {n} before, 0 new, 0 gone: 0.0000 of them changed" in lines[-1]


def test_worse_precision_and_other_addresses_fail(kept: Path) -> None:
    done = check(kept, "rules=seed")
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert "precision by address" in failed[0]
    assert "flagged addresses" in failed[-1]
    assert "check.baseline: decisions are worse or others than" in done.stderr.splitlines()[-1]


def test_worse_recall_fails_and_a_wider_limit_lets_it_pass(kept: Path) -> None:
    assert "FAILED  recall by window" in check(kept, STRICT, "check.max_changed_share=1").stdout
    wide = check(kept, STRICT, "check.max_changed_share=1", "check.max_fall=1")
    assert wide.returncode == 0, wide.stdout


def test_without_labels_the_flagged_addresses_are_compared(kept: Path) -> None:
    plain = over(kept, "task=check", "rules=fast", f"check.baseline={kept}/report.json")
    assert plain.returncode == 1
    assert "passed  flagged addresses" in plain.stdout
    assert "FAILED  precision by address" in plain.stdout


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (None, "check.baseline: task=check needs the report.json of an earlier task=evaluate"),
        ("{", "is no JSON"),
        ("{}", "is no report; make one by task=evaluate"),
        ("", "cannot be read: No such file or directory"),
    ],
)
def test_a_baseline_that_is_none_is_said_in_a_line(
    content: str | None, wanted: str, kept: Path, tmp_path: Path
) -> None:
    path = tmp_path / "baseline.json"
    if content:
        path.write_text(content)
    words = () if content is None else (f"check.baseline={path}",)
    done = over(kept, "task=check", *words)
    assert done.returncode == 78
    assert wanted in done.stderr.splitlines()[-1]
