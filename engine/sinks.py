"""Where verdicts go: memory and the console are here, Redis is `engine.redis_sink`.

A sink gets verdicts in the order of the pipeline, decisions before statistics, and returns from a
write only when it is acknowledged. `bot_` always shows the decision that expires last.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, TextIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.batch.verdict import Verdicts
from engine.kernels import render as form
from engine.kernels.expiry import SKIP, admit, agree, empty_expiries, make_room
from engine.rules import RuleSet
from engine.sink_config import SinkConf

COUNT_COLUMNS = ("high", "low", "events", "clicks", "categories", "saturated", "mask")


class Written(NamedTuple):
    """What became of a write: keys written, rows left out because their time was over already."""

    n_keys: int
    n_expired: int
    complete: bool = True


class Sink(Protocol):
    """The contract of a sink; `now_s` is the wall clock in unix seconds."""

    def open(self) -> None:
        """Connect, or raise what a user can act on; what is only away is waited for later."""

    def write_decisions(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Write the flagged rows; return when they are acknowledged."""

    def write_statistics(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Write what was counted for each row of a final verdict."""

    def forget(self) -> None:
        """Forget which decisions were written: another engine may have written since."""

    def check(self) -> None:
        """Look after the sink, between two writes or while there is nothing to write."""

    def close(self) -> None:
        """Let go of what is open."""


class Timing(NamedTuple):
    """How TTLs are counted: from the window's end (event clock) or from the write."""

    event_clock: bool
    ttl_s: NDArray[np.int64]
    statistics_ttl_s: int

    def expiry(self, verdicts: Verdicts, mask: pl.Series, now_s: float) -> NDArray[np.int64]:
        """Return when the decision of each row expires: its longest rule decides."""
        start_s = verdicts.end_s if self.event_clock else math.floor(now_s)
        fired, longest = mask.to_numpy(), np.zeros(len(mask), np.int64)
        for rule, ttl_s in enumerate(self.ttl_s):
            held = (fired >> np.uint64(rule)) & np.uint64(1)
            np.maximum(longest, np.where(held, ttl_s, 0), out=longest)
        return start_s + longest


def timing(conf: SinkConf, rules: RuleSet, *, event_clock: bool) -> Timing:
    """Return the TTL rule of this config."""
    return Timing(event_clock, np.array(rules.ttl_s, np.int64), conf.statistics_ttl_s)


class Decided(NamedTuple):
    """Decisions that may be written now: rows to render, and how each must be written."""

    rows: form.Rows
    action: NDArray[np.uint8]
    expiry_s: NDArray[np.int64]
    n_expired: int


class Decisions:
    """One kind of decision (enforced or shadow): which rows it holds and what expires when."""

    def __init__(self, rules_mask: int, timing: Timing, *, seed: np.uint64) -> None:
        """Begin with nothing written."""
        self._rules_mask, self._timing, self._seed = rules_mask, timing, seed
        self.forget()

    def forget(self) -> None:
        """Take the next write of each address for its first."""
        self._table = empty_expiries()

    def decide(self, verdicts: Verdicts, *, now_s: float) -> Decided:
        """Return the flagged rows that no later decision outlasts."""
        frame = verdicts.flagged(self._rules_mask).frame
        expiry_s = self._timing.expiry(verdicts, frame["mask"], now_s)
        alive = expiry_s > now_s
        n_expired = len(frame) - int(np.count_nonzero(alive))
        if n_expired:
            frame, expiry_s = frame.filter(pl.Series(alive)), expiry_s[alive]
        make_room(self._table, len(frame), now_s=math.floor(now_s), seed=self._seed)
        action = np.empty(len(frame), np.uint8)
        words = (frame["high"].to_numpy(), frame["low"].to_numpy())
        admit(self._table, self._seed, *words, expiry_s, action)
        rows = rows_of(frame, np.ceil(expiry_s - now_s).astype(np.int64))
        return Decided(rows, action, expiry_s, n_expired)

    def agree(self, rows: form.Rows) -> None:
        """Note that Redis holds these decisions, so that later ones need not be compared."""
        agree(self._table, self._seed, rows.high, rows.low)


def rows_of(frame: pl.DataFrame, ttl_s: NDArray[np.int64]) -> form.Rows:
    """Return the columns of a VERDICT frame as the renderer takes them."""
    columns: dict[str, Any] = {name: frame[name].to_numpy() for name in COUNT_COLUMNS}
    return form.Rows(**columns, ttl_s=ttl_s)


def picked(rows: form.Rows, where: NDArray[np.bool_] | NDArray[np.int64]) -> form.Rows:
    """Return some of the rows, by mask or by index."""
    columns: list[Any] = [column[where] for column in rows]
    return form.Rows(*columns)


def value_form(verdicts: Verdicts, rules: RuleSet) -> form.ValueForm:
    """Return the form of this window's values."""
    names = [rule.name for rule in rules.rules]
    return form.value_form(
        start_s=verdicts.start_s,
        end_s=verdicts.end_s,
        final=verdicts.final,
        reasons=names,
        is_base=verdicts.is_base,
    )


def kinds_of(conf: SinkConf, rules: RuleSet) -> list[tuple[int, bool]]:
    """Return (rules, whether they are only watched) of each kind of decision that is written."""
    kinds = [(rules.enforce_mask, False), (rules.shadow_mask, True)]
    return [kind for kind in kinds if kind[0] and conf.decisions == "all"]


class KeyValue(NamedTuple):
    """A key as Redis would hold it."""

    value: bytes
    expiry_s: int


PLAIN = form.template(form.ADDRESS, b"\t", form.VALUE, b"\n")


class Write(NamedTuple):
    """Verdicts as they were written at now_s: as decisions (flagged rows) or as statistics."""

    verdicts: Verdicts
    now_s: float
    decides: bool


class MemorySink:
    """Keeps the verdicts, and shows on demand the keys that Redis would hold."""

    def __init__(self, conf: SinkConf, rules: RuleSet, times: Timing, *, seed: np.uint64) -> None:
        """Begin empty."""
        self._conf, self._rules, self._timing = conf, rules, times
        self.written: list[Write] = []
        self._counters = {
            mask: Decisions(mask, times, seed=seed)
            for mask in {rules.enforce_mask, rules.shadow_mask}
        }

    def open(self) -> None:
        """Nothing to open."""

    def write_decisions(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Note the flagged rows."""
        decided = [held.decide(verdicts, now_s=now_s) for held in self._counters.values()]
        n_keys = sum(int(np.count_nonzero(one.action != SKIP)) for one in decided)
        flagged = verdicts.flagged(self._rules.enforce_mask | self._rules.shadow_mask)
        self.written.append(Write(flagged, now_s, decides=True))
        return Written(n_keys, sum(one.n_expired for one in decided))

    def write_statistics(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Note the rows of a closed window."""
        self.written.append(Write(verdicts, now_s, decides=False))
        return Written(len(verdicts.frame), 0)

    def forget(self) -> None:
        """Nothing to forget: no other engine writes here."""

    def check(self) -> None:
        """Memory is there."""

    def close(self) -> None:
        """Nothing is open."""

    def decisions(self, *, shadow: bool = False) -> dict[str, KeyValue]:
        """Return {address: final decision} over all that was written, the last to expire."""
        mask = self._rules.shadow_mask if shadow else self._rules.enforce_mask
        held: dict[str, KeyValue] = {}
        for verdicts, now_s in self._written(decides=True):
            rows = verdicts.flagged(mask)
            expiry_s = self._timing.expiry(rows, rows.frame["mask"], now_s)
            for (ip, value), end_s in zip(self.values(rows), expiry_s.tolist(), strict=True):
                if ip not in held or end_s >= held[ip].expiry_s:
                    held[ip] = KeyValue(value, end_s)
        return held

    def statistics(self) -> dict[str, KeyValue]:
        """Return {address: statistics of its newest closed window}."""
        held: dict[str, KeyValue] = {}
        for verdicts, now_s in self._written(decides=False):
            start_s = verdicts.end_s if self._timing.event_clock else math.floor(now_s)
            end_s = start_s + self._timing.statistics_ttl_s
            enforced = verdicts.with_only(self._rules.enforce_mask)
            held |= {ip: KeyValue(value, end_s) for ip, value in self.values(enforced)}
        return held

    def _written(self, *, decides: bool) -> list[tuple[Verdicts, float]]:
        return [(one.verdicts, one.now_s) for one in self.written if one.decides == decides]

    def values(self, verdicts: Verdicts) -> list[tuple[str, bytes]]:
        """Return (address, value) of each row."""
        rows = rows_of(verdicts.frame, np.zeros(len(verdicts.frame), np.int64))
        values = value_form(verdicts, self._rules)
        text = form.render(rows, values, PLAIN, form.row_bytes(PLAIN, values))
        pairs = (line.split(b"\t") for line in text.tobytes().splitlines())
        return [(ip.decode(), value) for ip, value in pairs]


class ConsoleSink:
    """Prints each decision, and each statistics row that is asked for, as a line."""

    def __init__(
        self, conf: SinkConf, rules: RuleSet, times: Timing, *, seed: np.uint64, out: TextIO
    ) -> None:
        """Print to `out`."""
        self._conf, self._rules, self._timing, self._out = conf, rules, times, out
        prefixes = {False: conf.prefix.decision.encode(), True: conf.prefix.shadow.encode()}
        self._kinds = [
            (Decisions(mask, times, seed=seed), prefixes[shadow])
            for mask, shadow in kinds_of(conf, rules)
        ]

    def open(self) -> None:
        """The stream is open."""

    def write_decisions(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Print the flagged rows that no later decision outlasts."""
        n_keys = n_expired = 0
        for held, prefix in self._kinds:
            decided = held.decide(verdicts, now_s=now_s)
            rows = picked(decided.rows, decided.action != SKIP)
            self._print(rows, verdicts, prefix)
            n_keys, n_expired = n_keys + len(rows.high), n_expired + decided.n_expired
        return Written(n_keys, n_expired)

    def write_statistics(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Print what was counted."""
        rows, n_expired = statistics_rows(verdicts, self._rules, self._timing, now_s=now_s)
        self._print(rows, verdicts, self._conf.prefix.statistics.encode())
        return Written(len(rows.high), n_expired)

    def _print(self, rows: form.Rows, verdicts: Verdicts, prefix: bytes) -> None:
        line = form.template(form.KEY, b" ", form.VALUE, b" ttl=", form.TTL, b"\n", prefix=prefix)
        values = value_form(verdicts, self._rules)
        text = form.render(rows, values, line, form.row_bytes(line, values))
        self._out.write(text.tobytes().decode())
        self._out.flush()

    def forget(self) -> None:
        """Nothing to forget: no other engine prints here."""

    def check(self) -> None:
        """A stream that is gone shows when it is written to."""

    def close(self) -> None:
        """The stream belongs to the caller."""


def statistics_rows(
    verdicts: Verdicts, rules: RuleSet, times: Timing, *, now_s: float
) -> tuple[form.Rows, int]:
    """Return the rows whose statistics may be written now, and how many are over already."""
    start_s = verdicts.end_s if times.event_clock else math.floor(now_s)
    left_s = math.ceil(start_s + times.statistics_ttl_s - now_s)
    if left_s <= 0:
        return rows_of(verdicts.frame.clear(), np.empty(0, np.int64)), len(verdicts.frame)
    frame = verdicts.with_only(rules.enforce_mask).frame
    return rows_of(frame, np.full(len(frame), left_s, np.int64)), 0
