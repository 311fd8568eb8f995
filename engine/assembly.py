"""Puts the parts of a run together from the config: the only wiring, by `match` on typed config.

Nothing here connects or computes; that happens when the pipeline runs.
"""

from __future__ import annotations

import secrets
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.allowlist import Allowlist
from engine.batch.checkpoint import Checkpoint
from engine.batch.decode import DecodeOptions, decode_options
from engine.batch.journal import settings_of
from engine.batch.window import WindowSpec
from engine.breaker import Breaker
from engine.config import AppConf
from engine.dead_letter import DeadLetter, DeadLetterFile, DeadLetterTopic, NoDeadLetter
from engine.detections import Detections
from engine.errors import ConfigError
from engine.guards import Guards
from engine.kafka.client import client_properties
from engine.kafka.replay import ReplaySource
from engine.kafka.source import KafkaSource
from engine.kernels.triage import NEVER
from engine.metrics import Metrics
from engine.parquet_source import ParquetSource, file_source
from engine.pipeline import Pipeline
from engine.record import NoRecord, Record, Recorder
from engine.redis_flags import Pick
from engine.redis_sink import RedisSink
from engine.redis_topology import servers_of
from engine.redis_watch import ServerWatch
from engine.redis_writer import RedisWriter
from engine.rule_windows import replay_span, window_spec
from engine.rules import RuleSet
from engine.sink_config import SinkConf
from engine.sinks import ConsoleSink, MemorySink, Sink, timing
from engine.source_config import FileConf, KafkaConf
from engine.sources import FileSource, Source
from engine.state import State
from engine.writer import Writer


@dataclass
class Run:
    """Everything of one run; `stopping` ends it as SIGTERM does."""

    conf: AppConf
    rules: RuleSet
    metrics: Metrics
    allowlist: Allowlist
    stopping: threading.Event = field(default_factory=threading.Event)
    seed: int = field(default_factory=lambda: secrets.randbits(63))

    def __post_init__(self) -> None:
        """Build the parts, upstream first."""
        conf = self.conf
        self.source = build_source(self)
        self.metrics.standing = self.source.standing
        self.sink = build_sink(self)
        self.detections = Detections(
            self.rules,
            self.metrics,
            seed=self.seed,
            event_clock=isinstance(conf.source, KafkaConf) and conf.task == "run",
            ttl_event_clock=counts_from_event(conf),
            keep_seen=conf.labels is not None,
        )
        writer = Writer(
            self.sink,
            statistics=conf.sink.statistics,
            newest_only=conf.sink.kind == "redis" and conf.sink.layout != "sets",
            enforce_mask=self.rules.enforce_mask,
            clock=time.time,
            dead_letter=build_dead_letter(conf),
            observe=self.detections,
            metrics=self.metrics,
        )
        writer.may_write = self.source.is_current
        writer.on_abandoned = self.source.restart
        guards = build_guards(self)
        writer.before_batch, writer.let_through = guards.before_batch, guards.let_through
        writer.whole_only = conf.task == "replay"
        writer.record = build_record(self)
        self.pipeline = Pipeline(
            self.source,
            State(
                decode_options_of(conf),
                window_spec(conf, self.rules),
                self.rules,
                seed=self.seed,
                metrics=self.metrics,
                accept_state_change=conf.accept_state_change,
            ),
            writer,
            stopping=self.stopping,
            interval_s=conf.batch.interval_s,
            metrics=self.metrics,
        )


def decode_options_of(conf: AppConf) -> DecodeOptions:
    """Return what decoding depends on; blank lines of a file are no records."""
    return decode_options(**decode_settings(conf))


def decode_settings(conf: AppConf) -> dict[str, Any]:
    """Return the same as plain values, which another process can be told."""
    names = conf.source.fields
    return {
        "names": (names.time, names.category, names.ip, names.type),
        "reject_unknown": conf.source.unknown_type == "reject",
        "max_future_s": conf.window.max_future_s,
        "skip_blank": isinstance(conf.source, FileConf),
    }


def build_source(run: Run) -> FileSource | ParquetSource | KafkaSource:
    """Return the source."""
    conf, spec = run.conf, window_spec(run.conf, run.rules)
    match conf.source:
        case FileConf():
            return file_source(conf.source.path, clock_s=time.time())
        case KafkaConf() if conf.task == "replay":
            return build_replay(conf, conf.source, run.rules, stopping=run.stopping)
        case KafkaConf():
            return KafkaSource(
                conf.source,
                conf.batch,
                blank=blank_checkpoint(spec, run.rules),
                delay_s=spec.delay_s,
                idle_s=spec.idle_s,
                stopping=run.stopping,
                alone=conf.deploy.kind == "embedded",
            )
    raise AssertionError(conf.source)


def blank_checkpoint(spec: WindowSpec, rules: RuleSet) -> Checkpoint:
    """Return the checkpoint of a log that is read from its beginning."""
    return Checkpoint(NEVER, NEVER, 0, spec.mode, spec.windows, rules.sha8)


def build_range(conf: AppConf, rules: RuleSet, *, stopping: threading.Event) -> Source:
    """Return the source of a task on history, which joins no group and commits nothing."""
    match conf.source:
        case FileConf():
            return file_source(conf.source.path, clock_s=time.time())
        case KafkaConf():
            return build_replay(conf, conf.source, rules, stopping=stopping)
    raise AssertionError(conf.source)


def build_replay(
    conf: AppConf, source: KafkaConf, rules: RuleSet, *, stopping: threading.Event
) -> ReplaySource:
    """Return the source of windows that ended in the last `replay.since_s` seconds."""
    spec = window_spec(conf, rules)
    since_s = int(time.time()) - conf.replay.since_s
    from_s, closed_s = replay_span(since_s, spec, max_future_s=conf.window.max_future_s)
    return ReplaySource(
        source,
        conf.batch,
        from_s=from_s,
        blank=blank_checkpoint(spec, rules)._replace(closed_s=closed_s),
        delay_s=spec.delay_s,
        idle_s=spec.idle_s,
        stopping=stopping,
    )


def build_sink(run: Run) -> Sink:
    """Return the sink."""
    conf, rules, seed = run.conf.sink, run.rules, np.uint64(run.seed)
    times = timing(conf, rules, event_clock=counts_from_event(run.conf))
    match conf.kind:
        case "memory":
            return MemorySink(conf, rules, times, seed=seed)
        case "console":
            return ConsoleSink(conf, rules, times, seed=seed, out=sys.stdout)
    return RedisSink(
        conf,
        rules,
        times,
        writer=redis_writer(conf, rules, run.metrics, stopping=run.stopping),
        seed=seed,
        stage=run.metrics.stage,
        compare=run.conf.task == "replay",
    )


def redis_writer(
    conf: SinkConf, rules: RuleSet, metrics: Metrics, *, stopping: threading.Event
) -> RedisWriter:
    """Return what writes to Redis, however many servers that is; it tells `metrics` how it is."""

    def note_state(ready: bool) -> None:  # noqa: FBT001 - called by the writer
        metrics.sink_ready = ready

    def note_evicted(n_keys: int) -> None:
        metrics.redis_evicted_keys += n_keys

    longest_s = max([*rules.ttl_s, conf.statistics_ttl_s])
    replay = f"task=replay replay.since_s={longest_s}"
    servers = servers_of(
        conf, new_watch=lambda: ServerWatch(on_evicted=note_evicted, replay=replay)
    )
    return RedisWriter(servers, stopping=stopping, on_state=note_state)


def build_guards(run: Run) -> Guards:
    """Return what may keep verdicts from becoming decisions."""
    return Guards(
        run.allowlist,
        build_breaker(run.conf, run.rules),
        enforce_mask=run.rules.enforce_mask,
        flagged_among=run.sink.flagged_among if isinstance(run.sink, RedisSink) else nobody,
        metrics=run.metrics,
    )


def build_breaker(conf: AppConf, rules: RuleSet) -> Breaker | None:
    """Return what stops decisions when suddenly too many addresses would get one, if anything."""
    if conf.guard.max_flagged_share == 1:
        return None
    return Breaker(
        max_share=conf.guard.max_flagged_share,
        min_addresses=conf.guard.min_addresses,
        enforce_mask=rules.enforce_mask,
        times=timing(conf.sink, rules, event_clock=True),
    )


def nobody(pick: Pick) -> list[bytes]:
    """Return whom the sink flags already, where it keeps nothing."""
    return []


def build_record(run: Run) -> Record:
    """Return what keeps the history; tasks on history make none."""
    conf = run.conf
    if conf.record.path is None or conf.task != "run":
        return NoRecord()
    return Recorder(
        conf.record.path,
        run_id=secrets.token_hex(4),
        rules_sha8=run.rules.sha8,
        windows=settings_of(window_spec(conf, run.rules)),
        interval_s=conf.batch.interval_s,
    )


def counts_from_event(conf: AppConf) -> bool:
    """Return True where a TTL counts from the window's end, not from the write."""
    by_source = isinstance(conf.source, KafkaConf)
    return {"event": True, "write": False}.get(conf.ttl.clock, by_source)


def build_dead_letter(conf: AppConf) -> DeadLetter:
    """Return where refused records go."""
    letters = conf.dead_letter
    name = conf.source.topic if isinstance(conf.source, KafkaConf) else ""
    if letters.topic and letters.path:
        raise ConfigError(key="dead_letter", problem="topic and path are both set; choose one")
    if conf.task == "replay":
        return NoDeadLetter()  # they are there already
    if letters.path:
        return DeadLetterFile(letters.path, topic=name)
    if letters.topic:
        if not isinstance(conf.source, KafkaConf):
            raise ConfigError(
                key="dead_letter.topic", problem="needs source=kafka; use dead_letter.path"
            )
        return DeadLetterTopic(
            letters.topic, source_topic=name, properties=client_properties(conf.source)
        )
    return NoDeadLetter()
