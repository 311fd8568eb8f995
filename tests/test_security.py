"""SECURITY.md names tests: each of them is there, so that a promise cannot outlive its proof."""

from __future__ import annotations

import ast
import re

from tests.test_layers import ROOT, sources_under, tree_of

NAMED = re.compile(r"`(test_[a-z0-9_]+)`")


def test_security_page_names_only_tests_that_are_there() -> None:
    named = set(NAMED.findall((ROOT / "SECURITY.md").read_text()))
    functions = (
        node.name
        for path in sources_under("tests")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef)
    )
    assert named - set(functions) == set()
    assert len(named) > 20


def test_security_page_says_the_forged_address_first() -> None:
    lines = (ROOT / "SECURITY.md").read_text().splitlines()
    assert lines[2].startswith("**Whoever can forge `ip` can have anyone flagged.**")
