"""The Redis sink and its layouts: which command writes a decision or a statistics row.

keys  `bot_<ip>` and `stat_<ip>`, each with its own TTL
hash  one hash `bots` whose fields expire one by one (HSETEX); statistics stay `stat_<ip>`
sets  the oldest: members of two sets, final values only, which pile up until the set expires
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import redis
from numpy.typing import NDArray

from engine.batch.verdict import Verdicts
from engine.kernels import render as form
from engine.kernels.expiry import AGAIN, FIRST, UNSURE
from engine.redis_flags import MAX_LOOKED_AT, Pick, look, scan_of
from engine.redis_scripts import EXPIRE_LATER, KEEP_LATER, KEEP_LATER_FIELD, sha1
from engine.redis_writer import RedisWriter
from engine.rules import RuleSet
from engine.sink_config import SinkConf
from engine.sinks import (
    Decisions,
    Timing,
    Written,
    kinds_of,
    picked,
    statistics_rows,
    value_form,
)

log = logging.getLogger(__name__)

KEY, VALUE, TTL = form.KEY + form.BULK, form.VALUE + form.BULK, form.TTL + form.BULK
ADDRESS, MEMBER = form.ADDRESS + form.BULK, form.MEMBER + form.BULK
CHUNK_ROWS = 5_000


def resp(*words: bytes | str, n_more: int = 0) -> bytes:
    """Return the start of a command: its fixed words, when `n_more` words of the row follow."""
    encoded = [word if isinstance(word, bytes) else word.encode() for word in words]
    bulks = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
    return b"*%d\r\n%s" % (len(encoded) + n_more, bulks)


class Layout(NamedTuple):
    """The commands of one kind of row: the first of an address, and the later ones.

    set_name: the set to expire after a block, in the layout whose TTL belongs to the whole.
    """

    first: form.Template
    again: form.Template
    set_name: str | None = None


def set_key(prefix: str) -> Layout:
    """Each row is a key with its own TTL."""
    script = resp("EVALSHA", sha1(KEEP_LATER), "1", n_more=3)
    first = form.template(script, KEY, VALUE, TTL, prefix=prefix.encode())
    expires = b"$2\r\nEX\r\n"
    again = form.template(resp("SET", n_more=4), KEY, VALUE, expires, TTL, prefix=prefix.encode())
    return Layout(first, again)


def set_field(name: str) -> Layout:
    """Each row is a field of the hash `name` with its own TTL."""
    script = resp("EVALSHA", sha1(KEEP_LATER_FIELD), "1", name, n_more=3)
    first = form.template(script, ADDRESS, VALUE, TTL)
    fields = b"$6\r\nFIELDS\r\n$1\r\n1\r\n"
    again = form.template(resp("HSETEX", name, "EX", n_more=5), TTL, fields, ADDRESS, VALUE)
    return Layout(first, again)


def add_member(name: str) -> Layout:
    """Each row is a member of the set `name`."""
    add = form.template(resp("SADD", name, n_more=1), MEMBER)
    return Layout(add, add, name)


class RedisSink:
    """Writes decisions and statistics in one layout; see `engine.sinks.Sink`."""

    def __init__(
        self,
        conf: SinkConf,
        rules: RuleSet,
        times: Timing,
        *,
        writer: RedisWriter,
        seed: np.uint64,
        stage: Callable[[str], AbstractContextManager[None]],
        compare: bool = False,
    ) -> None:
        """Nothing is connected yet; `stage` takes the time of what is named.

        `compare`: another engine writes as well, so each row is compared with what Redis holds.
        """
        self._stage = stage
        self._rules, self._timing, self._writer = rules, times, writer
        self._is_sets = conf.layout == "sets"

        def fit(layout: Layout) -> Layout:
            return layout._replace(again=layout.first) if compare else layout

        self._statistics = fit(statistics_layout(conf))
        self._scan = scan_of(conf)
        self._kinds = [
            (Decisions(mask, times, seed=seed), fit(decision_layout(conf, shadow=shadow)))
            for mask, shadow in kinds_of(conf, rules)
        ]

    def open(self) -> None:
        """Connect for the first time; a Redis that does not answer is tried again at each write."""
        self._writer.open()

    def write_decisions(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Write the flagged rows; the layout `sets` takes final values only."""
        written = Written(0, 0)
        if self._is_sets and not verdicts.final:
            return written
        for held, layout in self._kinds:
            decided = held.decide(verdicts, now_s=now_s)
            written = plus(written, Written(0, decided.n_expired))
            for actions, plan in (((FIRST, UNSURE), layout.first), ((AGAIN,), layout.again)):
                where = np.flatnonzero(np.isin(decided.action, actions))
                for rows in chunks_of(decided.rows, where):
                    kept = self._write(rows, plan, verdicts)
                    written = plus(written, done(kept))
                    if kept is not None and plan is layout.first:
                        held.agree(picked(rows, ~kept))
            written = plus(written, self._expire(layout, decided.rows, now_s))
        return written

    def write_statistics(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Write what was counted for each row."""
        rows, n_expired = statistics_rows(verdicts, self._rules, self._timing, now_s=now_s)
        layout = self._statistics
        written = done(self._write(rows, layout.again, verdicts))
        written = plus(written, self._expire(layout, rows, now_s))
        return plus(written, Written(0, n_expired))

    def _write(
        self, rows: form.Rows, plan: form.Template, verdicts: Verdicts
    ) -> NDArray[np.bool_] | None:
        """Write rows; return what `RedisWriter.write` does."""
        values = value_form(verdicts, self._rules)
        row_bytes = form.row_bytes(plan, values)

        def render(where: NDArray[np.int64], late_s: int) -> NDArray[np.uint8]:
            with self._stage("encode"):
                some = picked(rows, where)
                left = some._replace(ttl_s=some.ttl_s - late_s)
                return form.render(left, values, plan, row_bytes)

        return self._writer.write(rows.ttl_s, render)

    def _expire(self, layout: Layout, rows: form.Rows, now_s: float) -> Written:
        """Let the set of this layout, if it is one, live as long as its last member."""
        if layout.set_name is None or len(rows.high) == 0:
            return Written(0, 0)
        command = np.frombuffer(expire(layout.set_name, rows.ttl_s.max(), now_s), np.uint8)
        answer = self._writer.write(rows.ttl_s[:1], lambda where, late_s: command)
        return Written(0, 0, complete=answer is not None)

    def flagged_among(self, pick: Pick) -> list[bytes] | None:
        """Return the addresses with a decision that `pick` takes, as far as we may look."""
        try:
            found = look(self._writer.askers(self._scan.key), self._scan, pick)
        except redis.ResponseError as error:
            log.info("allow: whom Redis holds as flagged already is not looked for: %s", error)
            return []
        if found is not None and not found.whole:
            log.info("allow: looked for flags among the first %d keys only", MAX_LOOKED_AT)
        return None if found is None else found.addresses

    def forget(self) -> None:
        """Compare with what Redis holds at the next write of each address."""
        for held, _ in self._kinds:
            held.forget()

    def check(self) -> None:
        """Look now and then whether Redis is there, who it is, and whether it evicts keys."""
        self._writer.check()

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


def chunks_of(rows: form.Rows, where: NDArray[np.int64]) -> Iterator[form.Rows]:
    """Yield these rows in chunks that Redis can take at once."""
    for i in range(0, len(where), CHUNK_ROWS):
        yield picked(rows, where[i : i + CHUNK_ROWS])


def done(kept: NDArray[np.bool_] | None) -> Written:
    """Return what became of these rows; a value that Redis kept instead is no write of ours."""
    if kept is None:
        return Written(0, 0, complete=False)
    return Written(int(np.count_nonzero(~kept)), 0)


def plus(a: Written, b: Written) -> Written:
    """Return both writes as one."""
    return Written(a.n_keys + b.n_keys, a.n_expired + b.n_expired, a.complete and b.complete)


def statistics_layout(conf: SinkConf) -> Layout:
    """Return where statistics go."""
    return add_member("statistics") if conf.layout == "sets" else set_key(conf.prefix.statistics)


def decision_layout(conf: SinkConf, *, shadow: bool) -> Layout:
    """Return where decisions go; those of shadow rules are kept apart."""
    name = f"{conf.prefix.shadow}bots" if shadow else "bots"
    if conf.layout == "sets":
        return add_member(name)
    if conf.layout == "hash":
        return set_field(name)
    return set_key(conf.prefix.shadow if shadow else conf.prefix.decision)


def expire(name: str, ttl_s: int, now_s: float) -> bytes:
    """Return the command that lets a set expire then, unless it lives longer already."""
    expiry_s = str(math.floor(now_s) + ttl_s)
    return resp("EVALSHA", sha1(EXPIRE_LATER), "1", name, expiry_s, str(ttl_s))
