"""The typed config of the sources; see `engine.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from engine.kafka_properties import check_properties
from engine.schema import Group, NotEmpty, OneOf, Range, check_different, refusal

MAX_TIME_S = 100_000_000_000
LONG_S = Range(0, 1_000_000_000)


@dataclass
class RekeyConf(Group):
    """What task=rekey copies source.topic to."""

    key: ClassVar[str] = "rekey"
    topic: Annotated[str | None, "the topic that gets the records, keyed by address"] = None
    interval_s: Annotated[float, Range(0.01, 30), "a transaction is committed so often"] = 0.5


@dataclass
class FieldsConf(Group):
    """The names that the four fields of an event have in the input."""

    key: ClassVar[str] = "source.fields"
    time: Annotated[str, "name of the event time, in unix seconds"] = "unix_time"
    category: Annotated[str, "name of the category id"] = "category_id"
    ip: Annotated[str, "name of the address"] = "ip"
    type: Annotated[str, "name of the event type"] = "type"

    def __post_init__(self) -> None:
        """Refuse empty and repeated names."""
        super().__post_init__()
        check_different(self.key, (self.time, self.category, self.ip, self.type))


@dataclass
class SourceConf(Group):
    """What both sources have."""

    key: ClassVar[str] = "source"
    fields: FieldsConf = field(default_factory=FieldsConf)
    keyed: Annotated[bool, "each address is in one partition: several engines may share"] = False
    unknown_type: Annotated[str, OneOf("view", "reject"), "what another type counts as"] = "view"


@dataclass
class FileConf(SourceConf):
    """A file, a directory, a glob, or `-` for stdin; lines, or what a run has recorded."""

    path: Annotated[
        str, NotEmpty(), "a file, a directory, a glob, or -; of lines, or recorded .parquet"
    ] = "-"


@dataclass
class KafkaConf(SourceConf):
    """A topic, read as a consumer group."""

    bootstrap_servers: Annotated[str, NotEmpty(), "brokers: host:port,..."] = "localhost:9092"
    topic: Annotated[str, NotEmpty(), "the topic with the events"] = "bot-logs"
    group_id: Annotated[str, NotEmpty(), "the consumer group"] = "bot-logs-group-1"
    instance_id: Annotated[str, "static member name; empty: the host name"] = ""
    start: Annotated[str, "without a commit: latest, earliest or a unix time"] = "latest"
    ignore_commits: Annotated[bool, "begin at source.start even if there are commits"] = False
    stop_at_end: Annotated[bool, "stop when each partition has been read to its end"] = False
    on_data_loss: Annotated[
        str, OneOf("fail", "earliest", "latest"), "when uncounted records are gone"
    ] = "fail"
    drain: Annotated[str, OneOf("auto", "plain"), "plain: no batches of librdkafka"] = "auto"
    startup_timeout_s: Annotated[float, LONG_S, "how long to wait for broker and topic"] = 300.0
    kafka: Annotated[dict[str, Any], "librdkafka properties, such as security.protocol"] = field(
        default_factory=dict, repr=False
    )

    def __post_init__(self) -> None:
        """Refuse unknown start positions and properties that are the engine's own."""
        super().__post_init__()
        key = "source.start"
        is_time = self.start.isascii() and self.start.isdecimal()
        if self.start not in ("latest", "earliest") and not is_time:
            raise refusal(key, self.start, allowed="latest, earliest, or a time in unix seconds")
        if is_time and len(self.start) > len(str(MAX_TIME_S)):
            raise refusal(key, self.start, allowed="a time in seconds, not in ms")
        check_properties(self.kafka)
