"""What the model's answer depends on besides the log: one kind of window, its delay, the rules.

Plain values that a test writes down, never checked here: bad settings are the engine's concern.
Invariant: frozen, so a config can be shared by every judgement of a test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class ModelRule:
    """One rule; mode is enforce, shadow or off."""

    name: str
    when: str
    ttl_s: int = 600
    mode: str = "enforce"


@dataclass(frozen=True)
class ModelConfig:
    """Everything that the answer depends on besides the log; slide_s None is a tumbling window."""

    length_s: int = 10
    slide_s: int | None = None
    delay_s: int = 10
    max_future_s: int = 900
    max_categories: int = 64
    max_bytes: int = 4096
    fields: tuple[str, str, str, str] = ("unix_time", "category_id", "ip", "type")
    unknown_type: str = "view"
    rules: tuple[ModelRule, ...] = ()
    statistics_ttl_s: int = 600

    @property
    def step_s(self) -> int:
        """The distance between two window starts."""
        return self.length_s if self.slide_s is None else self.slide_s

    @cached_property
    def pane_s(self) -> int:
        """The piece of time in which lateness is decided."""
        return math.gcd(self.length_s, self.step_s)
