"""What is committed for a partition: a restart offset, and what must be known there to go on.

The restart offset is the first record of the oldest open window, so open windows are rebuilt by
reading on from it; the metadata makes that replay decide as the first time. Text, under 200 bytes:
`v1|pmax_before|closed|complete_from|mode|windows|rules_sha8`.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.kernels.triage import NEVER

VERSION = "v1"


class Checkpoint(NamedTuple):
    """The state of one partition at its restart offset; times are unix seconds.

    pmax_s: greatest event time before it (NEVER where none); closed_s: end of the last window
    that is acknowledged; complete_from_s: windows that begin before it miss records (0: none).
    """

    pmax_s: int
    closed_s: int
    complete_from_s: int
    mode: str
    windows: str
    rules_sha8: str

    def metadata(self) -> str:
        """Return the text that is committed with the offset."""
        return "|".join([VERSION, *(str(value) for value in self)])


def parse_checkpoint(metadata: str | None) -> Checkpoint | None:
    """Return the checkpoint in commit metadata, or None where another tool has written it."""
    parts = (metadata or "").split("|")
    if len(parts) != 1 + len(Checkpoint._fields) or parts[0] != VERSION:
        return None
    try:
        pmax_s, closed_s, complete_from_s = (int(part) for part in parts[1:4])
    except ValueError:
        return None
    if max(abs(pmax_s), abs(closed_s), abs(complete_from_s)) > -NEVER:
        return None
    checkpoint = Checkpoint(pmax_s, closed_s, complete_from_s, *parts[4:])
    return checkpoint if checkpoint.metadata() == metadata else None
