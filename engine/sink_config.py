"""The typed config of the sink; see `engine.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from engine.errors import ConfigError
from engine.schema import Group, OneOf, Range, check_different

TTL_S = Range(1, 1_000_000_000)


@dataclass
class PrefixConf(Group):
    """What the keys begin with."""

    key: ClassVar[str] = "sink.prefix"
    statistics: Annotated[str, "begins the keys of statistics"] = "stat_"
    decision: Annotated[str, "begins the keys of decisions"] = "bot_"
    shadow: Annotated[str, "begins the keys of shadow decisions"] = "shadow_"

    def __post_init__(self) -> None:
        """Refuse prefixes under which two kinds of key would be one."""
        super().__post_init__()
        check_different(self.key, (self.statistics, self.decision, self.shadow))


@dataclass
class SinkConf(Group):
    """Where verdicts go, and how long they stay."""

    key: ClassVar[str] = "sink"
    kind: Annotated[str, OneOf("redis", "memory", "console"), "set by sink=..."] = "redis"
    url: Annotated[str, "redis://, rediss:// or unix://"] = field(
        default="redis://localhost:6379/0", repr=False
    )
    username: Annotated[str | None, "the Redis user"] = None
    password_file: Annotated[str | None, "file with its password; else REDIS_PASSWORD"] = None
    layout: Annotated[str, OneOf("keys", "sets", "hash"), "how Redis holds it"] = "keys"
    statistics: Annotated[str, OneOf("all", "flagged", "none"), "whose are written"] = "all"
    decisions: Annotated[str, OneOf("all", "none"), "none: a dry run, only statistics"] = "all"
    ttl_s: Annotated[int, TTL_S, "how long a decision stays after its window"] = 600
    statistics_ttl_s: Annotated[int, TTL_S, "how long statistics stay"] = 600
    prefix: PrefixConf = field(default_factory=PrefixConf)

    def __post_init__(self) -> None:
        """Refuse a URL that names no Redis. It may hold a password, so it is not shown."""
        super().__post_init__()
        if not is_redis_url(self.url):
            problem = "is no Redis URL; allowed: redis://HOST:PORT/DB, rediss://..., unix://PATH"
            raise ConfigError(key="sink.url", problem=problem)


def is_redis_url(url: str) -> bool:
    """Whether `url` has a scheme and a port that Redis clients know."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("redis", "rediss", "unix") and parts.port != 0
    except ValueError:  # a port that is no number, or half an IPv6 address
        return False


@dataclass
class TtlConf(Group):
    """Which clock a TTL counts from: `auto` is event time for Kafka, the write for files."""

    key: ClassVar[str] = "ttl"
    clock: Annotated[str, OneOf("auto", "event", "write"), "what a TTL counts from"] = "auto"
