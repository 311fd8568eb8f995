"""The source's config as options of Spark's Kafka connector, whose client is the one in Java.

`source.kafka` holds librdkafka's names. Those that Java's client has as well pass as they are;
users, passwords and PEM files are translated; what has no counterpart is refused, not ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import ConfigError
from engine.schema import refusal
from engine.source_config import KafkaConf

MECHANISM = ("sasl.mechanism", "sasl.mechanisms")
LOGIN = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
PEM = {
    "ssl.ca.location": ("ssl.truststore.location", "ssl.truststore.type"),
    "ssl.keystore.location": ("ssl.keystore.location", "ssl.keystore.type"),
}
SAME = (
    "client.id",
    "client.rack",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "isolation.level",
    "max.partition.fetch.bytes",
    "metadata.max.age.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.ms",
    "security.protocol",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.password",
)
TRANSLATED = (*MECHANISM, "sasl.username", "sasl.password", *PEM)


def reader_options(conf: KafkaConf, *, max_records: int) -> dict[str, str]:
    """Return all options of the stream of records."""
    return {
        "kafka.bootstrap.servers": conf.bootstrap_servers,
        "subscribe": conf.topic,
        "groupIdPrefix": conf.group_id,
        "maxOffsetsPerTrigger": str(max_records),
        "failOnDataLoss": "true" if conf.on_data_loss == "fail" else "false",
        **start_of(conf.start),
        "kafka.isolation.level": "read_committed",
        **{f"kafka.{name}": value for name, value in java_properties(conf.kafka).items()},
    }


def start_of(start: str) -> dict[str, str]:
    """Return where to begin without a checkpoint; a time after the last record means its end."""
    if start in ("latest", "earliest"):
        return {"startingOffsets": start}
    return {
        "startingTimestamp": str(int(start) * 1000),
        "startingOffsetsByTimestampStrategy": "latest",
    }


def java_properties(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return librdkafka's properties as those of Java's client."""
    found: dict[str, str] = {}
    for name, value in properties.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if name in PEM:
            location, kind = PEM[name]
            found |= {location: text, kind: "PEM"}
        elif name in SAME:
            found[name] = text
        elif name not in TRANSLATED:
            key, allowed = f"source.kafka.{name}", ", ".join((*SAME, *TRANSLATED))
            problem = f"is refused with runner=spark; allowed: {allowed}"
            raise ConfigError(key, problem)
    return found | login_of(properties)


def login_of(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return how to authenticate by a name and a password, {} where there is no mechanism."""
    name = next((name for name in MECHANISM if name in properties), None)
    if name is None:
        return {}
    mechanism = str(properties[name]).upper()
    if mechanism not in LOGIN:
        allowed = f"{', '.join(LOGIN)} with runner=spark"
        raise refusal("source.kafka." + name, mechanism, allowed=allowed)
    user, password = (quoted(properties.get(f"sasl.{key}", "")) for key in ("username", "password"))
    jaas = f"{LOGIN[mechanism]} required username={user} password={password};"
    return {"sasl.mechanism": mechanism, "sasl.jaas.config": jaas}


def quoted(value: object) -> str:
    """Write a value as Java's login configuration reads it."""
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
