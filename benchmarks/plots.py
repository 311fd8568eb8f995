"""Pictures of results.json: latency against rate, and rate against what grows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402 - the backend is chosen first

from benchmarks.bench_growth import BASE
from benchmarks.rig import Found, median

FOLDER = Path(__file__).parent
INK, LIGHT = "#1f4e79", "#9dc3e6"
SIZE_IN = (8.0, 4.2)


def draw(kept: dict[str, dict[str, Any]]) -> None:
    """Draw what there are figures for."""
    for name, plot in PLOTS.items():
        if name in kept:
            figure, axes = plt.subplots(figsize=SIZE_IN, layout="constrained")
            plot(axes, kept[name]["found"])
            axes.spines[["top", "right"]].set_visible(False)
            figure.savefig(FOLDER / f"{name}.png", dpi=120, metadata={"Software": None})
            plt.close(figure)


def latency(axes: Any, found: Found) -> None:
    """Draw the quantiles against the rate, both logarithmic."""
    runs = [run for (run,) in found.values()]
    rates = [run["rate"] for run in runs]
    for name, style in {"p50": "-", "p99": "--", "max": ":"}.items():
        axes.plot(rates, [run[name] for run in runs], style, color=INK, marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="events a second", ylabel="ms")
    axes.set_xticks(rates, [f"{rate // 1000:,} k" for rate in rates])
    axes.minorticks_off()
    axes.set_title("From the crossing event's append to the readable decision")
    axes.legend(frameon=False)


def growth(axes: Any, found: Found) -> None:
    """Draw each case's rate, beside that of the base."""
    cases = list(reversed(found))
    rates = [median(found[case]) / 1e6 for case in cases]
    axes.barh(cases, rates, color=[INK if case == BASE else LIGHT for case in cases])
    axes.bar_label(axes.containers[0], fmt="%.2f", padding=3)
    axes.set(xlabel="million events a second", title="One factor at a time, decisions only")


PLOTS: dict[str, Callable[[Any, Found], None]] = {"latency": latency, "growth": growth}
