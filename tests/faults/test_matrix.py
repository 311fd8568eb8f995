"""Each row of the fault matrix has a test, and each test with a row's id has a row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.matrix import ROWS

TESTS = Path(__file__).resolve().parents[1]
NAME = re.compile(r"^def test_((?:[a-z]\d+_)+)", re.MULTILINE)
IDS = {row.id for row in ROWS}


def rows_with_a_test() -> set[str]:
    """Return the ids that tests are named after."""
    names = [name for path in TESTS.rglob("test_*.py") for name in NAME.findall(path.read_text())]
    return {row for name in names for row in name.strip("_").split("_")}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row_is_tested_or_says_why_not(row):
    assert (row.id in rows_with_a_test()) != bool(row.reason)


def test_tests_are_named_after_rows():
    assert rows_with_a_test() <= IDS
    assert len(IDS) == len(ROWS)
