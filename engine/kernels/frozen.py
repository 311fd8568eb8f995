"""Input arrays as every kernel takes them: read-only, whoever made them.

Numba compiles a kernel anew for each mix of writable and read-only arrays, and what Polars or a
source hands over is now the one, now the other. A compile in the middle of a run takes seconds, so
what a kernel only reads goes through `frozen` at its border: each kernel has one signature.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


def frozen(array: NDArray[T]) -> NDArray[T]:
    """Return a read-only view of the array; the array itself stays as it is."""
    view = array.view()
    view.flags.writeable = False
    return view
