"""The engine on a host whose clock jumps: by the seconds that a file holds, read at each look.

Run as `CLOCK_JUMP=FILE python -m tests.faults.jumping_clock key=value ...`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from engine.__main__ import command

JUMP = Path(os.environ["CLOCK_JUMP"])
true_time = time.time


def jumped() -> float:
    """Return the time as this host would tell it."""
    return true_time() + float(JUMP.read_text() or 0)


if __name__ == "__main__":
    time.time = jumped
    sys.exit(command())
