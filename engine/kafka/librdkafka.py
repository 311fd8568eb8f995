"""The C library below the client: batches of messages without a Python object for each.

The extension module of confluent-kafka gives access to the very librdkafka that it is linked with.
Used are public functions (rdkafka.h). One thing is not public: the object of a client holds its
handle right behind the object header. And one is used beyond its word: the error callback of a
client is replaced after it has begun.
"""

from __future__ import annotations

import ctypes
import re
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import confluent_kafka
import numpy as np
from confluent_kafka import Consumer, KafkaError, cimpl
from numpy.typing import NDArray

from engine.batch.decode import Records
from engine.kafka.messages import unpack

CLIENT_VERSIONS = ((2, 13), (3, 0))  # from, below: these keep the handle where we look for it
OBJECT_HEADER_BYTES = 16

POINTER, TEXT, SIZE_T = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
ERROR_CALLBACK = ctypes.CFUNCTYPE(None, POINTER, ctypes.c_int, TEXT, POINTER)
SYMBOLS: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_version": (ctypes.c_int, []),
    "rd_kafka_conf": (POINTER, [POINTER]),
    "rd_kafka_conf_set_error_cb": (None, [POINTER, POINTER]),
    "rd_kafka_queue_new": (POINTER, [POINTER]),
    "rd_kafka_queue_destroy": (None, [POINTER]),
    "rd_kafka_queue_get_partition": (POINTER, [POINTER, TEXT, ctypes.c_int32]),
    "rd_kafka_queue_forward": (None, [POINTER, POINTER]),
    "rd_kafka_consume_batch_queue": (ctypes.c_ssize_t, [POINTER, ctypes.c_int, POINTER, SIZE_T]),
    "rd_kafka_message_destroy": (None, [POINTER]),
    "rd_kafka_message_timestamp": (ctypes.c_int64, [POINTER, POINTER]),
}


class Unusable(Exception):
    """Why the library cannot be used in this way here."""


def load() -> ctypes.CDLL:
    """Return the library; raise Unusable where it is not as we know it."""
    client = metadata.version("confluent-kafka")
    version = re.match(r"(\d+)\.(\d+)", client)
    numbers = tuple(map(int, version.groups())) if version else ()
    if not CLIENT_VERSIONS[0] <= numbers < CLIENT_VERSIONS[1]:
        problem = f"confluent-kafka {client} is not a version we know"
        raise Unusable(problem)
    if sys.implementation.name != "cpython" or object.__basicsize__ != OBJECT_HEADER_BYTES:
        problem = "this Python lays out its objects in another way"
        raise Unusable(problem)
    try:
        library = ctypes.CDLL(cimpl.__file__)
        for name, (result, arguments) in SYMBOLS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise Unusable(str(error)) from None
    if library.rd_kafka_version() != confluent_kafka.libversion()[1]:
        problem = "another librdkafka is loaded than the client's"
        raise Unusable(problem)
    return library


class Queue:
    """A queue of our own, to which partitions of a consumer can be forwarded.

    The consumer's own queue also carries rebalance events, which only the client may serve.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        consumer: Consumer,
        *,
        capacity: int,
        on_error: Callable[[KafkaError], None],
    ) -> None:
        """Make an empty queue from which up to `capacity` messages are taken at once.

        Until `close`, `on_error` hears what the client's `error_cb` would: it must never raise.
        """
        self._library = library
        self._client = POINTER.from_address(id(consumer) + OBJECT_HEADER_BYTES).value
        self._queue = library.rd_kafka_queue_new(self._client)
        self._messages = np.zeros(capacity, np.int64)
        functions = (library.rd_kafka_message_destroy, library.rd_kafka_message_timestamp)
        self._destroy, self._timestamp = (
            ctypes.cast(function, POINTER).value or 0 for function in functions
        )
        self._forwarded: set[tuple[str, int]] = set()
        self._on_error = ERROR_CALLBACK(
            lambda _client, code, reason, _opaque: on_error(error_of(code, reason))
        )
        self._hear_errors(ctypes.cast(self._on_error, POINTER).value)

    def _hear_errors(self, callback: int | None) -> None:
        """Replace the error callback: a partition that is gone is told among its messages.

        The client's own callback aborts the process where the client does not serve the queue.
        """
        library = self._library
        library.rd_kafka_conf_set_error_cb(library.rd_kafka_conf(self._client), callback)

    def forward(self, topic: str, partition: int) -> None:
        """Let the partition's messages come here, from its next assignment on."""
        self._forward(topic, partition, self._queue)
        self._forwarded.add((topic, partition))

    def _forward(self, topic: str, partition: int, to: int | None) -> None:
        library = self._library
        own = library.rd_kafka_queue_get_partition(self._client, topic.encode(), partition)
        library.rd_kafka_queue_forward(own, to)
        library.rd_kafka_queue_destroy(own)

    def take(self, timeout_s: float) -> tuple[Records, NDArray[np.int32]]:
        """Return what comes within that time, or earlier as many messages as fit.

        A message is a record where its error, int32, is 0; else its value is the error's text.
        """
        n = self._library.rd_kafka_consume_batch_queue(
            self._queue, int(timeout_s * 1000), self._messages.ctypes.data, len(self._messages)
        )
        now_ms = int(time.time() * 1000)
        return unpack(self._messages[: max(n, 0)], self._destroy, self._timestamp, now_ms)

    def close(self) -> None:
        """Give the partitions back and destroy the queue with what is in it."""
        for topic, partition in self._forwarded:
            self._forward(topic, partition, None)
        self._hear_errors(None)  # what comes after it is logged by the client
        self._library.rd_kafka_queue_destroy(self._queue)


def error_of(code: int, reason: bytes) -> KafkaError:
    """Return what the library tells by a code and a text."""
    return KafkaError(code, reason.decode("utf-8", "replace"))
