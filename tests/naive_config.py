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
    """One rule; mode is enforce, shadow or off. Without a window of its own: that of the config."""

    name: str
    when: str
    ttl_s: int = 600
    mode: str = "enforce"
    window_s: int | None = None
    slide_s: int | None = None


@dataclass(frozen=True)
class ModelConfig:
    """Everything that the answer depends on besides the log; slide_s None is a tumbling window.

    The window that is written down here is the one with the statistics.
    """

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
    def kinds(self) -> list[tuple[int, int]]:
        """(length, step) of every kind of window, that of the statistics first."""
        own = [self.kind_of(rule) for rule in self.rules if rule.mode != "off"]
        return list(dict.fromkeys([(self.length_s, self.step_s), *own]))

    def kind_of(self, rule: ModelRule) -> tuple[int, int]:
        """(length, step) of the windows that a rule is judged over."""
        if rule.window_s is None:
            return self.length_s, self.step_s
        return rule.window_s, rule.slide_s or rule.window_s

    def rules_over(self, length_s: int) -> tuple[ModelRule, ...]:
        """The rules that are judged over windows of this length; no two kinds share one."""
        return tuple(rule for rule in self.rules if self.kind_of(rule)[0] == length_s)

    @cached_property
    def pane_s(self) -> int:
        """The piece of time in which lateness is decided."""
        return math.gcd(*(size for kind in self.kinds for size in kind))
