"""From the config of the sink to the servers that it means; nothing is connected here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from engine.errors import ConfigError
from engine.redis_cluster import Cluster
from engine.redis_connection import Wires
from engine.redis_node import RedisNode
from engine.redis_scripts import SCRIPTS
from engine.redis_servers import SentinelServer, Servers, SingleServer
from engine.redis_watch import ServerWatch
from engine.sink_config import SinkConf

SENTINEL_PORT = 26379


def servers_of(conf: SinkConf, *, new_watch: Callable[[], ServerWatch]) -> Servers:
    """Return what stands at the URL: one server, a cluster, or what sentinels name."""
    wires, scripts = data_wires(conf), SCRIPTS[conf.layout]
    if conf.topology == "cluster":
        return Cluster(wires, scripts=scripts, new_watch=new_watch)
    node = RedisNode(wires.to(), scripts=scripts, watch=new_watch())
    if conf.topology == "single" or conf.sentinel_name is None:
        return SingleServer(node)
    sentinels = sentinel_wires(conf)
    return SentinelServer(node, name=conf.sentinel_name, sentinels=sentinels, servers=wires)


def data_wires(conf: SinkConf) -> Wires:
    """Return connections to what holds the keys."""
    password = secret(conf.password_file, "sink.password_file", "REDIS_PASSWORD")
    return Wires(conf.url, username=conf.username, password=password)


def sentinel_wires(conf: SinkConf) -> Wires:
    """Return connections to the sentinels: they have users of their own, and no database."""
    parts = urlsplit(conf.url)
    anonymous = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    key, variable = "sink.sentinel_password_file", "REDIS_SENTINEL_PASSWORD"
    return Wires(
        anonymous,
        username=conf.sentinel_username,
        password=secret(conf.sentinel_password_file, key, variable),
        default_port=SENTINEL_PORT,
        extra={"db": 0},
    )


def secret(path: str | None, key: str, variable: str) -> str | None:
    """Return a password from its file, else from the environment, else None."""
    if path is None:
        return os.environ.get(variable)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        problem = f"'{path}' cannot be read: {error.strerror}"
        raise ConfigError(key=key, problem=problem) from None
