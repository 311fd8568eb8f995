"""task=check, for CI: are the decisions still as good as those of a report that was kept?

It fails where precision or recall has fallen, or where too many addresses are flagged in one report
and not in the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.history_config import CheckConf

N_SHOWN = 5
Figures = Mapping[str, Any]


def kept_report(path: str | None) -> Figures:
    """Return the report of `check.baseline`; ConfigError where it is none."""
    if path is None:
        problem = "task=check needs the report.json of an earlier task=evaluate; give its file"
        raise ConfigError(key="check.baseline", problem=problem)
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if isinstance(found, dict) and {"by_address", "by_window", "flagged"} <= found.keys():
            return found
        problem = "is no report; make one by task=evaluate report.json=FILE"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except ValueError as error:
        problem = f"is no JSON: {error}"
    raise ConfigError(key="check.baseline", problem=f"'{path}' {problem}")


def findings(now: Figures, before: Figures, conf: CheckConf) -> Iterator[tuple[str, bool]]:
    """Yield what was compared, a line each, and whether it passes."""
    for part in ("by_address", "by_window"):
        for figure in ("precision", "recall"):
            was, value = before[part][figure], now[part][figure] or 0.0
            if was is not None:
                what = f"{figure} {part.replace('_', ' ')}: {was:.4f} before, {value:.4f} now"
                text = f"{what} (check.max_fall={conf.max_fall:g})"
                yield text, was - value <= conf.max_fall
    yield changed(set(now["flagged"]), set(before["flagged"]), conf.max_changed_share)


def changed(now: set[str], before: set[str], most: float) -> tuple[str, bool]:
    """Return how the flagged addresses have changed, and whether that is little enough."""
    new, gone = sorted(now - before), sorted(before - now)
    part = (len(new) + len(gone)) / max(len(before), 1)
    text = (
        f"flagged addresses: {len(before)} before, {len(new)} new{such_as(new)}, "
        f"{len(gone)} gone{such_as(gone)}: {part:.4f} of them changed"
    )
    return f"{text} (check.max_changed_share={most:g})", part <= most


def such_as(addresses: list[str]) -> str:
    """Name a few of them."""
    return f" ({', '.join(addresses[:N_SHOWN])})" if addresses else ""
