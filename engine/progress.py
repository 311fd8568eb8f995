"""How far each partition of an assignment is read, and whether its end was seen.

Arrays are indexed by partition number; a number that is not assigned counts as finished. Silence is
measured by the monotonic clock. Nothing here talks to Kafka.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1


class Progress:
    """The partitions of one assignment."""

    def __init__(self, partitions: list[int], *, now_s: float) -> None:
        """Begin before the first record; `now_s` is monotonic."""
        self.partitions = partitions
        n = max(partitions, default=-1) + 1
        self.position = np.full(n, UNKNOWN, np.int64)
        self._end = np.full(n, UNKNOWN, np.int64)
        self._target = np.zeros(n, np.int64)
        self._last_record_s = np.full(n, now_s)
        self._finished = np.zeros(n, np.bool_)
        self._unassigned = np.ones(n, np.bool_)
        self._unassigned[partitions] = False

    def read(
        self, partition: NDArray[np.int32], offset: NDArray[np.int64], *, now_s: float
    ) -> None:
        """Note records, in the order of their offsets."""
        self.position[partition] = offset + 1
        self._last_record_s[partition] = now_s

    def reach_end(self, partition: int, offset: int) -> None:
        """Note that the log ends at this offset; what lies between was no record for us."""
        self._end[partition] = offset
        self.position[partition] = max(int(self.position[partition]), offset)

    def aim_at(self, partition: int, offset: int) -> None:
        """Let the partition finish only at an end that is not before this offset."""
        self._target[partition] = offset

    def wake(self, *, now_s: float) -> None:
        """Forget the silence: nothing was asked for in the meantime."""
        self._last_record_s[:] = now_s

    def _at_end(self) -> NDArray[np.bool_]:
        return (self._end >= self.position) & (self.position >= 0)

    def idle(self, *, now_s: float, after_s: float) -> NDArray[np.bool_]:
        """Return which partitions are at their end and silent for longer than `after_s`."""
        return self._at_end() & (now_s - self._last_record_s > after_s)

    def is_past_aim(self, idle: NDArray[np.bool_]) -> bool:
        """Whether each partition has been read to where it aims, and further or is idle there."""
        past = (self.position > self._target) | (idle & (self.position >= self._target))
        return bool((past | self._unassigned).all())

    def finish(self) -> list[int]:
        """Finish the partitions that are at the end they aim at; return the new ones."""
        newly = self._at_end() & ~self._finished & (self._end >= self._target)
        self._finished |= newly
        return [int(p) for p in np.flatnonzero(newly)]

    def finished(self) -> NDArray[np.bool_]:
        """Return which partitions are read no further."""
        return self._finished | self._unassigned

    def going_on(self) -> list[int]:
        """Return the partitions that are still read."""
        return [int(p) for p in np.flatnonzero(~self.finished())]
