"""The operator's allowlist: addresses that never get a decision, whatever the rules say.

It is `allow.cidrs`, `allow.named` and the lines of `allow.path` together. The file is read again
when it has changed; one that is wrong is refused as a whole, and the list read before stays.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.config import AllowConf
from engine.errors import ConfigError
from engine.kernels.ranges import Ranges, parsed, ranges_of, within
from engine.networks import ALLOWED, Span, named_spans, spans_of
from engine.schema import show

log = logging.getLogger(__name__)

LOOK_S = 1.0


class Allowlist:
    """Tells which addresses are allowed; one thread owns it."""

    def __init__(self, conf: AllowConf, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file, if there is one; ConfigError names the line that is wrong."""
        self._path, self._clock = conf.path, clock
        self._fixed = [span for text in conf.cidrs for span in spans_of(text)]
        self._fixed += [span for name in conf.named for span in named_spans(name)]
        self._state = state_of(self._path)
        self._looked_s = clock()
        self._ranges = self._read()

    def _read(self) -> Ranges:
        return ranges_of([*self._fixed, *(spans_in(self._path) if self._path else [])])

    @property
    def is_empty(self) -> bool:
        """Whether it allows nobody."""
        return len(self._ranges.first_high) == 0

    def refresh(self) -> bool:
        """Read the file again where it has changed; return whether the list is a new one."""
        now_s = self._clock()
        if self._path is None or now_s - self._looked_s < LOOK_S:
            return False
        self._looked_s = now_s
        state = state_of(self._path)
        if state == self._state:
            return False
        self._state = state
        try:
            self._ranges = self._read()
        except ConfigError as error:
            log.error("%s; the list read before stays", error)  # noqa: TRY400 - a user's mistake
            return False
        log.info("allow.path: '%s' is read again", self._path)
        return True

    def holds(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return bool[n]: which addresses, uint64[n] words, are allowed."""
        return within(self._ranges, high, low)

    def those_in(self, texts: Sequence[bytes]) -> list[bytes]:
        """Return the texts that are allowed addresses."""
        good, high, low = parsed(texts)
        return [texts[i] for i in np.flatnonzero(good & self.holds(high, low)).tolist()]


def state_of(path: str | None) -> tuple[int, ...] | None:
    """Return what changes when a file is changed or replaced; None where there is none."""
    try:
        found = os.stat(path) if path is not None else None
    except OSError:
        return None
    if found is None:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def spans_in(path: str) -> Iterator[Span]:
    """Yield the spans of a file: an address or a CIDR a line, `#` begins a comment."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:  # ValueError: bytes that are no UTF-8
        why = getattr(error, "strerror", None) or "is not a file of UTF-8 text"
        problem = f"'{path}' cannot be read: {why}"
        raise ConfigError(key="allow.path", problem=problem) from None
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        try:
            yield from spans_of(text) if text else ()
        except ValueError:
            problem = f"'{path}' line {number}: {show(text)} is refused; allowed: {ALLOWED}"
            raise ConfigError(key="allow.path", problem=problem) from None
