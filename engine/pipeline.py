"""The order of effects, and nothing else: the only place where it is written down.

    1 fetch    the source hands over a micro-batch with its offsets
    2 decode   bytes to events; what is none is rejected, its neighbours are not touched
    3 add      events into panes; monotone rules decide at once
    4 close    the watermark closes windows; every address of them is judged
    5 write    decisions that the guards let through, then statistics in chunks; replies are counted
    6 commit   restart offsets of what is acknowledged, by the thread that owns the source

The steps run one after the other for files and tests, or in three threads (1 and 6, 2 to 4, 5) with
queues of two batches between them: the same calls in the same order.
"""

from __future__ import annotations

import gc
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.failpoints import reach
from engine.metrics import Metrics
from engine.sources import Assigned, Batch, Source
from engine.state import Outcome, State
from engine.writer import Writer

QUEUE_BATCHES = 2
WAIT_S = 0.2
SWITCH_S = 0.0005  # the steps hold the interpreter for moments only; 5 ms is long to wait for it
PATIENCE = 5  # waits before a source that cannot hand over is put on hold
MAX_WAITING = 8  # outcomes whose statistics may wait while those of others are written
MAX_ROWS_WAITING = 1_000_000  # rows of those; 60 MB
STOP_S = 5.0


@contextmanager
def collecting_at_commits() -> Iterator[None]:
    """Hold the collector back: it would visit a batch's messages many times, a third of the CPU."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(interval_s)
        gc.enable()
        gc.unfreeze()


class Pipeline:
    """Runs the steps until the source ends or `stopping` is set."""

    def __init__(
        self,
        source: Source,
        state: State,
        writer: Writer,
        *,
        stopping: threading.Event,
        interval_s: float,
        metrics: Metrics,
    ) -> None:
        """Nothing runs yet."""
        self._source, self._state, self._writer = source, state, writer
        self._stopping, self._interval_s, self._metrics = stopping, interval_s, metrics
        self._batches: queue.Queue[Assigned | Batch | None] = queue.Queue(QUEUE_BATCHES)
        self._outcomes: queue.Queue[Outcome | None] = queue.Queue(QUEUE_BATCHES)
        self._failures: list[BaseException] = []
        self._over = threading.Event()  # nothing more is written: no step waits for another
        self._committed_s = time.monotonic()

    def run_in_turn(self) -> None:
        """Run all steps in this thread, to the end of the source."""
        self._source.open()
        self._writer.open()
        ended = False
        while not ended and not self._stopping.is_set():
            for outcome in self._advance(self._fetch()):
                self._writer.take(outcome)
                while self._writer.write_some():
                    pass
                ended = outcome.ended
            self._commit_if_due()
        self._finish()
        self._source.close()

    def run_in_threads(self) -> None:
        """Run steps 1 and 6 in this thread, 2 to 4 and 5 in one thread each."""
        with collecting_at_commits():
            self._run_in_threads()

    def _run_in_threads(self) -> None:
        self._source.open()
        threads = [
            threading.Thread(target=self._guarded, args=(step,), name=step.__name__)
            for step in (self._state_loop, self._write_loop)
        ]
        for thread in threads:
            thread.start()
        try:
            self._guarded(self._fetch_loop)
        finally:
            self._hand_over(None)
            for thread in threads:
                thread.join()
            if not self._failures:
                self._guarded(self._finish)
            self._source.close()
            self._metrics.callback_errors = self._source.n_callback_errors
        if self._failures:
            raise self._failures[0]

    # -- the steps -------------------------------------------------------------------------------

    def _fetch(self) -> Assigned | Batch | None:
        begun_s, waited_s = time.perf_counter(), self._source.waited_s
        item = self._source.read()
        waited_s = self._source.waited_s - waited_s
        self._metrics.stage_s["fetch"] += time.perf_counter() - begun_s - waited_s  # only grows
        self._metrics.stage_s["wait"] += waited_s
        self._metrics.lag = self._source.lag
        if isinstance(item, Batch) and len(item.places()[1]):
            reach("fetched")
            if self._metrics.first_fetch_s is None:
                self._metrics.first_fetch_s = time.monotonic()
        return item

    def _advance(self, item: Assigned | Batch | None) -> Iterator[Outcome]:
        match item:
            case Assigned():
                self._state.assign(item)
            case Batch():
                for outcome in self._state.step(item):
                    if len(item.places()[1]):
                        reach("counted")
                    yield outcome

    def _commit_if_due(self) -> None:
        if time.monotonic() - self._committed_s >= self._interval_s:
            self._commit()

    def _commit(self) -> None:
        self._committed_s = time.monotonic()
        if not gc.isenabled():
            gc.collect()
        if self._writer.acked is not None:
            reach("commit")
            with self._metrics.stage("commit"):
                self._source.commit(*self._writer.acked)

    def _finish(self) -> None:
        """Commit what is written at the end."""
        self._writer.finish()
        self._commit()

    # -- the threads -----------------------------------------------------------------------------

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that joins
            self._failures.append(error)
            self._stopping.set()
            self._over.set()

    def _fetch_loop(self) -> None:
        """Read until the end is written, not only read: what is abandoned is read again."""
        while not self._writer.ended and not self._stopping.is_set():
            item = self._fetch()
            self._commit_if_due()
            if item is not None:
                self._hand_over(item)

    def _hand_over(self, item: Assigned | Batch | None) -> None:
        n_waits = 0
        while not self._over.is_set():
            try:
                self._batches.put(item, timeout=WAIT_S)
            except queue.Full:
                n_waits += 1
                if n_waits >= PATIENCE and item is not None:
                    self._source.hold()
                    self._commit_if_due()
                continue
            return

    def _state_loop(self) -> None:
        while not self._over.is_set():
            try:
                item = self._batches.get(timeout=WAIT_S)
            except queue.Empty:
                continue
            for outcome in self._advance(item):
                self._pass_on(outcome)
            if item is None:
                self._pass_on(self._state.last())
                self._pass_on(None)
                return

    def _pass_on(self, outcome: Outcome | None) -> None:
        while not self._over.is_set():
            try:
                self._outcomes.put(outcome, timeout=WAIT_S)
            except queue.Full:
                continue
            return

    def _write_loop(self) -> None:
        """Take every outcome as soon as it is there; write statistics in between."""
        self._writer.open()
        open_end, deadline_s = True, float("inf")
        while (open_end or self._writer.n_pending) and not self._over.is_set():
            if self._stopping.is_set():
                deadline_s = min(deadline_s, time.monotonic() + STOP_S)
            if time.monotonic() > deadline_s:
                self._over.set()
                return
            if open_end and self._has_room():
                open_end = self._take_next(wait=self._writer.n_pending == 0)
            self._writer.write_some()

    def _has_room(self) -> bool:
        writer = self._writer
        return writer.n_waiting < MAX_WAITING and writer.n_rows_waiting < MAX_ROWS_WAITING

    def _take_next(self, *, wait: bool) -> bool:
        """Take the next outcome if there is one; return False at the end."""
        try:
            outcome = self._outcomes.get(timeout=WAIT_S) if wait else self._outcomes.get_nowait()
        except queue.Empty:
            return True
        if outcome is None:
            return False
        self._writer.take(outcome)
        return True
