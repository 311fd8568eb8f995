"""Rights at a Kafka whose users need them."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.services.kafka import KafkaBroker
from tests.services.kafka_client import REQUEST_TIMEOUT_S

READ, DESCRIBE = AclOperation.READ, AclOperation.DESCRIBE
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP

Right = tuple[ResourceType, AclOperation]


def allow(kafka: KafkaBroker, user: str, name: str, rights: Iterable[Right]) -> None:
    """Give a user these rights on the topic and the group of this name."""
    granted = AclPermissionType.ALLOW
    acls = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, granted)
        for kind, operation in rights
    ]
    for done in kafka.admin.create_acls(acls).values():
        done.result(REQUEST_TIMEOUT_S)
