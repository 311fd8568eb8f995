"""A client that does not close: it is left behind, and the process ends with its exit code."""

from __future__ import annotations

import subprocess
import sys
import threading

from engine.kafka.closing import close_within, is_left_behind

PROCESS = """
import atexit, threading
from engine.__main__ import left_with
from engine.kafka.closing import close_within
atexit.register(print, "finalised")
close_within(0.01, threading.Event().wait)
print("ends")
raise SystemExit(left_with(7))
"""


def test_k7_what_closes_in_time_leaves_nothing_behind() -> None:
    closed = threading.Event()
    close_within(10.0, closed.set)
    assert closed.is_set()
    assert not is_left_behind()


def test_k7_a_process_with_a_client_left_behind_ends_at_once_with_its_exit_code() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROCESS], check=False, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (7, "ends\n")
    assert "the Kafka client does not close" in ended.stderr
