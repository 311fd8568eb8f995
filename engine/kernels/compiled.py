"""How a kernel is compiled: no Python in it, its lock released, and kept for the next start."""

from __future__ import annotations

from numba import config, njit

from engine.kernel_cache import FOLDER

KEPT = FOLDER is not None
config.CACHE_DIR = str(FOLDER or "")  # type: ignore[attr-defined]
kernel = njit(cache=KEPT, nogil=True)
