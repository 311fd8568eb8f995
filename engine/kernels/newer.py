"""Which rows of a recorded log are new: what was read again after a restart is there twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.kernels.compiled import kernel


@kernel
def mark_newer(
    partition: NDArray[np.int32],
    offset: NDArray[np.int64],
    highest: NDArray[np.int64],
    newer: NDArray[np.bool_],
) -> int:
    """Mark the rows behind the highest offset of their partition, which they raise; count them."""
    n_newer = 0
    for i in range(len(partition)):
        newer[i] = offset[i] > highest[partition[i]]
        if newer[i]:
            highest[partition[i]] = offset[i]
            n_newer += 1
    return n_newer
