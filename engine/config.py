"""The typed config: one plain dataclass per config group, values and range checks only.

Defaults are those of the original job. A wrong value raises ConfigError with its full key, so it is
refused before anything is connected. Nothing here reads files, the environment or the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from engine.errors import ConfigError

MAX_WINDOW_S = 86_400
MAX_OPEN_PANES = 10_000


def check_range(key: str, value: float, *, low: float, high: float) -> None:
    """Refuse `value` unless low <= value <= high (NaN never is)."""
    if not low <= value <= high or math.isnan(value):
        problem = f"{value} is refused; allowed: {low:.15g} to {high:.15g}"
        raise ConfigError(key, problem)


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse `value` unless it is one of `choices`."""
    if value not in choices:
        problem = f"'{value}' is refused; allowed: {', '.join(choices)}"
        raise ConfigError(key, problem)


@dataclass
class FieldsConf:
    """The names that the four fields of an event have in the input."""

    time: str = "unix_time"
    category: str = "category_id"
    ip: str = "ip"
    type: str = "type"

    def __post_init__(self) -> None:
        """Refuse empty and repeated names."""
        names = (self.time, self.category, self.ip, self.type)
        if "" in names or len(set(names)) < len(names):
            problem = f"{', '.join(names)}: four different, non-empty names are needed"
            raise ConfigError("source.fields", problem)


@dataclass
class SourceConf:
    """What both sources have."""

    fields: FieldsConf = field(default_factory=FieldsConf)
    unknown_type: str = "view"

    def __post_init__(self) -> None:
        """Refuse an unknown policy."""
        check_choice("source.unknown_type", self.unknown_type, ("view", "reject"))


@dataclass
class FileConf(SourceConf):
    """A file, a directory, a glob, or `-` for stdin."""

    path: str = "-"


@dataclass
class KafkaConf(SourceConf):
    """A topic, read as a consumer group."""

    bootstrap_servers: str = "localhost:9092"
    topic: str = "bot-logs"
    group_id: str = "bot-logs-group-1"
    instance_id: str = ""
    start: str = "latest"
    ignore_commits: bool = False
    stop_at_end: bool = False
    on_data_loss: str = "fail"
    startup_timeout_s: float = 300.0
    kafka: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse empty names and unknown start positions."""
        super().__post_init__()
        for name in ("bootstrap_servers", "topic", "group_id"):
            if not getattr(self, name):
                raise ConfigError(f"source.{name}", "is empty; give it a name")
        if self.start not in ("latest", "earliest") and not self.start.isdigit():
            problem = f"'{self.start}' is refused; allowed: latest, earliest, or a time in unix seconds"
            raise ConfigError("source.start", problem)
        choices = ("fail", "earliest", "latest")
        check_choice("source.on_data_loss", self.on_data_loss, choices)
        check_range("source.startup_timeout_s", self.startup_timeout_s, low=0, high=1e9)


@dataclass
class BatchConf:
    """How much is handled at once."""

    interval_s: float = 10.0
    linger_ms: int = 20
    max_events: int = 100_000

    def __post_init__(self) -> None:
        """Refuse what would stall or starve the loop."""
        check_range("batch.interval_s", self.interval_s, low=0.1, high=3600)
        check_range("batch.linger_ms", self.linger_ms, low=1, high=10_000)
        check_range("batch.max_events", self.max_events, low=1, high=1_000_000)


@dataclass
class WindowConf:
    """Event-time windows. `slide_s` None makes them tumbling."""

    length_s: int = 10
    slide_s: int | None = None
    delay_s: int = 10
    idle_s: float = 10.0
    max_future_s: int = 900
    max_keys: int = 10_000_000
    max_categories: int = 64

    def __post_init__(self) -> None:
        """Refuse windows that cannot be built or cannot be held."""
        check_range("window.length_s", self.length_s, low=1, high=MAX_WINDOW_S)
        if self.slide_s is not None:
            check_range("window.slide_s", self.slide_s, low=1, high=self.length_s)
        check_range("window.delay_s", self.delay_s, low=0, high=1_000_000_000)
        check_range("window.idle_s", self.idle_s, low=0.1, high=1_000_000_000)
        check_range("window.max_future_s", self.max_future_s, low=0, high=1_000_000_000)
        check_range("window.max_keys", self.max_keys, low=1, high=1_000_000_000)
        check_range("window.max_categories", self.max_categories, low=1, high=65_535)

    @property
    def effective_slide_s(self) -> int:
        """The slide, which is the length for a tumbling window."""
        return self.slide_s or self.length_s


@dataclass
class LimitsConf:
    """Numbers that the expressions of the presets use."""

    events: float = 10
    click_view_ratio: float = 3
    categories: float = 10

    def __post_init__(self) -> None:
        """Refuse what a count can never be."""
        for name in ("events", "click_view_ratio", "categories"):
            check_range(f"rules.limits.{name}", getattr(self, name), low=0, high=1e15)


@dataclass
class RuleConf:
    """One rule as it is written in YAML; checked in depth by `engine.rules`."""

    name: str = ""
    description: str = ""
    when: str = ""
    ttl_s: int | None = None
    mode: str = "enforce"


@dataclass
class RulesConf:
    """A preset (`rules=default|seed`) or the user's own file (`rules.path`)."""

    path: str | None = None
    limits: LimitsConf = field(default_factory=LimitsConf)
    rules: list[RuleConf] = field(default_factory=list)


@dataclass
class PrefixConf:
    """What the keys begin with."""

    statistics: str = "stat_"
    decision: str = "bot_"
    shadow: str = "shadow_"

    def __post_init__(self) -> None:
        """Refuse prefixes under which two kinds of key would be one."""
        names = (self.statistics, self.decision, self.shadow)
        if "" in names or len(set(names)) < len(names):
            problem = f"{', '.join(names)}: three different, non-empty prefixes are needed"
            raise ConfigError("sink.prefix", problem)


@dataclass
class SinkConf:
    """Where verdicts go, and how long they stay."""

    kind: str = "redis"
    url: str = "redis://localhost:6379/0"
    username: str | None = None
    password_file: str | None = None
    layout: str = "keys"
    statistics: str = "all"
    ttl_s: int = 600
    statistics_ttl_s: int = 600
    prefix: PrefixConf = field(default_factory=PrefixConf)

    def __post_init__(self) -> None:
        """Refuse unknown layouts and TTLs that Redis would refuse."""
        check_choice("sink.kind", self.kind, ("redis", "memory", "console"))
        check_choice("sink.layout", self.layout, ("keys", "sets", "hash"))
        check_choice("sink.statistics", self.statistics, ("all", "flagged", "none"))
        check_range("sink.ttl_s", self.ttl_s, low=1, high=1_000_000_000)
        check_range("sink.statistics_ttl_s", self.statistics_ttl_s, low=1, high=1_000_000_000)


@dataclass
class TtlConf:
    """Which clock a TTL counts from: `auto` is event time for Kafka, the write for files."""

    clock: str = "auto"

    def __post_init__(self) -> None:
        """Refuse an unknown clock."""
        check_choice("ttl.clock", self.clock, ("auto", "event", "write"))


@dataclass
class DeadLetterConf:
    """Where refused records go as well, if anywhere."""

    topic: str | None = None
    path: str | None = None


@dataclass
class SummaryConf:
    """Where the summary of a run is written, if anywhere."""

    json: str | None = None


@dataclass
class DeployConf:
    """`embedded` brings its own broker, Redis and traffic for `duration_s`."""

    kind: str = "none"
    duration_s: int = 60
    linger_s: int = 0
    users: int = 1000
    bots: int = 20
    user_events_per_s: int = 200
    bot_events_per_s: float = 2.0
    seed: int = 1

    def __post_init__(self) -> None:
        """Refuse what botgen would refuse."""
        check_choice("deploy.kind", self.kind, ("none", "embedded"))
        check_range("deploy.duration_s", self.duration_s, low=1, high=86_400)
        check_range("deploy.linger_s", self.linger_s, low=0, high=86_400)
        check_range("deploy.users", self.users, low=1, high=100_000)
        check_range("deploy.bots", self.bots, low=1, high=10_000)
        check_range("deploy.user_events_per_s", self.user_events_per_s, low=1, high=self.users)
        check_range("deploy.bot_events_per_s", self.bot_events_per_s, low=0.01, high=1000)


@dataclass
class AppConf:
    """The whole config of a run."""

    task: str = "run"
    runner: str = "local"
    view: str = "auto"
    accept_state_change: bool = False
    labels: str | None = None
    source: SourceConf = field(default_factory=KafkaConf)
    batch: BatchConf = field(default_factory=BatchConf)
    window: WindowConf = field(default_factory=WindowConf)
    rules: RulesConf = field(default_factory=RulesConf)
    sink: SinkConf = field(default_factory=SinkConf)
    ttl: TtlConf = field(default_factory=TtlConf)
    dead_letter: DeadLetterConf = field(default_factory=DeadLetterConf)
    summary: SummaryConf = field(default_factory=SummaryConf)
    deploy: DeployConf = field(default_factory=DeployConf)

    def __post_init__(self) -> None:
        """Refuse what only shows across groups."""
        check_choice("task", self.task, ("run",))
        check_choice("runner", self.runner, ("local",))
        check_choice("view", self.view, ("auto", "live", "plain", "none"))
        for key, ttl_s in (("sink.ttl_s", self.sink.ttl_s),):
            if ttl_s < self.window.length_s:
                problem = f"{ttl_s} is shorter than window.length_s={self.window.length_s}: raise it"
                raise ConfigError(key, problem)
