"""Who else reads the topic: a lock against a second engine on this host, a look at the group.

A static member that joins twice would push the first one out of the group, so a second engine is
refused before it joins. The lock is the kernel's: it is free at once after kill -9.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import socket
import tempfile
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

from engine.errors import PartialViewError

log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 10.0
TOPIC_TIMEOUT_S = 5.0


def instance_id(configured: str) -> str:
    """Return the configured instance id, or this host's name."""
    return configured or socket.gethostname()


class InstanceLock:
    """Held while an engine with this group and instance id runs on this host."""

    def __init__(self, *, bootstrap_servers: str, group_id: str, instance: str) -> None:
        """Name the lock; nothing is taken yet."""
        self._what = f"group {group_id}, instance {instance}"
        name = hashlib.sha256(f"{bootstrap_servers}\n{group_id}\n{instance}".encode()).hexdigest()
        folder = Path(tempfile.gettempdir()) / f"botsieve-{os.getuid()}"
        self._path = folder / f"{name[:16]}.lock"
        self._descriptor = -1

    def take(self) -> None:
        """Take the lock, or say that another engine has it; without a place for it go on."""
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("source.instance_id: no lock on this host: %s; going on without", error)
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = (
                f"source.instance_id: another engine runs on this host as {self._what}; "
                "stop it, or give this one its own source.group_id (with source.keyed: instance_id)"
            )
            raise PartialViewError(problem) from None

    def release(self) -> None:
        """Let the lock go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def members(admin: AdminClient, group_id: str) -> set[str] | None:
    """Return the instance ids in a group, or client ids; None where no coordinator answers."""
    future = admin.describe_consumer_groups([group_id], request_timeout=LOOK_TIMEOUT_S)[group_id]
    try:
        return {m.group_instance_id or m.client_id for m in future.result().members}
    except KafkaException:
        return None


def refuse_second_engine(admin: AdminClient, *, group_id: str, instance: str) -> None:
    """Raise where a member with another instance id is in the group already."""
    # where the coordinator answers later, the assignment will show a partial view
    others = sorted((members(admin, group_id) or set()) - {instance})
    if others:
        problem = (
            f"source.group_id: '{group_id}' is read by {', '.join(others)} already; one engine "
            "must see the whole topic: stop the other, take another source.group_id, or set "
            "source.keyed=true if the topic is keyed by address"
        )
        raise PartialViewError(problem)


class View:
    """Whether this member sees the whole topic; a part of it is not enough for any verdict."""

    def __init__(self, topic: str, group_id: str, *, patience_s: float) -> None:
        """Nothing is seen yet; `patience_s` is how long a partial view may last at the start."""
        self._topic, self._group_id, self._patience_s = topic, group_id, patience_s
        self._partial_since_s: float | None = None
        self._was_whole = False

    @property
    def is_partial(self) -> bool:
        """Whether a part of the topic was assigned last."""
        return self._partial_since_s is not None

    def is_whole(self, consumer: Consumer, partitions: list[int]) -> bool:
        """Note what was assigned; raise KafkaException where the broker does not name all."""
        topic = consumer.list_topics(self._topic, timeout=TOPIC_TIMEOUT_S).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        whole = set(partitions) == set(topic.partitions)
        self._was_whole |= whole
        self._partial_since_s = None if whole else self._partial_since_s or time.monotonic()
        return whole

    def lose(self) -> None:
        """Forget that the whole was seen: the group gave us up, and another may have it now."""
        self._was_whole = False

    def check(self) -> None:
        """Leave where another member holds a part of the topic and we never held the whole."""
        if self._partial_since_s is None or self._was_whole:
            return
        if time.monotonic() - self._partial_since_s > self._patience_s:
            problem = (
                f"source.group_id: another engine reads a part of '{self._topic}' as "
                f"'{self._group_id}'; one engine must see the whole topic"
            )
            raise PartialViewError(problem)
