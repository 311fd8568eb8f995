"""Row B6: what the broker refuses is said by the name of the right that is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from tests.conftest import ALICE, PASSWORD
from tests.end_to_end.logs import burst, window_ago
from tests.end_to_end.rig import TO_THE_END, Rig
from tests.services.kafka import KafkaBroker

AUTH = 77
READ, DESCRIBE = AclOperation.READ, AclOperation.DESCRIBE
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP


def allow(here: Rig, rights: Iterable[tuple[ResourceType, AclOperation]]) -> None:
    """Give Alice these rights on the rig's topic and group, which have one name."""
    acls = [
        AclBinding(kind, here.topic, ResourcePatternType.LITERAL, f"User:{ALICE}", "*", operation,
                   AclPermissionType.ALLOW)
        for kind, operation in rights
    ]  # fmt: skip
    for done in here.kafka.admin.create_acls(acls).values():
        done.result()


def as_alice(here: Rig) -> list[str]:
    """Return the overrides with which an engine comes as Alice."""
    return [
        f"source.bootstrap_servers={here.kafka.sasl_bootstrap}",
        "source.kafka.security.protocol=SASL_PLAINTEXT",
        "source.kafka.sasl.mechanism=PLAIN",
        f"source.kafka.sasl.username={ALICE}",
        "source.kafka.sasl.password=${oc.env:SASL_PASSWORD}",
    ]


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        ([(TOPIC, DESCRIBE), (GROUP, READ)], "READ on source.topic"),
        ([(TOPIC, READ)], "READ on source.group_id"),
    ],
    ids=["no_read", "no_group"],
)
def test_b6_a_missing_right_is_named(
    rights: list[tuple[ResourceType, AclOperation]],
    missing: str,
    rig: Callable[..., Rig],
    frail_kafka: KafkaBroker,
) -> None:
    here = rig(1, kafka=frail_kafka)
    here.produce(0, burst(window_ago(60)))
    allow(here, rights)
    engine = here.engine(*as_alice(here), SASL_PASSWORD=PASSWORD)
    assert f"refuses us {missing}" in engine.ends(AUTH)
    assert PASSWORD not in engine.output


def test_b6_the_rights_that_are_documented_are_enough(
    rig: Callable[..., Rig], frail_kafka: KafkaBroker
) -> None:
    here = rig(1, kafka=frail_kafka)
    here.produce(0, burst(window_ago(60)))
    allow(here, [(TOPIC, READ), (TOPIC, DESCRIBE), (GROUP, READ)])
    here.engine(*as_alice(here), TO_THE_END, SASL_PASSWORD=PASSWORD).ends()
    assert here.wrong_keys(here.judged()) == ""
