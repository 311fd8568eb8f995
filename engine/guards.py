"""What stands between verdicts and decisions: the operator's allowlist, then the breaker.

Both take rules out of the masks, so that what they hold back is no decision for the sink and no
detection for those who listen. Statistics do not come through here. One thread owns this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from engine.allowlist import Allowlist
from engine.batch.verdict import Verdicts
from engine.breaker import Breaker, Share
from engine.metrics import Metrics
from engine.redis_flags import Pick

log = logging.getLogger(__name__)

N_EXAMPLES = 5
HELD = (
    "no decision of it is written, and none early until a window is under the limit; look at the "
    "rules and at source.fields.ip, or raise the limit"
)

# Returns the addresses that hold a decision and that the argument picks; None: ask again later.
FlaggedAmong = Callable[[Pick], list[bytes] | None]


class Guards:
    """Asked by the writer before each batch and before each decision."""

    def __init__(
        self,
        allowlist: Allowlist,
        breaker: Breaker | None,
        *,
        enforce_mask: int,
        flagged_among: FlaggedAmong,
        metrics: Metrics,
    ) -> None:
        """`breaker` None: there is none."""
        self._allowlist, self._breaker = allowlist, breaker
        self._flagged_among = flagged_among
        self._enforce_mask, self._metrics = enforce_mask, metrics
        self._is_untold = True

    def before_batch(self) -> None:
        """Read the allowlist again if it has changed; tell whom it allows too late."""
        self._is_untold |= self._allowlist.refresh()
        if self._is_untold and not self._allowlist.is_empty:
            self._is_untold = not self._tell_flagged()

    def _tell_flagged(self) -> bool:
        """Tell which allowed addresses hold a decision already; False where the sink is away."""
        flagged = self._flagged_among(self._allowlist.those_in)
        if flagged:
            log.warning(
                "allow: allowed addresses that hold a decision already: %d, such as %s; each stays "
                "until its TTL is over or you delete it",
                len(flagged),
                b", ".join(flagged[:N_EXAMPLES]).decode(),
            )
        return flagged is not None

    def let_through(self, verdicts: Verdicts) -> Verdicts:
        """Return the verdicts, with no rule left where there must be no decision."""
        verdicts = verdicts if self._allowlist.is_empty else self._without_allowed(verdicts)
        if self._breaker is not None and self._stops(self._breaker, verdicts):
            return verdicts.with_only(0)
        return verdicts

    def _without_allowed(self, verdicts: Verdicts) -> Verdicts:
        mask, high, low = (verdicts.frame[name].to_numpy() for name in ("mask", "high", "low"))
        fired = np.flatnonzero(mask)
        allowed = fired[self._allowlist.holds(high[fired], low[fired])]
        if len(allowed) == 0:
            return verdicts
        if verdicts.final:
            enforced = mask[allowed] & np.uint64(self._enforce_mask)
            self._metrics.suppressed_allowlisted += int(np.count_nonzero(enforced))
        return verdicts.spared(allowed)

    def _stops(self, breaker: Breaker, verdicts: Verdicts) -> bool:
        """Whether these verdicts must not become decisions; tell when that begins and ends."""
        if not verdicts.final:
            return breaker.is_open
        was_open, share = breaker.is_open, breaker.judge(verdicts)
        self._metrics.guard_tripped += share.is_over
        self._metrics.guard_open = breaker.is_open
        if breaker.is_open != was_open:
            tell(share, verdicts)
        return share.is_over


def tell(share: Share, verdicts: Verdicts) -> None:
    """Raise the alarm, or end it."""
    level, side, now = logging.WARNING, "under", "decisions are written again"
    if share.is_over:
        level, side, now = logging.ERROR, "over", HELD
    log.log(
        level,
        "guard.max_flagged_share: %d of %d addresses (%.3f) of the window %d to %d are newly "
        "flagged, %s the limit %g: %s",
        share.n_new,
        share.n_addresses,
        share.n_new / share.n_addresses,
        verdicts.start_s,
        verdicts.end_s,
        side,
        share.limit,
        now,
    )
