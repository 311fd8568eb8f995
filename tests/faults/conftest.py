"""Fixtures of the fault tests: a broker of their own, which is also reached through a proxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.kafka import KafkaBroker
from tests.services.proxy import Proxy


@pytest.fixture(scope="session")
def proxied(
    kafka_jars: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[KafkaBroker, Proxy]]:
    """A broker that is also reached through a proxy."""
    with (
        Proxy(0) as proxy,
        KafkaBroker(tmp_path_factory.mktemp("kafka"), proxy_port=proxy.port) as kafka,
    ):
        proxy.target_port = kafka.proxied_port
        yield kafka, proxy
