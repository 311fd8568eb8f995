"""Makes docs/live-view.svg: the demo on a real terminal (tmux), captured while it runs.

Run it as `python docs/picture.py`; it needs tmux, and a checkout where `make demo` works.
"""

from __future__ import annotations

import io
import re
import subprocess
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS, LINES = 100, 30
# The picture shows both kinds of decision.
WANTED = [re.compile(r" early +\d+m"), re.compile(r" close +\d+m")]
DEADLINE_S = 120
TARGET = Path(__file__).with_name("live-view.svg")


def tmux(*words: str) -> str:
    """Run tmux; return what it prints."""
    argv = ["tmux", *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout  # noqa: S603


def captured(session: str) -> str:
    """Return the screen, with its colours, once it shows both kinds of decision."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not all(one.search(tmux("capture-pane", "-p", "-t", session)) for one in WANTED):
        if time.monotonic() > deadline_s:
            message = f"no early decision beside one at a close within {DEADLINE_S} s"
            raise TimeoutError(message)
        time.sleep(0.2)
    return tmux("capture-pane", "-e", "-p", "-t", session)


def main() -> None:
    """Run the demo in a terminal of its own and draw what it shows."""
    session = "botsieve-picture"
    size = ("-x", str(COLUMNS), "-y", str(LINES))
    tmux("new-session", "-d", "-s", session, *size, "make demo DURATION=40")
    try:
        screen = captured(session)
    finally:
        tmux("kill-session", "-t", session)
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(screen.rstrip()))
    console.save_svg(str(TARGET), title="make demo")


if __name__ == "__main__":
    main()
