"""Log lines for a terminal: nothing in a message may drive it or begin a line of its own.

Text from the network ends up in messages (a broker's error, a bad record), so every character that
is not printable is written as its escape. Where the line goes is the caller's matter.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable


def printable(text: str) -> str:
    r"""Return text with control, invisible and half characters as escapes such as \x1b."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class LogLines(logging.Handler):
    """Hands each record over as text, whichever formatter it is given."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """`write` takes a line, or several where a traceback follows."""
        super().__init__()
        self._write = write
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; as with every handler, an error in it is reported and goes no further."""
        try:
            self._write(self._text(record))
        except Exception:  # noqa: BLE001 - what a message holds must not end the run
            self.handleError(record)

    def _text(self, record: logging.LogRecord) -> str:
        # The message first, while its line breaks can be told from those of a traceback.
        safe = copy.copy(record)
        safe.msg, safe.args = printable(record.getMessage()), None
        return "\n".join(map(printable, self.format(safe).split("\n")))
