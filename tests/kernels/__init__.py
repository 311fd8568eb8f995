"""The kernels against plain Python, one by one: with the JIT, and a second time without it.

Without the JIT every loop is Python's own, so what is large is made smaller by `sized`.
"""

from __future__ import annotations

import numba


def sized(with_jit: int, without: int) -> int:
    """Return a size for a test: the first, or the second with the JIT off."""
    return without if numba.config.DISABLE_JIT else with_jit
