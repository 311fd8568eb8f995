"""Design N, kept to prove the judge: the engine, but what it commits is how far it has read.

Most examples do this. What is open lives in memory alone, so a crash loses it silently, and the
standard verdict has to say so. Run as `python -m tests.faults.design_n key=value ...`.
"""

from __future__ import annotations

import sys

from engine.__main__ import command
from engine.batch.window import OpenWindows
from engine.state import Checkpoints


def read_positions(self: OpenWindows) -> Checkpoints:
    """Return {partition: (what was read, the checkpoint there)}, as if nothing were open."""
    return {
        p: (offset, self._checkpoint(p, int(self.pmax_s[p])))
        for p, offset in enumerate(self.position.tolist())
        if offset >= 0
    }


if __name__ == "__main__":
    OpenWindows.checkpoints = read_positions  # type: ignore[method-assign]
    sys.exit(command())
