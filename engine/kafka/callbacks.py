"""Callbacks of the Kafka client that never raise.

What a callback raises would come out of the fetch, whose batch would be lost while the position has
moved on. So a failure is logged and counted, and the run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from engine.failpoints import reach

log = logging.getLogger(__name__)

Given = ParamSpec("Given")


class Callbacks:
    """Guards the callbacks of one client."""

    def __init__(self) -> None:
        """None has failed yet."""
        self.n_failed = 0

    def guarded(self, name: str, callback: Callable[Given, None]) -> Callable[Given, None]:
        """Return the callback as one that never raises; `name` is its failpoint too."""

        @wraps(callback)
        def guard(*args: Given.args, **kwargs: Given.kwargs) -> None:
            try:
                callback(*args, **kwargs)
                reach(name)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not come out of a fetch
                self.n_failed += 1
                log.warning("source.kafka: the callback %s failed: %r; going on", name, error)

        return guard
