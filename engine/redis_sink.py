"""The Redis sink and its layouts: which command writes a decision or a statistics row.

keys  `bot_<ip>` and `stat_<ip>`, each with its own TTL
hash  one hash `bots` whose fields expire one by one (HSETEX); statistics stay `stat_<ip>`
sets  the oldest: members of two sets, final values only, which pile up until the set expires
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.batch.verdict import Verdicts
from engine.config import SinkConf
from engine.kernels import render as form
from engine.kernels.expiry import AGAIN, FIRST
from engine.redis_writer import RedisWriter
from engine.rules import RuleSet
from engine.sinks import (
    Decided,
    Decisions,
    Timing,
    Written,
    picked,
    statistics_rows,
    value_form,
)

# A decision that Redis holds already, from before a restart or from another engine, is not
# shortened. The answer is +OK in either case, so that replies are counted alike.
KEEP_LATER = """
if redis.call('TTL', KEYS[1]) <= tonumber(ARGV[2]) then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
end
return redis.status_reply('OK')
"""
KEEP_LATER_FIELD = """
if redis.call('HTTL', KEYS[1], 'FIELDS', 1, ARGV[1])[1] <= tonumber(ARGV[3]) then
  redis.call('HSETEX', KEYS[1], 'EX', ARGV[3], 'FIELDS', 1, ARGV[1], ARGV[2])
end
return redis.status_reply('OK')
"""
EXPIRE_LATER = """
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[2]) then
  redis.call('EXPIREAT', KEYS[1], ARGV[1])
end
return redis.status_reply('OK')
"""
SCRIPTS = {"keys": (KEEP_LATER,), "hash": (KEEP_LATER, KEEP_LATER_FIELD), "sets": (EXPIRE_LATER,)}

KEY, VALUE, TTL = form.KEY + form.BULK, form.VALUE + form.BULK, form.TTL + form.BULK
ADDRESS, MEMBER = form.ADDRESS + form.BULK, form.MEMBER + form.BULK
CHUNK_ROWS = 5_000


def resp(*words: bytes | str, n_more: int = 0) -> bytes:
    """Return the start of a command: its fixed words, when `n_more` words of the row follow."""
    encoded = [word if isinstance(word, bytes) else word.encode() for word in words]
    bulks = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
    return b"*%d\r\n%s" % (len(encoded) + n_more, bulks)


def sha1(script: str) -> str:
    """Return the name under which Redis caches a script."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


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
        self, conf: SinkConf, rules: RuleSet, times: Timing, *, writer: RedisWriter, seed: np.uint64
    ) -> None:
        """Nothing is connected before the first write."""
        self._rules, self._timing, self._writer = rules, times, writer
        self._is_sets = conf.layout == "sets"
        self._statistics = statistics_layout(conf)
        kinds = ((rules.enforce_mask, False), (rules.shadow_mask, True))
        self._kinds = [
            (Decisions(mask, times, seed=seed), decision_layout(conf, shadow=shadow))
            for mask, shadow in kinds
            if mask
        ]

    def write_decisions(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Write the flagged rows; the layout `sets` takes final values only."""
        written = Written(0, 0)
        if self._is_sets and not verdicts.final:
            return written
        for held, layout in self._kinds:
            decided = held.decide(verdicts, now_s=now_s)
            written = plus(written, self._write_decided(decided, layout, verdicts, now_s))
        return written

    def _write_decided(
        self, decided: Decided, layout: Layout, verdicts: Verdicts, now_s: float
    ) -> Written:
        written = Written(0, decided.n_expired)
        for action, plan in ((FIRST, layout.first), (AGAIN, layout.again)):
            where = np.flatnonzero(decided.action == action)
            for i in range(0, len(where), CHUNK_ROWS):
                rows = picked(decided.rows, where[i : i + CHUNK_ROWS])
                chunk = self._write(rows, plan, verdicts, set_name=layout.set_name, now_s=now_s)
                written = plus(written, chunk)
        return written

    def write_statistics(self, verdicts: Verdicts, *, now_s: float) -> Written:
        """Write what was counted for each row."""
        rows, n_expired = statistics_rows(verdicts, self._rules, self._timing, now_s=now_s)
        layout = self._statistics
        chunk = self._write(rows, layout.again, verdicts, set_name=layout.set_name, now_s=now_s)
        return plus(chunk, Written(0, n_expired))

    def _write(
        self,
        rows: form.Rows,
        plan: form.Template,
        verdicts: Verdicts,
        *,
        set_name: str | None,
        now_s: float,
    ) -> Written:
        if len(rows.high) == 0:
            return Written(0, 0)
        values = value_form(verdicts, self._rules)
        block, ends = form.render(rows, values, plan, form.row_bytes(plan, values))
        if set_name is not None:
            block, ends = with_expiry(block, ends, set_name, int(rows.ttl_s.max()), now_s)
        return Written(len(rows.high), 0, self._writer.write(block, ends))

    def forget(self) -> None:
        """Compare with what Redis holds at the next write of each address."""
        for held, _ in self._kinds:
            held.forget()

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


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


def with_expiry(
    block: NDArray[np.uint8], ends: NDArray[np.int64], name: str, ttl_s: int, now_s: float
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the block with one command more: the set expires when its last member may."""
    expiry_s = str(math.floor(now_s) + ttl_s)
    command = resp("EVALSHA", sha1(EXPIRE_LATER), "1", name, expiry_s, str(ttl_s))
    longer = np.concatenate([block, np.frombuffer(command, np.uint8)])
    return longer, np.append(ends, len(longer))
