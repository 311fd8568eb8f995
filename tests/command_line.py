"""The engine's command line, run in this process: what it says and its exit code.

For tasks that start nothing and end by themselves; a run that is to be signalled or killed is an
`EngineProcess`.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

from engine.__main__ import main


class Done(NamedTuple):
    """How a command line ended."""

    returncode: int
    stdout: str
    stderr: str


def engine(*words: object) -> Done:
    """Run `python -m engine WORDS`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(word) for word in words])
    return Done(code, out.getvalue(), err.getvalue())
