"""The end of a run: its summary for a person and as JSON, and how to look at the keys.

Works on the values of `Metrics.summary()` and on plain words; nothing here reads a clock or asks a
service. The JSON file is there in full or not at all.
"""

from __future__ import annotations

import io
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.errors import ConfigError
from engine.redis_flags import glob
from engine.sink_config import PrefixConf, hosts_of
from engine.terminal.readings import UNKNOWN, counted, duration, listed, number

MIN_WIDTH = 40
ALL_EXPIRED = (
    "All decisions had expired when they were written: their TTL counts from event time, and these "
    "events are in the past. ttl.clock=write counts from the write instead, so that they show."
)
NOTHING_THERE = """\
Nothing there? A key is gone when its TTL is over, counted from its window's
end: for old events that is at once. ttl.clock=write counts from the write."""
MANY_EVENTS = 100_000  # with fewer, what starting takes would be taken for the cost of an event

Row = tuple[str, str]


def summary_text(summary: Mapping[str, Any], *, color: bool, width: int) -> str:
    """Return the summary as aligned lines; plain text without `color`."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(width, MIN_WIDTH),
        force_terminal=color,
        color_system="standard" if color else None,
    )
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for label, text in rows(summary):
        style = "bold" if label == "flagged" else ""
        grid.add_row(Text(label), Text(text, style=style))
    console.print(grid)
    if summary["keys_written"] == 0 and summary["decisions_expired"] > 0:
        console.print(Text(ALL_EXPIRED))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def rows(summary: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the lines as (label, text); an empty pair parts sections."""
    yield from event_rows(summary)
    yield ("", "")
    yield from verdict_rows(summary)
    yield ("", "")
    yield from cost_rows(summary)


def event_rows(summary: Mapping[str, Any]) -> Iterator[Row]:
    """Yield what came in, and what of it did not count."""
    took = f"{number(summary['events'])} in {duration(summary['seconds'])}"
    yield "events", f"{took}, {number(summary['events_per_s'])}/s"
    yield "late", late(summary)
    refused = summary["rejected"]
    yield "rejected", f"{number(sum(refused.values()))}: {listed(refused)}" if refused else "0"
    if summary["unknown_type"]:
        yield "other type", f"{number(summary['unknown_type'])} neither click nor view"
    if summary["overflow"]:
        yield "left out", f"{counted(summary['overflow'], 'event')} beyond window.max_keys"
    if summary["data_loss_records"]:
        lost = counted(summary["data_loss_records"], "uncounted record")
        yield "lost", f"{lost} that Kafka had deleted"


def verdict_rows(summary: Mapping[str, Any]) -> Iterator[Row]:
    """Yield what was found, how well, how fast, and what was written of it."""
    partial = summary["windows_partial"]
    cut = f", {number(partial)} of them partial: their beginning was not read" if partial else ""
    yield "windows", number(summary["windows"]) + cut
    yield "verdicts", f"{number(summary['verdicts'])}, {number(summary['flagged'])} of them flagged"
    yield "flagged", counted(summary["addresses_flagged"], "address")
    if summary["suppressed_allowlisted"]:
        n = counted(summary["suppressed_allowlisted"], "verdict")
        yield "allowed", f"{n} without a decision: of addresses on the allowlist"
    if summary["guard_tripped"]:
        n = counted(summary["guard_tripped"], "window")
        yield "held", f"{n} without decisions: over guard.max_flagged_share"
    if summary["flagged_by_reason"]:
        yield "reasons", listed(summary["flagged_by_reason"])
    if "precision" in summary:
        yield "labels", labels(summary)
    quantiles_s = summary["time_to_detect_s"]
    if quantiles_s["p50"] is not None:
        yield "detected", time_to_detect(quantiles_s)
    expired = summary["decisions_expired"]
    over = f", {number(expired)} not written since they had expired" if expired else ""
    yield "keys", f"{number(summary['keys_written'])} written{over}"
    if summary["redis_evicted_keys"]:
        evicted = counted(summary["redis_evicted_keys"], "key")
        yield "evicted", f"{evicted} by Redis, for lack of memory, before their time was over"


def cost_rows(summary: Mapping[str, Any]) -> Iterator[Row]:
    """Yield what the run took."""
    cpu_s, events = summary["cpu_s"], summary["events"]
    each = f", {duration(cpu_s / events * 1e6)} a million events" if events >= MANY_EVENTS else ""
    yield "cpu", duration(cpu_s) + each
    yield "memory", f"{number(summary['peak_rss_mb'])} MB at the peak"
    yield "start", f"{duration(summary['startup_s'])} until the first event"
    spent = [f"{name} {duration(seconds)}" for name, seconds in summary["stage_s"].items()]
    if spent:
        yield "stages", ", ".join(spent)


def late(summary: Mapping[str, Any]) -> str:
    """Say how many events were late, and by how much."""
    found = summary["late_by_partition"].values()
    if not found:
        return "0"
    n, most_s = summary["late"], max(one["max_s"] for one in found)
    mean_s = sum(one["events"] * one["mean_s"] for one in found) / n
    after_idle = summary["late_after_idle"]
    woken = f", {number(after_idle)} after a partition was idle" if after_idle else ""
    return f"{number(n)}, by {duration(mean_s)} on average, {duration(most_s)} at most{woken}"


def labels(summary: Mapping[str, Any]) -> str:
    """Say how the flagged addresses met the labels; `-` where there was nothing to divide by."""
    figures = [(name, summary.get(name)) for name in ("precision", "recall")]
    shown = [f"{name} {UNKNOWN if value is None else f'{value:.3f}'}" for name, value in figures]
    return f"{', '.join(shown)} over {counted(summary.get('labelled') or 0, 'labelled address')}"


def time_to_detect(quantiles_s: Mapping[str, float]) -> str:
    """Say how long it took from the event that crossed a limit to the written decision."""
    known = [f"{duration(quantiles_s[name])} {name}" for name in ("p50", "p95", "max")]
    return f"{', '.join(known)} after the limit was crossed"


def write_json(path: str, content: Mapping[str, Any], *, key: str) -> None:
    """Write a file that `key` names as JSON; ConfigError where it cannot be written."""
    write_text(path, json.dumps(content, indent=2) + "\n", key=key)


def write_text(path: str, text: str, *, key: str) -> None:
    """Write a file; a reader never sees half of it. ConfigError where it cannot be written."""
    try:
        target = Path(path)
        if target.exists() and not target.is_file():  # a pipe or a device is not to be replaced
            target.write_text(text, encoding="utf-8")
        else:
            replace(target.resolve(), text)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        problem = f"{path!r} cannot be written ({why}); give a file in a folder that you may write"
        raise ConfigError(key, problem) from None


def replace(target: Path, text: str) -> None:
    """Put a file in place in one step."""
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def lines_how_to_look(
    url: str,
    layout: str,
    *,
    prefixes: PrefixConf,
    example: str | None,
    saved: str | None,
    is_cluster: bool = False,
) -> str:
    """Return the commands that show the keys, for `example` where an address was flagged."""
    client = f"valkey-cli {client_options(url)}{' -c' if is_cluster else ''}"
    words = [f"{client} {command}" for command in commands(layout, prefixes, example)]
    lines = ["Look at the keys (valkey-cli or redis-cli):", *(f"  {line}" for line in words)]
    if saved is not None:
        lines.append(f"They are saved in {saved}")
    return "\n".join([*lines, NOTHING_THERE])


def client_options(url: str) -> str:
    """Return the options that reach the first host of a URL; user and password are left out."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        database = parse_qs(parts.query).get("db", ["0"])[0]
        return f"-s {shlex.quote(parts.path)} -n {shlex.quote(database)}"
    address = hosts_of(url)[0]
    return f"-u {shlex.quote(f'{parts.scheme}://{address}{parts.path}')}"


def commands(layout: str, prefixes: PrefixConf, example: str | None) -> Iterator[str]:
    """Yield the commands of a layout: all bots, why this one, for how long, what it did."""
    ip = example or "ADDRESS"
    statistics = f"GET {shlex.quote(prefixes.statistics + ip)}"
    if layout == "sets":
        yield from ("SMEMBERS bots", "TTL bots", "SRANDMEMBER statistics 10")
    elif layout == "hash":
        yield from ("HKEYS bots", f"HGET bots {ip}", f"HTTL bots FIELDS 1 {ip}", statistics)
    else:
        key = shlex.quote(prefixes.decision + ip)
        yield f"--scan --pattern {shlex.quote(glob(prefixes.decision) + '*')}"
        yield from (f"GET {key}", f"TTL {key}", statistics)
