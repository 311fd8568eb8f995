"""The page of `--help`: every key with its default, its meaning and what it may be.

Made from the dataclasses and conf/, so it says what the engine does and cannot fall behind.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from engine.config import AppConf
from engine.schema import Declared, declarations, leaves
from engine.settings.overrides import flatten
from engine.settings.presets import CHOSEN_BY_GROUP, GROUPS, SOURCES, options, preset, summary
from engine.source_config import SourceConf

KEY_WIDTH = 40
OPENING = """\
Usage: botsieve [config=FILE.yaml] [key=value ...]

Counts what each address does in event-time windows and decides by rules who is a bot.

What is said later is stronger: presets, then rules.path=FILE, then config=FILE, then key=value.
A config file holds the same keys, nested or with dots; `source: file` in it chooses a preset.
Values may say ${oc.env:NAME}, ${oc.env:NAME,default} or ${another.key}. A value with a comma or
other special characters needs two kinds of quotes: "source.bootstrap_servers='a:9092,b:9092'".
Secrets are never written out: use REDIS_PASSWORD, sink.password_file or ${oc.env:NAME}.

Exit codes: 0 done, 3 data loss, 69 a service is not there, 70 our bug, 75 another engine owns the
topic, 77 a password or permission is refused, 78 a value in the config is refused.
"""


def help_text() -> str:
    """Return the page."""
    return "\n".join([OPENING, "Presets", *preset_lines(), *key_lines()])


def preset_lines() -> Iterator[str]:
    """Yield one line a preset: what it is, and which values it changes."""
    default = preset({})
    usual = dict(flatten(default.values))
    for group in GROUPS:
        for option in sorted(options(group), key=lambda name: name != default.choices[group]):
            changed = changes(preset({group: option}).values, usual)
            text = summary(group, option) + (f" Sets {', '.join(changed)}." if changed else "")
            is_default = " (default)" if option == default.choices[group] else ""
            yield entry(f"{group}={option}{is_default}", text)


def changes(nested: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    """Return the values that differ from the usual ones, but for what names the choice."""
    return [
        f"{key}={spelled(value)}"
        for key, value in flatten(nested)
        if key not in CHOSEN_BY_GROUP and key != "rules.rules" and value != usual.get(key, value)
    ]


def key_lines() -> Iterator[str]:
    """Yield one line a key, group by group in the order of `AppConf`."""
    order = list(declarations(AppConf))
    groups = key_groups()
    for group in sorted(groups, key=lambda name: order.index(re.split("[.=]", name)[0] or "task")):
        yield from ("", group or "General", *groups[group].values())


def key_groups() -> dict[str, dict[str, str]]:
    """Return the line of each key, by group; what only one source has is a group of its own."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for source, kind in SOURCES.items():
        values = dict(flatten(preset({"source": source}).values))
        for key, declaration in leaves(AppConf, source=kind):
            group, _, name = key.rpartition(".")
            if group == "source" and name not in declarations(SourceConf):
                group = f"source={source}"
            if key not in CHOSEN_BY_GROUP:
                groups[group][key] = key_line(key, declaration, values.get(key))
    return groups


def key_line(key: str, declaration: Declared, default: Any) -> str:
    """Return the line of one key."""
    if declaration.plain is dict:
        return entry(f"{key}.NAME=VALUE", declaration.meaning)
    return entry(f"{key}={spelled(default)}", f"{declaration.meaning} ({declaration})")


def entry(left: str, right: str) -> str:
    """Return one line of two columns."""
    return f"  {left:<{KEY_WIDTH}} {right}".rstrip()


def spelled(value: Any) -> str:
    """Return a value as it is written behind `key=`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "[...]" if isinstance(value, list) and value else str(value)
