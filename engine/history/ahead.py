"""A generator that runs ahead in a thread of its own, so that its work and its user's overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")

N_AHEAD = 2
WAIT_S = 0.2


class End:
    """The last thing that the thread hands over: what ended it, or nothing."""

    def __init__(self, failure: BaseException | None = None) -> None:
        """Keep the failure, if there was one."""
        self.failure = failure


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items in their order and raise what they raise; a few are made ahead."""
    made: queue.Queue[T | End] = queue.Queue(N_AHEAD)
    given_up = threading.Event()
    thread = threading.Thread(target=make, args=(items, made, given_up), name="ahead")
    thread.start()
    try:
        while not isinstance(item := made.get(), End):
            yield item
    finally:
        given_up.set()
        thread.join()
    if item.failure is not None:
        raise item.failure


def make(items: Iterator[T], made: queue.Queue[T | End], given_up: threading.Event) -> None:
    """Hand over the items until they end or nobody wants them any more."""
    try:
        for item in items:
            if not hand_over(item, made, given_up):
                break
        hand_over(End(), made, given_up)
    except BaseException as failure:  # noqa: BLE001 - raised again where it is waited for
        hand_over(End(failure), made, given_up)


def hand_over(item: T | End, made: queue.Queue[T | End], given_up: threading.Event) -> bool:
    """Return whether the item was taken."""
    while not given_up.is_set():
        try:
            made.put(item, timeout=WAIT_S)
        except queue.Full:
            continue
        return True
    return False
