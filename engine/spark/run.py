"""A run on Spark from the checked config to its summary: the entry of `runner=spark`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

from confluent_kafka.admin import AdminClient

from engine.allowlist import Allowlist
from engine.config import AppConf
from engine.errors import ConfigError
from engine.kafka.client import client_properties, wait_for_topic
from engine.rules import RuleSet
from engine.schema import refusal
from engine.source_config import KafkaConf
from engine.spark import session
from engine.spark.job import Job
from engine.spark.kafka_options import java_properties
from engine.terminal.summary import write_json

LINE = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
LOOK_S = 0.5
# What is known here of a summary of the local engine: addresses and stages are Spark's workers'.
KNOWN = (
    "events",
    "late",
    "rejected",
    "unknown_type",
    "verdicts",
    "flagged",
    "suppressed_allowlisted",
    "keys_written",
    "decisions_expired",
    "seconds",
    "events_per_s",
    "startup_s",
)
WIDTH = max(map(len, KNOWN))
LOCAL_ONLY = {
    "task": "run",
    "source.ignore_commits": False,
    "labels": None,
    "dead_letter.topic": None,
    "dead_letter.path": None,
    "record.path": None,
    "guard.max_flagged_share": 1,
    "metrics.port": 0,
    "deploy.kind": "none",
    "sink.kind": "redis",
}


def check(conf: AppConf) -> None:
    """Refuse what this runner does not do, before anything is started."""
    source = source_of(conf)
    for key, allowed in LOCAL_ONLY.items():
        value = value_of(conf, key)
        if value != allowed:
            shown = "null" if allowed is None else str(allowed).lower()
            raise refusal(key, value, allowed=f"only {shown} with runner=spark")
    if source.on_data_loss == "latest":
        allowed = "fail or earliest with runner=spark"
        raise refusal(key="source.on_data_loss", value="latest", allowed=allowed)
    if conf.spark.checkpoint is None:
        problem = "is not set; runner=spark needs a folder that all nodes share"
        raise ConfigError(key="spark.checkpoint", problem=problem)
    java_properties(source.kafka)
    session.check_installed()


def source_of(conf: AppConf) -> KafkaConf:
    """Return the topic; there is nothing to spread over a cluster in a file."""
    if not isinstance(conf.source, KafkaConf):
        raise refusal(key="runner", value="spark", allowed="local, or spark with source=kafka")
    return conf.source


def value_of(conf: AppConf, key: str) -> Any:
    """Return the value of a dotted key."""
    value: Any = conf
    for name in key.split("."):
        value = getattr(value, name)
    return value


def run_on_spark(conf: AppConf, rules: RuleSet, allowlist: Allowlist) -> None:
    """Run the whole job and report."""
    source = source_of(conf)
    job = Job(conf, source, rules, allowlist)
    with nullcontext() if conf.view == "none" else logging_to_stderr():
        wait_for(source, job.stopping)
        spark = session.start(conf.spark)
        try:
            with stopped_by_signals(job.stopping):
                job.run(spark)
        finally:
            spark.stop()
    report(conf, job)


def wait_for(source: KafkaConf, stopping: threading.Event) -> None:
    """Wait for broker and topic as the local engine does; Spark would end at once."""
    admin = AdminClient(client_properties(source), logger=logging.getLogger(__name__))
    wait_for_topic(admin, source, failure=lambda: None, wait=lambda _: stopping.wait(LOOK_S))


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Show our own lines beside those of Spark."""
    handler, root = logging.StreamHandler(sys.stderr), logging.getLogger("engine")
    handler.setFormatter(LINE)
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextmanager
def stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the query; a batch that is cut short is repeated next time."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        stopping.set()

    before = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def report(conf: AppConf, job: Job) -> None:
    """Print the summary for a person and write it for programs."""
    whole = job.metrics.summary()
    summary = {name: whole[name] for name in KNOWN}
    if conf.summary.json is not None:
        write_json(conf.summary.json, summary, key="summary.json")
    if conf.view != "none":
        lines = [f"{name:<{WIDTH}} {value}" for name, value in summary.items()]
        print("", *lines, sep="\n", file=sys.stderr)
