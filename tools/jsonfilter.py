#!/usr/bin/env python3
"""Cleans lines of JSON-array noise: the brackets and commas that an array leaves on its lines.

As a filter it reads stdin and writes stdout; empty and clean lines stay as they are. With --spool
it ships the lines of each file that comes into a folder to Kafka, one message a line, and renames
the finished file to NAME.COMPLETED. `.NAME.offset` beside a file says how far Kafka has
acknowledged it: after a crash at most 1000 lines are sent twice and none is lost.

A broker that is away is waited for. A line that Kafka refuses (too long, not allowed) ends with 69
and keeps the offset before its batch.

exit codes: 0 done, or stopped after the batch in flight; 69 a file or the folder cannot be used, or
Kafka refuses or does not acknowledge; 78 bad option; 130 a filter stopped by Ctrl-C, or --spool by
a second one.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from io import BufferedReader
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from acknowledged import Topic
from options import INTERRUPTED, UNAVAILABLE, Parser, kafka_target, positive, reason

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from spool import ship_folder, sole_shipper

from engine.kernel_cache import mended
from engine.kernels.noise import clean_lines

BLOCK_BYTES = 1 << 20
DEFAULT_SETTLE_S = 2


def filter_stream(source: BufferedReader, target: BinaryIO) -> None:
    """Clean `source` into `target` as it comes, in blocks that end with a line."""
    unfinished: list[bytes] = []  # pieces of a line that has no end yet
    while block := source.read1(BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        if end:
            target.write(clean_lines(b"".join([*unfinished, block[:end]])))
            target.flush()
            unfinished.clear()
        unfinished.append(block[end:])
    target.write(clean_lines(b"".join(unfinished)))
    target.flush()


def parse_options(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of the command line; a bad one ends the program."""
    style = argparse.RawDescriptionHelpFormatter
    parser = Parser("jsonfilter", description=__doc__, formatter_class=style, allow_abbrev=False)
    option = parser.add_argument
    option("--spool", type=Path, metavar="DIR", help="ship the files of this folder")
    option("--to-kafka", type=kafka_target, metavar="BOOTSTRAP/TOPIC", help="where to")
    option("--once", action="store_true", help="end when the folder has no more files to ship")
    option("--settle", type=positive, metavar="S", help="take a file that stood still so long (2)")
    options = parser.parse_args(argv)
    if options.spool is None:
        for name in ("to_kafka", "once", "settle"):
            if getattr(options, name):
                parser.error(f"argument --{name.replace('_', '-')}: needs --spool")
    elif not options.spool.is_dir():
        parser.error(f"argument --spool: {str(options.spool)!r} is not a folder")
    elif options.to_kafka is None:
        parser.error("argument --spool: needs --to-kafka")
    return options


def stop_on_signal() -> threading.Event:
    """Set by the first Ctrl-C or SIGTERM; a second one ends the program at once."""
    stop = threading.Event()  # never waited on: its lock would not stand a signal in between

    def ask(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, ask)
    return stop


def run(options: argparse.Namespace) -> None:
    """Filter or ship."""
    mended(lambda: clean_lines(b""))
    if options.spool is None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        filter_stream(sys.stdin.buffer, sys.stdout.buffer)
        return
    stop = stop_on_signal()
    settle_s = float(options.settle or DEFAULT_SETTLE_S)
    with sole_shipper(options.spool):
        topic = Topic(*options.to_kafka, stop=stop)
        ship_folder(options.spool, topic, settle_s=settle_s, once=options.once, stop=stop)


def main() -> int:
    """Run the command line; return the exit code."""
    try:
        run(parse_options())
    except OSError as problem:
        print(f"jsonfilter: {reason(problem)}", file=sys.stderr)
        return UNAVAILABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
