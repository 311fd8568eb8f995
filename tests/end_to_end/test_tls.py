"""TLS with a user's own rights, to a real Kafka and a real Redis; a wrong certificate is refused.

The Valkey of the tests has no TLS of its own, so a TLS end of ours stands before it. Where a
`redis-server` with TLS is installed, the same is asked of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import ALICE, PASSWORD
from tests.end_to_end.engine_process import EngineProcess
from tests.end_to_end.logs import IP, burst, window_ago
from tests.end_to_end.rig import TO_THE_END, Rig
from tests.end_to_end.test_acl import PASSWORD as REDIS_PASSWORD
from tests.end_to_end.test_acl import words_of
from tests.services.acl import GROUP, READ, TOPIC, allow
from tests.services.kafka import KafkaBroker
from tests.services.kafka_node import SCRAM, TLS_HOST
from tests.services.process import LOOPBACK, free_port
from tests.services.tls import Certificates, TlsEnd
from tests.services.valkey import ValkeyServer

AUTH = 77
REDIS_SERVER = shutil.which("redis-server")
SINCE_REDIS_7_2 = "+client|setinfo"
SERVERS = ["valkey behind a TLS end", *(["redis-server"] if REDIS_SERVER else [])]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A CA, a server's key and certificate, and a CA that has signed nothing."""
    return Certificates(tmp_path_factory.mktemp("tls"))


# -- Redis -------------------------------------------------------------------------------------


@pytest.fixture(params=SERVERS)
def secured(
    request: pytest.FixtureRequest,
    certificates: Certificates,
    new_valkey: Callable[..., ValkeyServer],
) -> Iterator[tuple[ValkeyServer, int]]:
    """A server whose user is the documented one, and its TLS port."""
    with ExitStack() as stack:
        if request.param == "redis-server":
            port, keystore = free_port(), str(certificates.keystore)
            arguments = {"port": port, "cert-file": keystore, "key-file": keystore,
                         "ca-cert-file": certificates.ca, "auth-clients": "no"}  # fmt: skip
            options = [(f"--tls-{name}", str(value)) for name, value in arguments.items()]
            server = new_valkey(binary=Path(REDIS_SERVER or ""), arguments=sum(options, ()))
        else:
            server = new_valkey()
            port = stack.enter_context(TlsEnd(certificates.keystore, server.port)).port
        words = [word for word in words_of("sink.layout=keys") if word != SINCE_REDIS_7_2]
        with server.client() as client:
            client.execute_command(*words)
            client.execute_command("ACL", "SETUSER", "default", "resetpass", ">for-the-tests")
        yield server, port


def redis_url(host: str, port: int, ca: Path) -> str:
    """Return the override for a Redis behind TLS."""
    return f"sink.url='rediss://{host}:{port}/0?ssl_ca_certs={ca}'"


def test_r8_redis_over_tls_takes_the_documented_user_and_a_wrong_certificate_is_refused(
    secured: tuple[ValkeyServer, int], certificates: Certificates, rig: Callable[..., Rig]
) -> None:
    server, port = secured
    here, start_s = rig(), window_ago(60)
    here.produce(0, burst(start_s))

    def engine(name: str, host: str, ca: Path) -> EngineProcess:
        group = f"source.group_id={here.topic}-{name}"
        there = redis_url(host, port, ca)
        return here.engine(TO_THE_END, group, there, "sink.username=botsieve",
                           REDIS_PASSWORD=REDIS_PASSWORD)  # fmt: skip

    good = engine("good", TLS_HOST, certificates.ca)
    stranger = engine("stranger", TLS_HOST, certificates.other_ca)
    other_name = engine("other-name", LOOPBACK, certificates.ca)
    good.ends()
    with server.client(password="for-the-tests") as client:
        assert client.get(f"bot_{IP}") == here.judged().decisions[IP][0]
    refused = "botsieve: sink.url: the certificate of Redis is refused: "
    said = stranger.ends(AUTH)
    assert said.startswith(refused)
    assert said.endswith("and its CA behind the URL: ?ssl_ca_certs=FILE")
    assert other_name.ends(AUTH).startswith(
        f"{refused}IP address mismatch, certificate is not valid for '{LOOPBACK}'; name the host as"
    )


def test_r8_a_certificate_file_that_is_not_there_and_an_unknown_option_are_refused(
    new_engine: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    gone = tmp_path / "gone.pem"
    no_file = new_engine(redis_url("h", 1, gone))
    no_option = new_engine("sink.url='redis://h/0?tls=yes'")
    assert no_file.ends(78) == (
        f"botsieve: sink.url: ssl_ca_certs='{gone}' is not there; give the path of a file"
    )
    assert no_option.ends(78) == (
        "botsieve: sink.url: has an option behind the `?` that the client does not take"
    )


# -- Kafka -------------------------------------------------------------------------------------


@pytest.fixture
def secured_kafka(new_kafka: Callable[..., KafkaBroker], certificates: Certificates) -> KafkaBroker:
    """A broker that knows alice by SCRAM, over TLS."""
    return new_kafka(users={ALICE: PASSWORD}, keystore=certificates.keystore)


def test_b6_kafka_over_tls_with_scram_is_read_and_a_wrong_certificate_is_refused(
    secured_kafka: KafkaBroker, certificates: Certificates, rig: Callable[..., Rig]
) -> None:
    here, start_s = rig(kafka=secured_kafka), window_ago(60)
    here.produce(0, burst(start_s))
    allow(here.kafka, ALICE, here.topic, [(TOPIC, READ), (GROUP, READ)])
    port = here.kafka.sasl_bootstrap.rpartition(":")[2]

    def engine(name: str, host: str, ca: Path, password: str = PASSWORD) -> EngineProcess:
        return here.engine(
            TO_THE_END,
            f"source.instance_id={name}",
            f"source.bootstrap_servers={host}:{port}",
            "source.kafka.security.protocol=SASL_SSL",
            f"source.kafka.ssl.ca.location={ca}",
            f"source.kafka.sasl.mechanism={SCRAM}",
            f"source.kafka.sasl.username={ALICE}",
            "source.kafka.sasl.password=${oc.env:SASL_PASSWORD}",
            SASL_PASSWORD=password,
        )

    stranger = engine("stranger", TLS_HOST, certificates.other_ca)
    other_name = engine("other-name", LOOPBACK, certificates.ca)
    wrong = engine("wrong", TLS_HOST, certificates.ca, "battery-staple")
    for refused in (stranger, other_name):
        assert refused.ends(AUTH) == (
            "botsieve: source.kafka: the broker's certificate is refused: check ssl.ca.location, "
            "and that source.bootstrap_servers names the host as the certificate does"
        )
    assert wrong.ends(AUTH).startswith("botsieve: source.kafka: the broker refuses us: ")
    engine("good", TLS_HOST, certificates.ca).ends()
    assert here.wrong_keys(here.judged()) == ""
