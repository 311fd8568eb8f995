"""Who else reads the topic: a lock against a second engine on this host, a look at the group.

A static member that joins twice would push the first one out of the group, so a second engine is
refused before it joins. The lock is the kernel's: it is free at once after kill -9.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import tempfile
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from engine.errors import PartialViewError

LOOK_TIMEOUT_S = 10.0


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
        """Take the lock, or say that another engine has it."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = (
                f"source.instance_id: another engine runs on this host as {self._what}; "
                "stop it, or give this one its own source.group_id"
            )
            raise PartialViewError(problem) from None

    def release(self) -> None:
        """Let the lock go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def refuse_second_engine(admin: AdminClient, *, group_id: str, instance: str) -> None:
    """Raise where a member with another instance id is in the group already."""
    future = admin.describe_consumer_groups([group_id], request_timeout=LOOK_TIMEOUT_S)[group_id]
    try:
        members = future.result().members
    except KafkaException:
        return  # the coordinator answers later; the assignment will show a partial view
    others = sorted({m.group_instance_id or m.client_id for m in members} - {instance})
    if others:
        problem = (
            f"source.group_id: '{group_id}' is read by {', '.join(others)} already; one engine "
            "must see the whole topic: stop the other, or take another source.group_id"
        )
        raise PartialViewError(problem)
