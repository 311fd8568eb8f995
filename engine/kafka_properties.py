"""Which librdkafka properties a user may set under `source.kafka`, and why some are not theirs.

The delivery guarantee rests on the refused ones; all others are librdkafka's to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import ConfigError
from engine.schema import is_kind, refusal

COMMITS = "the engine commits itself, after the sink has confirmed"
ASSIGNS = "the engine relies on the classic protocol with range assignment"
CODE = "it would run code that a config must not bring"
OWNED = {
    "enable.auto.commit": COMMITS,
    "auto.commit.enable": COMMITS,
    "enable.auto.offset.store": COMMITS,
    "offset.store.method": COMMITS,
    "auto.offset.reset": "use source.start and source.on_data_loss",
    "group.id": "use source.group_id",
    "group.instance.id": "use source.instance_id",
    "bootstrap.servers": "use source.bootstrap_servers",
    "metadata.broker.list": "use source.bootstrap_servers",
    "enable.partition.eof": "the engine needs it to tell a silent partition from a slow one",
    "partition.assignment.strategy": ASSIGNS,
    "group.protocol": ASSIGNS,
    "group.remote.assignor": ASSIGNS,
    "plugin.library.paths": CODE,
    "sasl.kerberos.kinit.cmd": CODE,
}


def check_properties(properties: Mapping[str, Any]) -> None:
    """Refuse the first property that is the engine's own, or whose value no property can have."""
    for name, value in properties.items():
        key = f"source.kafka.{name}"
        reason = CODE if name.endswith("_cb") else OWNED.get(name)
        if reason:
            problem = f"is refused: {reason}"
            raise ConfigError(key, problem)
        if name == "isolation.level" and value != "read_committed":
            raise refusal(key, value, allowed="read_committed")
        if not any(is_kind(value, kind) for kind in (bool, float, str)):
            raise refusal(key, value, allowed="text, a number, true or false")
