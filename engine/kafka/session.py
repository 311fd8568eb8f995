"""The clients of one run: made when the topic is there, joined to the group, and ended.

What they tell by the way is kept here: that a broker refuses us, or that none is left.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

from engine.config import BatchConf
from engine.errors import BotsieveError, FencedError
from engine.kafka.callbacks import Callbacks
from engine.kafka.client import (
    Reach,
    client_properties,
    consumer_properties,
    meaning,
    wait_for_topic,
)
from engine.kafka.commits import Commits
from engine.kafka.fetch import Fetch
from engine.kafka.membership import (
    InstanceLock,
    View,
    instance_id,
    members,
    refuse_second_engine,
)
from engine.kafka.native import open_fetch
from engine.source_config import KafkaConf
from engine.sources import Standing

log = logging.getLogger(__name__)

WAIT_S = 0.5
CLOSE_S = 5.0
CALLBACK_S = 0.01
PATIENCE_SESSIONS = 2.5

OnPartitions = Callable[[Consumer, list[TopicPartition]], None]


class Session:
    """A consumer with all that belongs to it; the thread that owns the source owns this."""

    consumer: Consumer
    fetch: Fetch
    view: View
    timeout_s: float

    def __init__(self, conf: KafkaConf, batch: BatchConf, *, stopping: threading.Event) -> None:
        """Nothing is connected yet; `find_topic` makes what is declared above."""
        self._conf, self._batch, self._stopping = conf, batch, stopping
        self._instance = instance_id(conf.instance_id)
        self._lock = InstanceLock(
            bootstrap_servers=conf.bootstrap_servers,
            group_id=conf.group_id,
            instance=self._instance,
        )
        self._reach = Reach(conf.topic)
        self.standing = Standing(missing="broker", served_s=time.monotonic())
        self.commits, self.callbacks = Commits(conf.topic), Callbacks()
        self.failure: BotsieveError | None = None
        self.known: set[int] = set()  # partitions that are no newer than this run
        self.begun: set[int] = set()  # those for which the group has a commit

    def find_topic(self, *, lock: bool) -> set[int]:
        """Wait for the topic and connect; return its partitions, none after a stop."""
        if lock:
            self._lock.take()
        found, waited = self._wait_for_topic()
        self.known = set() if waited else found
        self._connect(len(found))
        return set() if self._stopping.is_set() else found

    def _wait_for_topic(self) -> tuple[set[int], bool]:
        self._admin = AdminClient(client_properties(self._conf) | self._on_errors(), logger=log)
        found = wait_for_topic(
            self._admin, self._conf, failure=lambda: self.failure, wait=self._wait_for
        )
        self.standing.missing = "partitions"
        return found

    def connect_again(self, fenced: FencedError) -> None:
        """Take our place in the group again; raise where another engine has it.

        A member whose session ends in the moment in which its broker is back is fenced as well. So
        wait until the group has forgotten it: for longer than a session no dead member is known.
        """
        log.warning("source.instance_id: the group has given our place away; looking for whom")
        self.failure, self.commits = None, Commits(self._conf.topic)
        found, _ = self._wait_for_topic()
        deadline_s = time.monotonic() + PATIENCE_SESSIONS * self.timeout_s
        while self._may_be_replaced() and not self._wait_for("partitions"):
            if time.monotonic() > deadline_s:
                raise fenced
        self._end_clients()
        self._connect(len(found))

    def _may_be_replaced(self) -> bool:
        """Whether the group has a member with our instance id, or does not tell."""
        known = members(self._admin, self._conf.group_id)
        return known is None or self._instance in known

    def _wait_for(self, missing: str) -> bool:
        self.standing.missing, self.standing.served_s = missing, time.monotonic()
        return self._stopping.wait(WAIT_S)

    def _connect(self, n_partitions: int) -> None:
        """Make the consumer and the fetch; nothing is asked of the broker yet."""
        properties = consumer_properties(self._conf, self._instance, n_partitions)
        self.timeout_s = int(properties["session.timeout.ms"]) / 1000
        on_commit = self.callbacks.guarded("committed", self.commits.on_commit)
        on_errors = self._on_errors()
        self.consumer = Consumer(properties | on_errors | {"on_commit": on_commit}, logger=log)
        # one that is stopped already reads nothing: it needs no trial
        conf = replace(self._conf, drain="plain") if self._stopping.is_set() else self._conf
        self.fetch = open_fetch(self.consumer, conf, self._batch, on_errors["error_cb"])
        self.view = View(self._conf.topic, self._conf.group_id, patience_s=self.timeout_s + 2)

    def join(
        self,
        on_assign: OnPartitions,
        on_revoke: OnPartitions,
        on_lost: OnPartitions,
        *,
        alone: bool,
    ) -> None:
        """Join the group; `alone` skips the look at its other members."""
        conf, guarded = self._conf, self.callbacks.guarded
        if not alone:
            refuse_second_engine(self._admin, group_id=conf.group_id, instance=self._instance)
        del self._admin
        self.consumer.subscribe(
            [conf.topic],
            on_assign=guarded("assigned", on_assign),
            on_revoke=guarded("revoked", on_revoke),
            on_lost=guarded("lost", on_lost),
        )

    def _on_errors(self) -> dict[str, Any]:
        return {"error_cb": self.callbacks.guarded("error", self._on_error)}

    def _on_error(self, error: KafkaError) -> None:
        self.failure = self.failure or meaning(error)
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._reach.lose()
        log.warning("source.bootstrap_servers: %s", error.str())

    def note_served(self, partitions: list[int]) -> None:
        """Note that the client was served just now, and how that leaves us."""
        missing = "" if partitions else "partitions"
        if not self._reach.is_there(self.consumer):
            missing = "broker"
        self.standing.missing = missing  # in one step: whoever looks must not see it half done
        self.standing.is_partial = self.view.is_partial
        self.standing.served_s = time.monotonic()

    def close(self) -> None:
        """Wait for the commit in flight, end the consumer, free the lock."""
        deadline_s = time.monotonic() + CLOSE_S
        while self.commits.in_flight and time.monotonic() < deadline_s:
            self.consumer.poll(CALLBACK_S)
        self._end_clients()
        self._lock.release()

    def _end_clients(self) -> None:
        self.fetch.close()
        # the client's own `close` hangs where the group assigns in that moment (librdkafka 4884)
        del self.fetch, self.consumer
