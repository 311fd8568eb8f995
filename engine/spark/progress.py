"""What a query has done so far: Spark's reports of its micro-batches, added up as `Metrics`.

A report comes when its batch is written. Spark keeps the last ones only, so they are taken often.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.metrics import Metrics
from engine.spark.events import OBSERVED

if TYPE_CHECKING:
    from pyspark.sql.streaming.query import StreamingQuery

log = logging.getLogger(__name__)

ALL = -1  # late rows are not told by partition


class Progress:
    """Adds up the batches of one query, each once."""

    def __init__(self, metrics: Metrics) -> None:
        """Nothing is done yet."""
        self._metrics, self._last = metrics, -1
        self.newest_s: int | None = None

    def take(self, query: StreamingQuery) -> None:
        """Add the batches that are new."""
        for report in query.recentProgress:
            if report["batchId"] > self._last:
                self._last = report["batchId"]
                self._add(report)

    def _add(self, report: Mapping[str, Any]) -> None:
        metrics = self._metrics
        row = report["observedMetrics"].get(OBSERVED)
        counts = {} if row is None else row.asDict()
        n_events, n_unknown = (counts.pop(name, 0) for name in ("events", "unknown_type"))
        times = (counts.pop("newest_s", None), self.newest_s)
        self.newest_s = max((time_s for time_s in times if time_s is not None), default=None)
        rejected = {reason: n for reason, n in counts.items() if n}
        n_late = sum(one["numRowsDroppedByWatermark"] for one in report["stateOperators"])
        if metrics.first_fetch_s is None:
            metrics.first_fetch_s = time.monotonic() - report["batchDuration"] / 1000
        metrics.records += n_events + sum(rejected.values())
        metrics.events += n_events
        metrics.unknown_type += n_unknown
        metrics.rejected.update(rejected)
        if n_late:
            before, _, _ = metrics.late.get(ALL, (0, 0, 0))
            metrics.late[ALL] = before + n_late, 0, 0
        log.info("batch %d: %d events, %s rejected", self._last, n_events, rejected or "none")
