"""Nothing is compiled in the middle of a run: the warm-up has met every kernel as a run calls it.

A kernel that is called with other types than before is compiled anew, for seconds. Signatures are
counted in a process of their own, since other tests call kernels in ways of their own.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from dataclasses import replace

import pytest

import engine.kernels
from engine.warm_up import warm_up
from tests import logs, naive
from tests.doubles import Poll, Run, options_of, rule_set, window_spec

CONFIGS = {
    "tumbling": naive.ModelConfig(rules=logs.MONOTONE + logs.AT_THE_CLOSE),
    "hopping": naive.ModelConfig(length_s=20, slide_s=5, rules=logs.MONOTONE),
    "no rules": naive.ModelConfig(),
}
CALLED_FROM_PYTHON = (
    "decode.decode_records",
    "triage.triage",
    "triage.mark_first",
    "accumulate.accumulate",
    "judge.judge_rows",
    "expiry.note_expiries",
    "expiry.note_agreed",
    "render.fill_in",
)
RUNNING = tuple(
    f"running.{name}" for name in ("add_pane", "take_out_pane", "copy_rows", "counts_of")
)


def signatures() -> dict[str, int]:
    """Return how many signatures each kernel has been compiled for."""
    names = [module.name for module in pkgutil.iter_modules(engine.kernels.__path__)]
    modules = [importlib.import_module(f"engine.kernels.{name}") for name in names]
    return {
        f"{module.__name__}.{name}": len(kernel.signatures)
        for module in modules
        for name, kernel in vars(module).items()
        if hasattr(kernel, "signatures") and kernel.py_func.__module__ == module.__name__
    }


def rows(n: int) -> list[naive.Row]:
    """Return a log of n records with whatever a log may have: thousands of addresses, bad, late."""
    values = [
        logs.value_of(1_000 + i // 500, i % 5, f"10.0.{i % 7}.{i % 251}", "click") for i in range(n)
    ]
    late = logs.value_of(1_000, 1, "2001:db8::1", "view")
    escaped = late.replace(b"ip", b"\\u0069p")
    return logs.rows_of([(i % 3, value) for i, value in enumerate(values)]) + [
        naive.Row(i % 3, n + i, value, logs.TIMESTAMP_MS)
        for i, value in enumerate([late, escaped, *logs.BAD_VALUES])
    ]


def run_everything(config: naive.ModelConfig) -> None:
    """Run the engine over large, small and empty polls, and look at what it has written."""
    log = rows(20_000)
    polls = [log[:1], log[1:10_000], log[10_000:], [], Poll([], frozenset({0, 1, 2}), 9e9)]
    run = Run(polls, config, n_partitions=3)
    assert run.metrics.rejected.total() > 0
    assert run.metrics.late != {}
    assert len(run.sink.statistics()) > 1_000
    assert run.sink.decisions() != {} or not config.rules


def report(name: str) -> None:
    """Print the signatures of all kernels after the warm-up, whatever the fields, and a run."""
    config = CONFIGS[name]
    options = options_of(replace(config, fields=("t", "c", "a", "k")))
    warm_up(options, window_spec(config), rule_set(config), seed=1)
    warm = signatures()
    run_everything(config)
    print(json.dumps([warm, signatures()]))


@pytest.mark.parametrize("name", CONFIGS)
def test_run_after_the_warm_up_compiles_nothing_more(name):
    program = f"from tests.test_warm_up import report; report({name!r})"
    printed = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE)
    warm, after = json.loads(printed.stdout)
    assert naive.explain_difference(warm, after) == ""
    running = RUNNING if name == "hopping" else ()
    called = {kernel: after[f"engine.kernels.{kernel}"] for kernel in CALLED_FROM_PYTHON + running}
    assert called == dict.fromkeys(called, 1)
    assert after["engine.kernels.table.refill"] == len(["fields of rows", "columns"])
