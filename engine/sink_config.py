"""The typed config of the sink; see `engine.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar
from urllib.parse import parse_qs, urlsplit

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
    url: Annotated[str, "redis://, rediss:// or unix://; several hosts: HOST:PORT,HOST:PORT"] = (
        field(default="redis://localhost:6379/0", repr=False)
    )
    topology: Annotated[str, OneOf("single", "cluster", "sentinel"), "what the URL leads to"] = (
        "single"
    )
    username: Annotated[str | None, "the Redis user"] = None
    password_file: Annotated[str | None, "file with its password; else REDIS_PASSWORD"] = None
    sentinel_name: Annotated[str | None, "what the sentinels call the master"] = None
    sentinel_username: Annotated[str | None, "the user at the sentinels"] = None
    sentinel_password_file: Annotated[
        str | None, "file with its password; else REDIS_SENTINEL_PASSWORD"
    ] = None
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
    """Whether `url` has a scheme and ports that Redis clients know."""
    try:
        ports = [urlsplit(f"//{host}").port for host in hosts_of(url)]
        return urlsplit(url).scheme in ("redis", "rediss", "unix") and 0 not in ports
    except ValueError:  # a port that is no number, or half an IPv6 address
        return False


def hosts_of(url: str) -> list[str]:
    """Return each HOST:PORT that a URL names."""
    return urlsplit(url).netloc.rpartition("@")[2].split(",")


def database_of(url: str) -> str:
    """Return the database that a URL names, `0` where it names none."""
    parts = urlsplit(url)
    return parse_qs(parts.query).get("db", [parts.path.strip("/") or "0"])[0]


def check_topology(conf: SinkConf) -> None:
    """Refuse what does not go together: a URL, and what it is said to lead to."""
    is_sentinel, hosts = conf.topology == "sentinel", hosts_of(conf.url)
    if not is_sentinel and conf.sentinel_name is not None:
        problem = f"is for sink.topology=sentinel, and this is {conf.topology}; leave it out"
        raise ConfigError(key="sink.sentinel_name", problem=problem)
    if is_sentinel and conf.sentinel_name is None:
        problem = "is missing; give the master's name, as in `sentinel monitor NAME ...`"
        raise ConfigError(key="sink.sentinel_name", problem=problem)
    if conf.topology == "single" and len(hosts) > 1:
        problem = f"names {len(hosts)} hosts; say what they are: sink.topology=cluster or sentinel"
        raise ConfigError(key="sink.url", problem=problem)
    if conf.topology != "single" and urlsplit(conf.url).scheme == "unix":
        problem = f"is a unix socket, at which no {conf.topology} is reached; give redis:// hosts"
        raise ConfigError(key="sink.url", problem=problem)
    if conf.topology == "cluster" and database_of(conf.url) != "0":
        problem = "names a database, and a cluster has only 0; leave it out"
        raise ConfigError(key="sink.url", problem=problem)


@dataclass
class TtlConf(Group):
    """Which clock a TTL counts from: `auto` is event time for Kafka, the write for files."""

    key: ClassVar[str] = "ttl"
    clock: Annotated[str, OneOf("auto", "event", "write"), "what a TTL counts from"] = "auto"
