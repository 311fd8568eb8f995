"""task=rekey from its config to its last line; how it copies is `engine.rekey.copy`."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

from engine.assembly import blank_checkpoint, decode_options_of
from engine.config import AppConf
from engine.kafka.source import KafkaSource
from engine.metrics import Metrics
from engine.rekey.copy import Rekey
from engine.rule_windows import window_spec
from engine.rules import RuleSet
from engine.source_config import KafkaConf
from engine.terminal.readings import counted, duration, number
from engine.terminal.summary import write_json

AT_ONCE_S = -1.0
"""A partition at its end holds nobody back, however short it has been silent."""


def run_rekey(conf: AppConf, rules: RuleSet, *, stopping: threading.Event) -> None:
    """Copy until the end or `stopping`, and say what was copied."""
    metrics = Metrics()
    build_rekey(conf, rules, metrics, stopping=stopping).run(is_stopping=stopping.is_set)
    if conf.summary.json is not None:
        write_json(conf.summary.json, metrics.summary(), key="summary.json")
    if conf.view != "none":
        n_without = number(metrics.records - metrics.events)
        what = f"{counted(metrics.records, 'record')} to '{conf.rekey.topic}'"
        took = duration(metrics.seconds())
        print(f"copied {what} in {took}, {n_without} of them without an address", file=sys.stderr)


def build_rekey(
    conf: AppConf, rules: RuleSet, metrics: Metrics, *, stopping: threading.Event
) -> Rekey:
    """Return what copies; any share of the partitions will do for it."""
    if not isinstance(conf.source, KafkaConf):  # the config has refused it
        raise AssertionError(conf.source)
    source = replace(conf.source, keyed=True)
    blank = blank_checkpoint(window_spec(conf, rules), rules)
    return Rekey(
        source,
        KafkaSource(
            source,
            conf.batch,
            blank=blank,
            delay_s=conf.window.delay_s,
            idle_s=AT_ONCE_S,
            stopping=stopping,
        ),
        topic=str(conf.rekey.topic),
        interval_s=conf.rekey.interval_s,
        options=decode_options_of(conf),
        blank=blank,
        metrics=metrics,
    )
