"""`botsieve` and `python -m engine`: from the command line to an exit code.

Composes and checks the config before anything is connected, runs the pipeline in the background
and the view in front, and turns every end into one line and its exit code.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from engine import __version__
from engine.allowlist import Allowlist
from engine.assembly import Run, decode_options_of
from engine.config import AppConf
from engine.embedded import Embedded
from engine.errors import BUG_EXIT_CODE, BotsieveError, ConfigError
from engine.kafka.source import KafkaSource
from engine.kernel_cache import mended
from engine.labels import load_labels
from engine.metrics import Metrics
from engine.rule_windows import check_span, rule_set, say_span, window_spec
from engine.rules import RuleSet
from engine.settings.compose import compose, help_text
from engine.source_config import KafkaConf
from engine.terminal.summary import client_options, lines_how_to_look, summary_text, write_json
from engine.terminal.view import NoView, View, make_view
from engine.warm_up import warm_up

WATCH_S = 0.25
PLAIN_WIDTH = 100
LINE = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


def command() -> int:
    """Be the process: run the command line, and end without a last look at what is still there.

    The interpreter's last collection would visit every object that was ever loaded, for 0.3 s.
    """
    exit_code = main()
    gc.freeze()
    return exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if {"--help", "-h"} & set(argv):
        print(help_text())
        return 0
    if "--version" in argv:
        print(f"botsieve {__version__}")
        return 0
    try:
        run_task(compose(argv, environ=os.environ))
    except BotsieveError as error:
        print(f"botsieve: {error}", file=sys.stderr)
        return error.exit_code
    except Exception:  # noqa: BLE001 - the border: a bug of ours becomes one line and a file
        return report_bug()
    return 0


def report_bug() -> int:
    """Write the traceback to a file, say where, and return the exit code."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="botsieve-bug-", suffix=".txt", delete=False
        ) as file:
            traceback.print_exc(file=file)
        print(f"botsieve: this is our bug; please report it with {file.name}", file=sys.stderr)
    except OSError:  # there is no room for a file
        traceback.print_exc()
    return BUG_EXIT_CODE


def run_task(conf: AppConf) -> None:
    """Check what only needs the config, then run to the end and report."""
    rules = rule_set(conf)
    if conf.runner == "spark":
        from engine.spark.run import check  # noqa: PLC0415 - a local run needs none of it

        check(conf)
    metrics = Metrics()
    demo = Embedded(conf.deploy, topic=topic_of(conf)) if conf.deploy.kind == "embedded" else None
    allowlist = Allowlist(conf.allow)
    check_files(conf)
    spec = window_spec(conf, rules)
    check_span(conf, spec)
    if conf.view != "none":
        print("botsieve: loading the kernels; the first start compiles them, 30 s", file=sys.stderr)
    mended(lambda: warm_up(decode_options_of(conf), spec, rules, seed=1))
    if conf.runner == "spark":
        from engine.spark.run import run_on_spark  # noqa: PLC0415 - see above

        run_on_spark(conf, rules, allowlist)
        return
    if conf.is_on_history:
        from engine.history.tasks import run_on_history  # noqa: PLC0415 - a run needs none of it

        run_on_history(conf, rules, allowlist)
        return
    if conf.task == "rekey":
        rekey(conf, rules)
        return
    with demo or nullcontext():
        if demo is not None:
            demo.applied(conf)
        run = Run(conf, rules, metrics, allowlist)
        kind = view_kind(conf)
        view = make_view(kind, metrics, run.detections, stream=sys.stderr, title="Botsieve")
        with page_of(conf, metrics), view, logging_to(view), signals(run.stopping, demo):
            say_span(conf, spec)
            watch(run, demo, view)
        report(run, demo)


def rekey(conf: AppConf, rules: RuleSet) -> None:
    """Do task=rekey."""
    from engine.rekey.task import run_rekey  # noqa: PLC0415 - a run needs none of it

    stopping = threading.Event()
    with logging_to(NoView(sys.stderr)), signals(stopping, None):
        run_rekey(conf, rules, stopping=stopping)


def check_files(conf: AppConf) -> None:
    """Refuse now what would only be found out when the run is over."""
    if conf.labels is not None:
        load_labels(conf.labels)
    elif conf.task == "evaluate":
        raise ConfigError(key="labels", problem="task=evaluate needs a file of labels; give one")
    if conf.task == "explain" and conf.address is None:
        raise ConfigError(key="address", problem="task=explain needs an address; give one")
    if conf.task == "rekey" and not conf.rekey.topic:
        raise ConfigError(
            key="rekey.topic", problem="task=rekey needs a topic to copy to; give one"
        )
    report = conf.report
    written = {"summary.json": conf.summary.json, "report.json": report.json}
    for key, path in {**written, "report.html": report.html}.items():
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise ConfigError(key, f"'{path}' cannot be written: there is no such folder")
        if path is not None and Path(path).is_dir():
            raise ConfigError(key, f"'{path}' cannot be written: it is a folder; name a file in it")


def view_kind(conf: AppConf) -> str:
    """Return the view to make: two writers on one terminal would tear a live one."""
    shares_terminal = conf.sink.kind == "console" and sys.stdout.isatty()
    return "plain" if conf.view == "auto" and shares_terminal else conf.view


def page_of(conf: AppConf, metrics: Metrics) -> AbstractContextManager[None]:
    """Return the metrics page if there is to be one; what it needs is loaded only then.

    A replay has none: it is started with the settings of the engine whose page has the port.
    """
    if not conf.metrics.port or conf.task == "replay":
        return nullcontext()
    from engine.page.server import page  # noqa: PLC0415 - see above

    return page(conf.metrics, metrics)


def topic_of(conf: AppConf) -> str:
    """Return the topic, or nothing for a file."""
    return conf.source.topic if isinstance(conf.source, KafkaConf) else ""


@contextmanager
def logging_to(view: View) -> Iterator[None]:
    """Send log lines through the view, so that they do not tear it."""
    handler = view.log_handler()
    handler.setFormatter(LINE)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextmanager
def signals(stopping: threading.Event, demo: Embedded | None) -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into flags: a handler that raised would lose a batch.

    A demo drains at the first Ctrl-C and stops at the second.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        if demo is not None and number == signal.SIGINT and demo.end_early():
            return
        stopping.set()

    before = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def watch(run: Run, demo: Embedded | None, view: View) -> None:
    """Run the pipeline in a thread and show it until it ends; raise what it raised."""
    failures: list[BaseException] = []
    done = threading.Event()
    kafka = isinstance(run.source, KafkaSource)
    steps = run.pipeline.run_in_threads if kafka else run.pipeline.run_in_turn
    thread = threading.Thread(target=guarded, args=(steps, failures, done), name="pipeline")
    thread.start()
    draining, shown_s = False, 0.0
    try:
        if demo is not None:
            demo.start_traffic()
        while not done.wait(WATCH_S):
            if time.monotonic() - shown_s >= view.period_s:
                shown_s = time.monotonic()
                view.refresh()
            if demo is not None and not draining and isinstance(run.source, KafkaSource):
                draining = demo.traffic_ended()
                if draining:
                    run.source.finish()
    finally:
        run.stopping.set()
        thread.join()
    view.refresh()
    if failures:
        raise failures[0]


def guarded(
    steps: Callable[[], None], failures: list[BaseException], done: threading.Event
) -> None:
    """Run the steps; keep what they raise for the thread that waits."""
    try:
        steps()
    except BaseException as error:  # noqa: BLE001 - raised again by `watch`
        failures.append(error)
    finally:
        done.set()


def report(run: Run, demo: Embedded | None) -> None:
    """Print the summary for a person and write it for programs."""
    conf, summary = run.conf, run.metrics.summary()
    if conf.labels is not None:
        seen, flagged = run.detections.seen.texts(), run.detections.flagged.texts()
        summary |= load_labels(conf.labels).score(seen=seen, flagged=flagged).summary()
    if conf.summary.json is not None:
        write_json(conf.summary.json, summary, key="summary.json")
    if conf.view == "none":
        return
    color = sys.stderr.isatty()
    width = os.get_terminal_size(sys.stderr.fileno()).columns if color else PLAIN_WIDTH
    print(f"\n{summary_text(summary, color=color, width=width)}", file=sys.stderr)
    if conf.sink.kind == "redis":
        print(f"\n{how_to_look(run, demo)}", file=sys.stderr)
    if demo is not None and conf.deploy.linger_s:
        print(f"Redis stays for {conf.deploy.linger_s} s; Ctrl-C ends it", file=sys.stderr)
        linger(conf.deploy.linger_s)


def how_to_look(run: Run, demo: Embedded | None) -> str:
    """Return how to look at the keys, in a saved file where Redis goes away with the demo."""
    sink, saved = run.conf.sink, Path(tempfile.gettempdir()) / "botsieve-demo-keys.txt"
    if sink.decisions == "none":
        return "This was a dry run (sink.decisions=none): no decision was written."
    if demo is not None:
        n_keys = demo.save_keys(saved)
        if not run.conf.deploy.linger_s:
            look = f"  grep ^{sink.prefix.decision} {saved}"
            return f"Redis ends with the demo; its {n_keys} keys with their TTLs are saved:\n{look}"
    if sink.topology == "sentinel":
        name = f"SENTINEL GET-MASTER-ADDR-BY-NAME {sink.sentinel_name}"
        return f"Ask where the keys are: valkey-cli {client_options(sink.url)} {name}"
    return lines_how_to_look(
        sink.url,
        sink.layout,
        prefixes=sink.prefix,
        example=next(iter(run.detections.flagged.texts(1)), None),
        saved=str(saved) if demo is not None else None,
        is_cluster=sink.topology == "cluster",
    )


def linger(seconds: int) -> None:
    """Wait, or until Ctrl-C."""
    try:
        threading.Event().wait(seconds)
    except KeyboardInterrupt:
        print(file=sys.stderr)


if __name__ == "__main__":
    sys.exit(command())
