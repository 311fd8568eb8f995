"""Leaving the client without waiting for ever: while a broker is silent, its close may hang.

It closes in a thread. What does not close in time is left behind there, and the end of the process
must not wait for it either: see `is_left_behind`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

CLOSING = "closing"


def close_within(timeout_s: float, close: Callable[[], None]) -> None:
    """Close, and return after `timeout_s` at the latest."""
    closing = threading.Thread(target=close, name=CLOSING, daemon=True)
    closing.start()
    closing.join(timeout_s)
    if closing.is_alive():
        log.warning("source.bootstrap_servers: the Kafka client does not close; ending without it")


def is_left_behind() -> bool:
    """Return whether a client is still closing."""
    return any(thread.name == CLOSING for thread in threading.enumerate())
