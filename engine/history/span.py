"""A range of history, through the very code that runs live: outcomes with a virtual clock, no sink.

An event has its own time for a clock, so a verdict knows when it could be made; what lies open at
the end of the range is closed. Nothing is written, committed or locked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np

from engine.allowlist import Allowlist
from engine.assembly import build_breaker, build_range, decode_options_of, nobody
from engine.batch.decode import Records
from engine.batch.verdict import Verdicts
from engine.config import AppConf
from engine.guards import Guards
from engine.history.ahead import ahead
from engine.metrics import Metrics
from engine.rule_windows import window_spec
from engine.rules import RuleSet
from engine.sources import Assigned, Batch, no_records
from engine.state import Outcome, State

SEED = 1  # only places keys in tables


class Span:
    """The range that the config names; its figures are in `metrics` when it has been read."""

    def __init__(self, conf: AppConf, rules: RuleSet, allowlist: Allowlist) -> None:
        """Nothing is opened yet."""
        self.metrics, self.rules, self.allowlist = Metrics(), rules, allowlist
        self.delay_s = conf.window.delay_s
        self._source = build_range(conf, rules, stopping=threading.Event())
        self._state = State(
            decode_options_of(conf),
            window_spec(conf, rules),
            rules,
            seed=SEED,
            metrics=self.metrics,
            event_clock=True,
        )
        self._guards = Guards(
            allowlist,
            build_breaker(conf, rules),
            enforce_mask=rules.enforce_mask,
            flagged_among=nobody,
            metrics=self.metrics,
        )

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what each batch led to: whole windows only, without what the allowlist spares."""
        return (outcome for outcome, _ in self.steps())

    def steps(self) -> Iterator[tuple[Outcome, Records]]:
        """Yield the same, each with the records of its batch; none from a source of events."""
        yield from ahead(self._made())

    def _made(self) -> Iterator[tuple[Outcome, Records]]:
        self._source.open()
        self.metrics.first_fetch_s = time.monotonic()
        self._guards.before_batch()
        ended = False
        try:
            while not ended:
                item = self._source.read()
                for outcome in self._advance(item):
                    through = self._let_through(outcome.verdicts)
                    yield outcome._replace(verdicts=through), records_in(item)
                    ended = outcome.ended
        finally:
            self._source.close()
            self.metrics.last_ack_s = time.monotonic()

    def _let_through(self, found: list[Verdicts]) -> list[Verdicts]:
        return [self._guards.let_through(one) for one in found if not one.partial]

    def _advance(self, item: Assigned | Batch | None) -> Iterator[Outcome]:
        match item:
            case Assigned():
                self._state.assign(item)
            case Batch(ended=True):
                yield from self._state.step(item._replace(finished=np.ones_like(item.finished)))
            case Batch():
                yield from self._state.step(item)


def records_in(item: Assigned | Batch | None) -> Records:
    """Return the records that were read."""
    return item.records if isinstance(item, Batch) else no_records()
