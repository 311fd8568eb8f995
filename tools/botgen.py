#!/usr/bin/env python3
"""Labelled traffic: users who mostly look and bots who mostly click, to a file or to Kafka.

In each second --freq different users make one event each, and each bot makes --bot-freq. An
address tells who is who: users are in 172.10.x.x, bots in 172.20.x.x (173 and 174 when these are
full), and --labels writes the truth down. The same seed and start give the same bytes.
--profile takes other people and bots instead: a mix by its name, or a YAML file of your own.

exit codes: 0 done; 69 a file or Kafka is not there, or a delivery failed; 78 bad option; 130
stopped by Ctrl-C or SIGTERM: FILE is not written. With --to-kafka a stop is a normal end: what was
produced is delivered and counted, exit 0.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator
from math import ceil

import mix
import polars as pl
from event_sinks import FileSink, KafkaSink
from options import INTERRUPTED, UNAVAILABLE, Parser, integer, kafka_target, positive, reason
from rich.console import Console
from rich.progress import Progress
from traffic import N_ADDRESSES, Crowd, blocks

EVENTS_PER_BLOCK = 50_000
SLICES_PER_S = 20


def paced(seconds: Iterator[pl.DataFrame], *, first_due_s: float) -> Iterator[pl.DataFrame]:
    """Slices of frames of one second each, evenly spread; the first is due at `first_due_s`."""
    never = threading.Event()
    for second, events in enumerate(seconds):
        for i in range(SLICES_PER_S):
            due_s = first_due_s + second + i / SLICES_PER_S
            never.wait(max(0.0, due_s - time.monotonic()))
            start, end = (len(events) * j // SLICES_PER_S for j in (i, i + 1))
            yield events[start:end]


def parse_options(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line; a bad one ends the program."""
    style = argparse.RawDescriptionHelpFormatter
    parser = Parser("botgen", description=__doc__, formatter_class=style, allow_abbrev=False)
    option = parser.add_argument
    n_max = N_ADDRESSES
    option("-b", "--bots", type=integer(0, n_max), default=1, help="how many (1)")
    option("-u", "--users", type=integer(1, n_max), default=1000, help="how many (1000)")
    option("-d", "--duration", type=integer(1), default=300, help="seconds of traffic (300)")
    option("-n", "--freq", type=integer(0), default=100, help="user events a second (100)")
    option("--bot-freq", type=positive, default="0.5", help="events of each bot a second (0.5)")
    option("--profile", metavar="MIX", help=f"{', '.join(mix.names())}, or FILE.yaml")
    option("--seed", type=integer(0), help="makes the traffic repeatable")
    option("--start", type=integer(1), metavar="UNIX_S", help="time of the first second (now)")
    option("--realtime", action="store_true", help="write each event in its own second")
    option("--labels", metavar="FILE", help="write key,label (bot|human) of all addresses first")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("-f", "--file", default="data.json", help="(data.json); - is stdout")
    target.add_argument("--to-kafka", type=kafka_target, metavar="BOOTSTRAP/TOPIC")
    option("--format", choices=("array", "ndjson"), default="array", help="of FILE (array)")
    option("--keyed", action="store_true", help="the Kafka key is the address; else round robin")
    options = parser.parse_args(argv)
    if options.freq > options.users:
        parser.error(f"argument -n/--freq: {options.freq} must not be above -u {options.users}")
    if options.freq == options.bots == 0:
        parser.error("argument -n/--freq: 0 needs -b/--bots above 0")
    if options.keyed and not options.to_kafka:
        parser.error("argument --keyed: needs --to-kafka")
    numbers, usual = ("users", "bots", "freq", "bot_freq"), parser.parse_args([])
    if options.profile and any(getattr(options, n) != getattr(usual, n) for n in numbers):
        parser.error("argument --profile: says who acts, so -u, -b, -n and --bot-freq go without")
    try:
        options.actors = actors(options)
    except mix.MixError as problem:
        parser.error(f"argument --profile: {problem}")
    return options


def actors(options: argparse.Namespace) -> Crowd | mix.Mix:
    """Who acts."""
    if options.profile:
        return mix.read_mix(options.profile)
    return Crowd(options.users, options.bots, options.freq, options.bot_freq)


def traffic(options: argparse.Namespace) -> Iterator[pl.DataFrame]:
    """The events of the options, at once or paced by the clock."""
    now_s = time.time()
    # In real time an event is written in the second that it names, so wait for a whole one. A
    # given start moves the event times and not the pace.
    whole_s = ceil(now_s) if options.realtime else int(now_s)
    wait_s = whole_s - now_s if options.start is None else 0.0
    start_s = whole_s if options.start is None else options.start
    seconds, seed = range(start_s, start_s + options.duration), options.seed
    per_block = 1 if options.realtime else EVENTS_PER_BLOCK
    made = mix.blocks if options.profile else blocks
    events = made(options.actors, seconds, seed=seed, events_per_block=per_block)
    return paced(events, first_due_s=time.monotonic() + wait_s) if options.realtime else events


def progress_bar() -> Progress:
    """A bar on the standard error, when that is a terminal."""
    screen = Console(stderr=True)
    return Progress(console=screen, transient=True, disable=not sys.stderr.isatty())


def run(options: argparse.Namespace) -> int:
    """Make the traffic; return the exit code."""
    if options.labels:
        options.actors.labels().write_csv(options.labels)
    sink: FileSink | KafkaSink
    if options.to_kafka:
        sink = KafkaSink(*options.to_kafka, keyed=options.keyed)
    else:
        sink = FileSink(options.file, array=options.format == "array")
    exit_code, ending, started_s = 0, "", time.monotonic()
    try:
        with progress_bar() as bar:
            task = bar.add_task("events", total=options.actors.n_events(options.duration))
            for events in traffic(options):
                sink.write(events)
                bar.advance(task, len(events))
        sink.finish()
    except KeyboardInterrupt:
        exit_code, ending = sink.discard(), "stopped, "
    except BaseException:
        sink.discard()
        raise
    seconds = time.monotonic() - started_s
    speed = f"{sink.n_events} events in {seconds:.2f} s, {sink.n_events / seconds:.0f} events/s"
    print(f"botgen: {ending}{speed}, {sink.name}", file=sys.stderr)
    return exit_code


def main() -> int:
    """Run the command line; return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = parse_options()
    if options.file == "-":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        return run(options)
    except OSError as problem:
        print(f"botgen: {reason(problem)}", file=sys.stderr)
        return UNAVAILABLE
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
