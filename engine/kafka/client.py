"""The Kafka client: its properties, what its errors mean, and the wait for its topic.

Facts of the library that decide here: fetch settings matter more than anything else for speed, and
the default reset policy would skip records silently.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from engine.errors import AuthError, BotsieveError, DataLossError, FencedError, UnavailableError
from engine.source_config import KafkaConf

log = logging.getLogger(__name__)

TUNED = {
    "fetch.queue.backoff.ms": 5,
    "fetch.wait.max.ms": 100,  # so late the end of a partition is known at most
    "fetch.max.bytes": 16 << 20,
    "max.partition.fetch.bytes": 4 << 20,
    "queued.min.messages": 1_000_000,
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 2_000,
    "topic.metadata.refresh.interval.ms": 30_000,
    "topic.metadata.propagation.max.ms": 1_000,
}
OWNED = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "group.protocol": "classic",
    "partition.assignment.strategy": "range",
    "allow.auto.create.topics": False,
}
PREFETCHED_KB = 24_576  # of values, over all partitions; with what belongs to each, 200 MB
LEAST_PREFETCHED_KB = 256
WAITING_LINE_S = 30.0
BAD_CERTIFICATE = "certificate verify failed"  # other failures of a handshake may pass
ASK_EVERY_S, ANSWER_S = 1.0, 0.2

AUTHENTICATION = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}  # noqa: SLF001
AUTHORIZATION = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "READ on source.topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "READ on source.group_id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "access to the cluster",
}
# A consumer of a classic group knows no other fatal error than to be fenced.
FENCED = {KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL}  # noqa: SLF001


def client_properties(conf: KafkaConf) -> dict[str, Any]:
    """Return what every client of this run needs: the address and the user's own properties."""
    return {"bootstrap.servers": conf.bootstrap_servers, **conf.kafka}


def consumer_properties(conf: KafkaConf, instance: str, n_partitions: int) -> dict[str, Any]:
    """Return the consumer's properties: tuned, then the user's, then those that we own.

    Each partition has a queue of its own, so the more there are the less each may prefetch.
    """
    prefetched_kb = max(PREFETCHED_KB // max(n_partitions, 1), LEAST_PREFETCHED_KB)
    tuned = {**TUNED, "queued.max.messages.kbytes": prefetched_kb}
    member = {"group.id": conf.group_id, "group.instance.id": instance}
    return {**tuned, **client_properties(conf), **OWNED, **member}


def meaning(error: KafkaError) -> BotsieveError | None:
    """Return what a client error means for the user, or None where it passes by itself."""
    code = error.code()
    if code in AUTHENTICATION:
        problem = f"source.kafka: the broker refuses us: {error.str()}; check the sasl.* keys"
        return AuthError(problem)
    if code == KafkaError._SSL and BAD_CERTIFICATE in error.str():  # noqa: SLF001
        problem = (
            "source.kafka: the broker's certificate is refused: check ssl.ca.location, and that "
            "source.bootstrap_servers names the host as the certificate does"
        )
        return AuthError(problem)
    if code in AUTHORIZATION:
        problem = f"source.kafka: the broker refuses us {AUTHORIZATION[code]}: {error.str()}"
        return AuthError(problem)
    if code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
        problem = (
            f"source.topic: records that were not counted are gone ({error.str()}); set "
            "source.on_data_loss=earliest to go on with a gap"
        )
        return DataLossError(problem)
    if code in FENCED:
        problem = (
            "source.instance_id: another engine has joined with our instance id; stop it, or give "
            "each its own source.group_id"
        )
        return FencedError(problem)
    return None


class Reach:
    """Whether a broker is there: the client tells when it has lost all, never when one is back."""

    def __init__(self, topic: str) -> None:
        """Nothing is lost yet."""
        self._topic, self._is_lost, self._asked_s = topic, False, 0.0

    def lose(self) -> None:
        """Note that no broker answers; a callback of the client may say so."""
        self._is_lost = True

    def is_there(self, consumer: Consumer) -> bool:
        """Return whether a broker answers; one that was lost is asked about once a second."""
        now_s = time.monotonic()
        if self._is_lost and now_s - self._asked_s >= ASK_EVERY_S:
            self._asked_s = now_s
            with suppress(KafkaException):
                consumer.list_topics(self._topic, timeout=ANSWER_S)
                self._is_lost = False
        return not self._is_lost


def wait_for_topic(
    admin: AdminClient,
    conf: KafkaConf,
    *,
    failure: Callable[[], BotsieveError | None],
    wait: Callable[[str], bool],
) -> tuple[set[int], bool]:
    """Return (the topic's partitions, it had to be waited for); give up after the timeout.

    `wait` is told what is missing, `broker` or `topic`, waits a moment and says whether to stop.
    """
    started_s, told_s, missing = time.monotonic(), -WAITING_LINE_S, False
    while True:
        awaited = "broker"
        problem = f"source.bootstrap_servers: no broker answers at {conf.bootstrap_servers}"
        admin.poll(0)  # serves the callback that hears of a refused password
        try:
            topic = admin.list_topics(conf.topic, timeout=1.0).topics[conf.topic]
            if topic.error is None and topic.partitions:
                return set(topic.partitions), missing
            if topic.error is not None and (error := meaning(topic.error)):
                raise error
            awaited, missing = "topic", True
            problem = f"source.topic: there is no topic '{conf.topic}'"
        except KafkaException as exception:
            if error := meaning(exception.args[0]):
                raise error from None
        if error := failure():
            raise error
        now_s = time.monotonic()
        if now_s - started_s >= conf.startup_timeout_s:
            message = (
                f"{problem}; gave up after source.startup_timeout_s={conf.startup_timeout_s:g}"
            )
            raise UnavailableError(message)
        if now_s - told_s >= WAITING_LINE_S:
            log.warning("%s; waiting for it", problem)
            told_s = now_s
        if wait(awaited):
            return set(), missing
