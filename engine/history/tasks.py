"""What each task on history does, from its config to its report."""

from __future__ import annotations

import sys
from typing import Any

from engine.allowlist import Allowlist
from engine.config import AppConf
from engine.history.evaluation import evaluate, evidence_of
from engine.history.span import Span
from engine.history.table import report_text
from engine.history.tally import Tally
from engine.labels import load_labels
from engine.rules import RuleSet
from engine.terminal.summary import write_json

PLAIN_WIDTH = 120


def run_on_history(conf: AppConf, rules: RuleSet, allowlist: Allowlist) -> None:
    """Do the task; its result goes to stdout and to the files of `report`."""
    span = Span(conf, rules, allowlist)
    report = evaluation(conf, span)
    if conf.report.json is not None:
        write_json(conf.report.json, report, key="report.json")
    if conf.view != "none":
        print(report_text(report, color=sys.stdout.isatty(), width=PLAIN_WIDTH))


def evaluation(conf: AppConf, span: Span) -> dict[str, Any]:
    """Return the report of an evaluation by the labels."""
    labels = load_labels(str(conf.labels))
    tally = Tally(span.rules, delay_s=span.delay_s)
    for outcome in span.outcomes():
        tally.add(outcome)
    summary = span.metrics.summary()
    read = {name: summary[name] for name in ("events", "late", "rejected", "windows", "seconds")}
    return {"read": read, **evaluate(evidence_of(tally, labels))}
