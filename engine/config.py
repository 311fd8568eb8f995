"""The typed config: one plain dataclass per config group, values and range checks only.

Defaults are those of the original job. A wrong value raises ConfigError with its full key, so it is
refused before anything is connected. Nothing here reads files, the environment or the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from engine.history_config import (
    ON_HISTORY,
    TASKS,
    CheckConf,
    RecordConf,
    ReplayConf,
    ReportConf,
    SweepConf,
)
from engine.networks import ALLOWED, NAMED, spans_of
from engine.schema import (
    Group,
    NotEmpty,
    OneOf,
    Range,
    check_fields,
    check_items,
    check_range,
    refusal,
)
from engine.sink_config import SinkConf, TtlConf, check_topology
from engine.source_config import LONG_S, KafkaConf, RekeyConf, SourceConf
from engine.spark_config import SparkConf
from engine.windows import Window, window_of

MAX_WINDOW_S = 86_400
WINDOW_S = Range(1, MAX_WINDOW_S)
COUNT = Range(0, 1e15)


@dataclass
class BatchConf(Group):
    """How much is handled at once."""

    key: ClassVar[str] = "batch"
    interval_s: Annotated[float, Range(0.1, 3600), "longest time between two commits"] = 10.0
    linger_ms: Annotated[int, Range(1, 10_000), "longest wait for a fuller micro-batch"] = 20
    max_events: Annotated[int, Range(1, 1_000_000), "events in a micro-batch"] = 100_000


@dataclass
class WindowConf(Group):
    """Event-time windows. `slide_s` None makes them tumbling."""

    key: ClassVar[str] = "window"
    length_s: Annotated[int, WINDOW_S, "seconds that a window covers"] = 10
    slide_s: Annotated[int | None, WINDOW_S, "seconds from start to start; null: length"] = None
    delay_s: Annotated[int, LONG_S, "how much later than the newest an event may come"] = 10
    idle_s: Annotated[float, Range(0.1, 1e9), "silence after which a partition idles"] = 10.0
    max_future_s: Annotated[int, LONG_S, "how far an event may be ahead of its record"] = 900
    max_span_s: Annotated[int, LONG_S, "most that is read again after a restart"] = 1800
    max_keys: Annotated[int, Range(1, 10**9), "addresses in all open windows"] = 10_000_000
    max_categories: Annotated[int, Range(1, 65_535), "categories counted per address"] = 64

    def __post_init__(self) -> None:
        """Refuse windows that cannot be built."""
        super().__post_init__()
        window_of(self.length_s, self.slide_s, key="window.slide_s")

    @property
    def base(self) -> Window:
        """The window that has the statistics, and that of rules which name none."""
        return Window(self.length_s, self.slide_s or self.length_s)


@dataclass
class LimitsConf(Group):
    """Numbers that the expressions of the presets use."""

    key: ClassVar[str] = "rules.limits"
    events: Annotated[float, COUNT, "events of an address in a window"] = 10
    click_view_ratio: Annotated[float, COUNT, "clicks for one view"] = 3
    categories: Annotated[float, COUNT, "different categories of an address in a window"] = 10


@dataclass
class RuleConf:
    """One rule as it is written in YAML; checked in depth by `engine.rules`."""

    name: str = ""
    description: str = ""
    when: str = ""
    ttl_s: int | None = None
    mode: str = "enforce"
    window_s: int | None = None
    slide_s: int | None = None


@dataclass
class RulesConf(Group):
    """A preset (`rules=default|seed`) or the user's own file (`rules.path`)."""

    key: ClassVar[str] = "rules"
    path: Annotated[str | None, "your own rule set, instead of the preset's rules"] = None
    limits: LimitsConf = field(default_factory=LimitsConf)
    rules: Annotated[list[RuleConf], "the rules themselves, as in conf/rules"] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        """Refuse values of a rule that have another type."""
        super().__post_init__()
        for index, rule in enumerate(self.rules):
            check_fields(rule, f"rules.rules[{index}]")


@dataclass
class AllowConf(Group):
    """Addresses that never get a decision."""

    key: ClassVar[str] = "allow"
    cidrs: Annotated[list[str], "addresses and CIDRs"] = field(default_factory=list)
    path: Annotated[str | None, "file with more, one a line; read again when changed"] = None
    named: Annotated[list[str], f"of {', '.join(NAMED)}"] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse what is no network, and names that are not known."""
        super().__post_init__()
        check_items("allow.cidrs", self.cidrs, is_network, allowed=ALLOWED)
        check_items("allow.named", self.named, NAMED.__contains__, allowed=", ".join(NAMED))


def is_network(text: str) -> bool:
    """Whether `text` is an address or a CIDR."""
    try:
        return bool(spans_of(text))
    except ValueError:
        return False


@dataclass
class GuardConf(Group):
    """Stops decisions when suddenly too many addresses would get one."""

    key: ClassVar[str] = "guard"
    max_flagged_share: Annotated[
        float, Range(0.0001, 1), "of a window's addresses, newly flagged; 1: off"
    ] = 1.0
    min_addresses: Annotated[int, Range(1, 10**9), "windows with fewer are not judged"] = 20


@dataclass
class DeadLetterConf(Group):
    """Where refused records go as well, if anywhere."""

    key: ClassVar[str] = "dead_letter"
    topic: Annotated[str | None, "Kafka topic for refused records"] = None
    path: Annotated[str | None, "file for refused records"] = None


@dataclass
class MetricsConf(Group):
    """The page with metrics and health."""

    key: ClassVar[str] = "metrics"
    port: Annotated[int, Range(0, 65_535), "for /metrics, /healthz and /readyz; 0: no page"] = 0
    host: Annotated[str, NotEmpty(), "the address to listen on; 0.0.0.0 is all"] = "127.0.0.1"


@dataclass
class SummaryConf(Group):
    """Where the summary of a run is written, if anywhere."""

    key: ClassVar[str] = "summary"
    json: Annotated[str | None, "file for the summary of the run"] = None


@dataclass
class DeployConf(Group):
    """`embedded` brings its own broker, Redis and traffic for `duration_s`."""

    key: ClassVar[str] = "deploy"
    kind: Annotated[str, OneOf("none", "embedded"), "set by deploy=..."] = "none"
    duration_s: Annotated[int, Range(1, 86_400), "how long the demo makes traffic"] = 60
    linger_s: Annotated[int, Range(0, 86_400), "how long its Redis stays afterwards"] = 0
    users: Annotated[int, Range(1, 100_000), "honest addresses"] = 1000
    bots: Annotated[int, Range(1, 10_000), "addresses of bots"] = 20
    user_events_per_s: Annotated[int, Range(1, 100_000), "of all; up to one a user"] = 200
    bot_events_per_s: Annotated[float, Range(0.01, 1000), "events of each bot"] = 2.0
    seed: Annotated[int, "the same seed makes the same traffic"] = 1

    def __post_init__(self) -> None:
        """Refuse what botgen would refuse."""
        super().__post_init__()
        check_range("deploy.user_events_per_s", self.user_events_per_s, low=1, high=self.users)


@dataclass
class AppConf(Group):
    """The whole config of a run."""

    task: Annotated[str, OneOf("run", *TASKS), "what to do; README says what each is for"] = "run"
    runner: Annotated[str, OneOf("local", "spark"), "spark: on a cluster; docs/spark.md"] = "local"
    view: Annotated[str, OneOf("auto", "live", "plain", "none"), "what is shown"] = "auto"
    accept_state_change: Annotated[bool, "go on although windows or fields changed"] = False
    address: Annotated[str | None, "whom task=explain explains"] = None
    labels: Annotated[str | None, "CSV of address,label: measure the verdicts by it"] = None
    source: SourceConf = field(default_factory=KafkaConf)
    batch: BatchConf = field(default_factory=BatchConf)
    window: WindowConf = field(default_factory=WindowConf)
    rules: RulesConf = field(default_factory=RulesConf)
    sink: SinkConf = field(default_factory=SinkConf)
    ttl: TtlConf = field(default_factory=TtlConf)
    allow: AllowConf = field(default_factory=AllowConf)
    guard: GuardConf = field(default_factory=GuardConf)
    dead_letter: DeadLetterConf = field(default_factory=DeadLetterConf)
    replay: ReplayConf = field(default_factory=ReplayConf)
    report: ReportConf = field(default_factory=ReportConf)
    check: CheckConf = field(default_factory=CheckConf)
    sweep: SweepConf = field(default_factory=SweepConf)
    record: RecordConf = field(default_factory=RecordConf)
    rekey: RekeyConf = field(default_factory=RekeyConf)
    metrics: MetricsConf = field(default_factory=MetricsConf)
    summary: SummaryConf = field(default_factory=SummaryConf)
    deploy: DeployConf = field(default_factory=DeployConf)
    spark: SparkConf = field(default_factory=SparkConf)

    def __post_init__(self) -> None:
        """Refuse what only shows across keys and groups."""
        super().__post_init__()
        check_topology(self.sink)
        if self.sink.ttl_s < self.window.length_s:
            allowed = f"at least window.length_s={self.window.length_s}"
            raise refusal(key="sink.ttl_s", value=self.sink.ttl_s, allowed=allowed)
        if self.deploy.kind == "embedded" and not isinstance(self.source, KafkaConf):
            raise refusal(key="deploy.kind", value="embedded", allowed="only with source=kafka")
        if self.replay.verify:
            self._check_verify()
        elif self.task == "replay":
            self._check_replay()
        elif self.task == "rekey":
            self._check_rekey()
        if self.address is not None and ("/" in self.address or not is_network(self.address)):
            raise refusal(key="address", value=self.address, allowed="an IPv4 or IPv6 address")
        if self.report.html is not None and self.task != "evaluate":
            raise refusal(key="report.html", value=self.report.html, allowed="only task=evaluate")
        if self.task != "run" and self.deploy.kind == "embedded":
            raise refusal(key="task", value=self.task, allowed="only run with deploy=embedded")

    @property
    def is_on_history(self) -> bool:
        """Whether the task only looks at the past: it writes nothing to the sink."""
        return self.task in ON_HISTORY or self.replay.verify

    def _check_verify(self) -> None:
        """Refuse to verify what was not recorded."""
        if self.task != "replay":
            raise refusal(key="replay.verify", value=True, allowed="only with task=replay")
        if self.record.path is None:
            allowed = "the folder of the journal, with replay.verify=true"
            raise refusal(key="record.path", value=None, allowed=allowed)

    def _check_rekey(self) -> None:
        """Refuse to copy what is no topic, and a topic onto itself."""
        if not isinstance(self.source, KafkaConf):
            raise refusal(key="task", value="rekey", allowed="only with source=kafka")
        if self.rekey.topic == self.source.topic:
            allowed = "another topic than source.topic, which task=rekey copies to it"
            raise refusal(key="rekey.topic", value=self.rekey.topic, allowed=allowed)

    def _check_replay(self) -> None:
        """Refuse a replay of what is no topic of its own, or whose decisions would last longer."""
        if not isinstance(self.source, KafkaConf):
            raise refusal(key="task", value="replay", allowed="only with source=kafka")
        if self.ttl.clock == "write":
            raise refusal(key="ttl.clock", value="write", allowed="auto or event with task=replay")
