"""The rules of a config, and the windows that they need: checked, and told at the start."""

from __future__ import annotations

import logging

from engine.batch.window import KEYED, UNKEYED, WindowSpec
from engine.config import AppConf
from engine.errors import ConfigError
from engine.rules import RuleSet, load_rules
from engine.source_config import KafkaConf

log = logging.getLogger(__name__)


def rule_set(conf: AppConf) -> RuleSet:
    """Return the checked rules."""
    return load_rules(
        conf.rules.rules,
        base=conf.window.base,
        default_ttl_s=conf.sink.ttl_s,
        max_categories=conf.window.max_categories,
    )


def window_spec(conf: AppConf, rules: RuleSet) -> WindowSpec:
    """Return the windows."""
    own = conf.window
    limits = (own.max_keys, own.max_categories)
    mode = KEYED if conf.source.keyed else UNKEYED
    return WindowSpec(rules.windows, own.delay_s, own.idle_s, *limits, mode)


def check_span(conf: AppConf, spec: WindowSpec) -> None:
    """Refuse windows for which a restart would read a topic again for too long."""
    if isinstance(conf.source, KafkaConf) and spec.span_s > conf.window.max_span_s:
        problem = (
            f"{conf.window.max_span_s} is less than the {spec.span_s} s that a restart reads "
            f"again: window.delay_s, and the longest of the windows {spec.windows}; raise it, or "
            "shorten them"
        )
        raise ConfigError(key="window.max_span_s", problem=problem)


def say_span(conf: AppConf, spec: WindowSpec) -> None:
    """Tell which windows there are, and how much a restart reads again."""
    if isinstance(conf.source, KafkaConf):
        log.info("windows: %s; a restart reads %d s again", spec.windows, spec.span_s)


def replay_span(since_s: int, spec: WindowSpec, *, max_future_s: int) -> tuple[int, int]:
    """Return the time of the records to begin with, and the end of the last window to leave out.

    What is older than these records lies before the first window: no event is further ahead of
    its record than `max_future_s`. So that window is whole, and nothing unread makes events late.
    """
    return max(since_s - spec.longest_s - max_future_s, 0), since_s - 1
