"""Row B6: what the broker refuses is said by the name of the right that is missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import ALICE, PASSWORD
from tests.end_to_end.logs import burst, window_ago
from tests.end_to_end.rig import TO_THE_END, Rig
from tests.services.acl import DESCRIBE, GROUP, READ, TOPIC, Right, allow

AUTH = 77


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
    rights: list[Right],
    missing: str,
    rig: Callable[..., Rig],
) -> None:
    here = rig()
    here.produce(0, burst(window_ago(60)))
    allow(here.kafka, ALICE, here.topic, rights)
    engine = here.engine(*as_alice(here), SASL_PASSWORD=PASSWORD)
    assert f"refuses us {missing}" in engine.ends(AUTH)
    assert PASSWORD not in engine.output


def test_b6_the_rights_that_are_documented_are_enough(
    rig: Callable[..., Rig],
) -> None:
    here = rig()
    here.produce(0, burst(window_ago(60)))
    allow(here.kafka, ALICE, here.topic, [(TOPIC, READ), (TOPIC, DESCRIBE), (GROUP, READ)])
    here.engine(*as_alice(here), TO_THE_END, SASL_PASSWORD=PASSWORD).ends()
    assert here.wrong_keys(here.judged()) == ""
