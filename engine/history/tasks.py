"""What each task on history does, from its config to its report."""

from __future__ import annotations

import sys
import threading
from typing import Any

from engine.allowlist import Allowlist
from engine.assembly import decode_options_of
from engine.batch.journal import settings_of
from engine.config import AppConf
from engine.errors import DifferenceError
from engine.history.evaluation import evaluate, evidence_of
from engine.history.span import SEED, Span
from engine.history.table import report_text
from engine.history.tally import Tally
from engine.history.verification import Verification
from engine.kafka.history import TopicHistory
from engine.labels import load_labels
from engine.metrics import Metrics
from engine.recorded import Pairs, journal_entries, journals_in, recorded_pairs
from engine.rule_windows import window_spec
from engine.rules import RuleSet
from engine.source_config import FileConf, KafkaConf
from engine.state import State
from engine.terminal.summary import write_json

PLAIN_WIDTH = 120


def run_on_history(conf: AppConf, rules: RuleSet, allowlist: Allowlist) -> None:
    """Do the task; its result goes to stdout and to the files of `report`."""
    if conf.replay.verify:
        verify(conf, rules)
        return
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


def verify(conf: AppConf, rules: RuleSet) -> None:
    """Make the decisions of a journal again; raise where they are others than on the day."""
    spec, options = window_spec(conf, rules), decode_options_of(conf)
    state = State(options, spec, rules, seed=SEED, metrics=Metrics(), accept_state_change=True)
    settings = (rules.sha8, settings_of(spec))
    verification = Verification(state, settings=settings, say=print)
    verification.verify(pairs_of(conf))
    for line in verification.lines():
        print(line)
    if verification.n_differences:
        problem = "replay.verify: the decisions are not those of the journal; see above"
        raise DifferenceError(problem)


def pairs_of(conf: AppConf) -> Pairs:
    """Return the journal with its events: recorded ones, or read again from the topic."""
    folder = str(conf.record.path)
    match conf.source:
        case FileConf():
            return recorded_pairs(folder, conf.source.path)
        case KafkaConf():
            journals_in(folder)  # there is none: say so before anything is connected
            options = decode_options_of(conf)
            history = TopicHistory(conf.source, conf.batch, options, stopping=threading.Event())
            return history.pairs(journal_entries(folder))
    raise AssertionError(conf.source)
