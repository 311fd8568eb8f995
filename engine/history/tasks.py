"""What each task on history does, from its config to its report."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from engine.allowlist import Allowlist
from engine.assembly import decode_options_of
from engine.batch.journal import settings_of
from engine.config import AppConf
from engine.errors import DifferenceError, UnavailableError
from engine.history.aggregates import Aggregates
from engine.history.check import findings, kept_report
from engine.history.combinations import combinations_of
from engine.history.evaluation import evaluate, evidence_of
from engine.history.explanation import Judge, explanation
from engine.history.explanation_text import explanation_text
from engine.history.lint import findings_of
from engine.history.page import page_of
from engine.history.points import points
from engine.history.span import SEED, Span
from engine.history.sweep import surface
from engine.history.sweep_report import Wanted, front_table, missed_text, report_of, rules_text
from engine.history.table import rendered, report_text
from engine.history.tally import Tally
from engine.history.trail import Trail
from engine.history.verification import Verification
from engine.kafka.history import TopicHistory
from engine.labels import Labels, load_labels
from engine.metrics import Metrics
from engine.recorded import Pairs, journal_entries, journals_in, recorded_pairs
from engine.rule_windows import window_spec
from engine.rules import RuleSet
from engine.source_config import FileConf, KafkaConf
from engine.state import State
from engine.terminal.summary import write_json, write_text

PLAIN_WIDTH = 120


def run_on_history(conf: AppConf, rules: RuleSet, allowlist: Allowlist) -> None:
    """Do the task; its result goes to stdout and to the files of `report`."""
    if conf.replay.verify:
        verify(conf, rules)
    else:
        BY_TASK[conf.task](conf, Span(conf, rules, allowlist))


def show_evaluation(conf: AppConf, span: Span) -> None:
    """Do task=evaluate."""
    report = evaluation(conf, span)
    keep(conf, report)
    if conf.report.html is not None:
        write_text(conf.report.html, page_of(report), key="report.html")
    if conf.view != "none":
        print(report_text(report, color=sys.stdout.isatty(), width=PLAIN_WIDTH))


def check(conf: AppConf, span: Span) -> None:
    """Do task=check; raise where the decisions have become worse."""
    before = kept_report(conf.check.baseline)
    report = evaluation(conf, span)
    keep(conf, report)
    found = list(findings(report, before, conf.check))
    for text, passes in found:
        print(f"{'passed' if passes else 'FAILED'}  {text}")
    if not all(passes for _, passes in found):
        problem = f"check.baseline: decisions are worse or others than in '{conf.check.baseline}'"
        raise DifferenceError(problem)


def sweep(conf: AppConf, span: Span) -> None:
    """Do task=sweep; its best rules go to stdout last, and to `sweep.rules`."""
    limits = {"n_sets": conf.sweep.sets, "max_categories": conf.window.max_categories}
    combinations = combinations_of(span.rules, conf.sweep.values, **limits)
    aggregates = Aggregates(Tally(span.rules, delay_s=span.delay_s))
    for outcome in span.outcomes():
        aggregates.add(outcome)
    evidence = evidence_of(aggregates.tally, labels_of(conf))
    refuse_nothing(span, aggregates)
    found = surface(aggregates, combinations, evidence.people["is_bot"])
    wanted = Wanted(conf.sweep.max_people_share, conf.sweep.max_flagged)
    report = report_of(found, wanted)
    keep(conf, {"read": read_by(span)} | report)
    if conf.view != "none":
        print(rendered(front_table(report), color=sys.stdout.isatty(), width=PLAIN_WIDTH))
    if report["best"] is None:
        raise DifferenceError(missed_text(found, wanted))
    text = rules_text(found, report["best"], conf.rules.rules)
    print(text, end="")
    if conf.sweep.rules is not None:
        write_text(conf.sweep.rules, text, key="sweep.rules")


def lint(conf: AppConf, span: Span) -> None:
    """Do task=lint."""
    aggregates = Aggregates(Tally(span.rules, delay_s=span.delay_s))
    for outcome in span.outcomes():
        aggregates.add(outcome)
    evidence = evidence_of(aggregates.tally, labels_of(conf))
    refuse_nothing(span, aggregates)
    found = list(findings_of(aggregates, evidence, max_categories=conf.window.max_categories))
    keys = {rule.name: f"rules.rules[{i}].when" for i, rule in enumerate(conf.rules.rules)}
    keep(conf, {"findings": [{"key": keys[one.rule], **one._asdict()} for one in found]})
    for one in found:
        print(f"{keys[one.rule]}: {one.rule}: {one.text}")
    if not found:
        print(f"nothing found in {len(span.rules.rules)} rules")


def refuse_nothing(span: Span, aggregates: Aggregates) -> None:
    """Refuse to conclude anything from a range without a whole window."""
    if not aggregates.tally.n_windows:
        n = read_by(span)["events"]
        problem = f"source: {n} events make no whole window, so nothing is known of the rules"
        advice = "name a longer range by source.path, or by replay.since_s of a topic"
        message = f"{problem}; {advice}"
        raise UnavailableError(message)


def labels_of(conf: AppConf) -> Labels:
    """Return the labels, none where no file is named."""
    return Labels([]) if conf.labels is None else load_labels(conf.labels)


def keep(conf: AppConf, report: dict[str, Any]) -> None:
    """Write the files of `report`."""
    if conf.report.json is not None:
        write_json(conf.report.json, report, key="report.json")


def evaluation(conf: AppConf, span: Span) -> dict[str, Any]:
    """Return the report of an evaluation by the labels, or without any."""
    tally = Tally(span.rules, delay_s=span.delay_s)
    for outcome in span.outcomes():
        tally.add(outcome)
    evidence = evidence_of(tally, labels_of(conf))
    read = read_by(span) | {"windows": tally.n_windows}
    return {"read": read, **evaluate(evidence), **points(evidence)}


def read_by(span: Span) -> dict[str, Any]:
    """Return what was read."""
    summary = span.metrics.summary()
    return {name: summary[name] for name in ("events", "late", "rejected", "seconds")}


def explain(conf: AppConf, span: Span) -> None:
    """Do task=explain."""
    report = explanation_of(str(conf.address), conf, span)
    keep(conf, report)
    if conf.view != "none":
        print(explanation_text(report))


def explanation_of(address: str, conf: AppConf, span: Span) -> dict[str, Any]:
    """Return the report about an address."""
    trail = Trail(address)
    for outcome, records in span.steps():
        trail.add(outcome, records)
    words = (np.array([word], np.uint64) for word in (trail.high, trail.low))
    judge = Judge(
        span.rules, trail, delay_s=span.delay_s, max_categories=conf.window.max_categories
    )
    found = explanation(judge, is_allowed=bool(span.allowlist.holds(*words)[0]))
    return {"address": address, "read": read_by(span), **found}


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


BY_TASK: dict[str, Callable[[AppConf, Span], None]] = {
    "evaluate": show_evaluation,
    "check": check,
    "sweep": sweep,
    "lint": lint,
    "explain": explain,
}
