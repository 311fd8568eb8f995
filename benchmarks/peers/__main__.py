"""One peer over a whole topic: `python -m benchmarks.peers spark --bootstrap ... --topic ...`.

Prints one JSON line: what it wrote, and what the whole process tree took from its start to the last
reply of Redis (`seconds`) and to its end (`cpu_s`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from benchmarks.peers.commands import COMMANDS, ENVIRONMENT, Work, missing
from benchmarks.peers.tree import Ran, run

UNAVAILABLE = 69
TIMEOUT_S = 10.0

Figures = dict[str, Any]


def main() -> int:
    """Run the peer that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("peer", choices=COMMANDS)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--redis", required=True, metavar="URL")
    options = parser.parse_args()
    work = Work(options.bootstrap, options.topic, options.redis)
    if absent := missing(options.peer):
        print(f"{', '.join(absent)}: not there; make bench-peers sets it up", file=sys.stderr)
        return UNAVAILABLE
    print(json.dumps(measured(options.peer, work)))
    return 0


def measured(peer: str, work: Work) -> Figures:
    """Run a peer in a folder of its own; return its figures."""
    events = stored(work)
    with tempfile.TemporaryDirectory(prefix="botsieve-peer-") as name:
        folder = Path(name)
        ran = run(COMMANDS[peer](work, folder), cwd=folder, environment=ENVIRONMENT)
        told = summary(folder, ran) if peer == "engine" else json.loads(ran.stdout.splitlines()[-1])
    seconds = told.pop("ended_s") - ran.started_s
    return {
        "peer": peer,
        "events": events,
        **told,
        "seconds": round(seconds, 2),
        "events_per_s": round(events / seconds),
        "cpu_s": round(ran.cpu_s, 2),
        "peak_rss_mb": round(ran.peak_rss_mb),
    }


def stored(work: Work) -> int:
    """Return how many events the topic has."""
    settings = {"bootstrap.servers": work.bootstrap, "group.id": "peers"}
    consumer = Consumer(settings)
    try:
        topic = consumer.list_topics(work.topic, TIMEOUT_S).topics[work.topic]
        parts = [TopicPartition(work.topic, number) for number in topic.partitions]
        bounds = [consumer.get_watermark_offsets(part, TIMEOUT_S) for part in parts]
    finally:
        consumer.close()
    return sum(end - first for first, end in bounds)


def summary(folder: Path, ran: Ran) -> Figures:
    """Return the engine's figures in the words of the peers."""
    told = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {
        "rows": told["verdicts"],
        "flagged": told["flagged"],
        "counted": told["events"] - told["late"] - told["overflow"],
        "ended_s": ran.started_s + told["startup_s"] + told["seconds"],
    }


if __name__ == "__main__":
    sys.exit(main())
