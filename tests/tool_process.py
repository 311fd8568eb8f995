"""The tools as a user runs them: a file, started from any folder. Their modules too, by name."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
DEADLINE_S = 60.0


def tool_module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of tools/, found as it finds its siblings when it runs as a file."""
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module(name)


@contextmanager
def started(folder: Path, tool: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a tool in `folder`; killed at the end where it still runs."""
    command = [sys.executable, str(TOOLS / f"{tool}.py"), *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def run(folder: Path, tool: str, *arguments: object, text: bytes = b"") -> tuple[int, bytes, str]:
    """Exit code, stdout and stderr of a tool that reads `text`."""
    with started(folder, tool, *arguments) as process:
        out, err = process.communicate(text, timeout=DEADLINE_S)
    return process.returncode, out, err.decode()


def refusal_of(module: ModuleType, arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr with which a tool refuses its options."""
    with pytest.raises(SystemExit) as end:
        module.parse_options(arguments.split())
    err = capsys.readouterr().err
    assert end.value.code == 78
    assert err.count("\n") == 1
    return err
