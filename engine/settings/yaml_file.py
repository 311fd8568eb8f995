"""YAML as a config needs it: a scalar is what it looks like, a key stands once, nothing is built.

Only JSON's spellings make numbers and bools, so `010`, `1_000`, `1:30`, `yes` and dates stay text
(and are refused where a number is needed) instead of becoming 8, 1000, 90, true and objects.
Knows no key of the config; a file that cannot be read is a ConfigError with its line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from engine.errors import ConfigError
from engine.schema import show

MAX_DEPTH = 32
# At most 19 digits: no field takes more, and int() itself refuses very long ones.
SCALARS = (
    (re.compile(r"|~|null|Null|NULL"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text[0] in "tT"),
    (re.compile(r"-?(0|[1-9][0-9]{0,18})"), int),
    (re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+|(?=[eE]))([eE][-+]?[0-9]+)?"), float),
)


def scalar(text: str) -> Any:
    """Return what unquoted `text` stands for: null, a bool, a number, or itself."""
    for pattern, convert in SCALARS:
        if pattern.fullmatch(text):
            return convert(text)
    return text


def load_mapping(path: str, *, key: str) -> dict[str, Any]:
    """Return the mapping in a YAML file, {} if it is empty; `key` is the one that names it."""
    try:
        content = parse(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise unreadable(key, path, error.strerror or "cannot be read") from None
    except ValueError:  # bytes that are no UTF-8, or a path that can be none
        raise unreadable(key, path, "is not a file of UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise unreadable(key, path, f"line {line}: {error.problem}") from None
    except yaml.YAMLError:
        raise unreadable(key, path, "holds characters that YAML does not allow") from None
    if not isinstance(content, dict | None):
        raise unreadable(key, path, f"holds {show(content)}, where `key: value` lines are needed")
    return content or {}


def unreadable(key: str, path: str, problem: str) -> ConfigError:
    """Return the error about the file as a whole."""
    return ConfigError(key, f"{show(path)}: {' '.join(problem.split())}")


def parse(text: str) -> Any:
    """Return what one YAML document says, None for an empty one."""
    refuse_extras(text)
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return None if node is None else value_of(node)


def refuse_extras(text: str) -> None:
    """Refuse anchors, aliases and tags, and nesting that no config needs."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise marked(event.start_mark, "anchors, aliases and tags are not used here")
        if depth > MAX_DEPTH:
            raise marked(event.start_mark, f"nested deeper than {MAX_DEPTH} levels")


def value_of(node: yaml.Node) -> Any:
    """Return what a node says; quoted text is text, whatever it looks like."""
    match node:
        case yaml.ScalarNode():
            return node.value if node.style else scalar(node.value)
        case yaml.SequenceNode():
            return [value_of(item) for item in node.value]
    mapping: dict[str, Any] = {}
    for name, value in node.value:
        if not isinstance(name, yaml.ScalarNode):
            raise marked(name.start_mark, "a key must be text")
        if name.value in mapping:
            raise marked(name.start_mark, f"{show(name.value)} is given twice")
        mapping[name.value] = value_of(value)
    return mapping


def marked(mark: Any, problem: str) -> yaml.MarkedYAMLError:
    """Return the error that knows its line."""
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
