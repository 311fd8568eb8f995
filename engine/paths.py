"""Where the files that come with the engine lie, in a checkout and in an installed package.

The build maps the top-level folders `conf` and `tools` to `engine/bundled`.
"""

from __future__ import annotations

from pathlib import Path


def bundled(name: str) -> Path:
    """Return the folder `name` (conf, tools), inside the package if it is there, else beside it."""
    package = Path(__file__).resolve().parent
    installed = package / "bundled" / name
    return installed if installed.is_dir() else package.parent / name
