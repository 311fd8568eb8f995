"""What the user says: `key=value` on the command line, and YAML files, both as flat dotted keys.

Hydra's parser reads the command line; of its grammar only plain `key=value` is taken. Refused here
is what no config may say: `_target_` and its like, Hydra's own keys, and secrets as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException

from engine.errors import ConfigError
from engine.schema import show
from engine.settings.secrecy import refuse_literals
from engine.settings.yaml_file import load_mapping, scalar

PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
MACHINERY = re.compile(r"hydra([./].*)?|(.*\.)?_[a-z]+_(\..*)?")
# What a word begins with or lacks, and what to say about it.
NOT_PLAIN = (
    (re.compile(r"-"), "is refused; allowed: key=value, --help, --version"),
    (re.compile(r"[+~]"), "is refused: it would change which keys there are; allowed: key=value"),
    (re.compile(r"[^=]*\Z"), "has no value; allowed: key=value"),
    (re.compile(r"[^=]*@"), "is refused: it would move a group; allowed: key=value"),
)


def read_argv(argv: Sequence[str]) -> dict[str, Any]:
    """Return the overrides of a command line; of two for the same key the later one counts."""
    parser = OverridesParser.create()
    said: dict[str, Any] = {}
    for word in argv:
        key, value = read_word(word.strip(), parser)
        if key == "config" and key in said:
            raise ConfigError(key, "is given twice; one file is allowed")
        said.update(checked({key: value}, on_argv=True))
    return said


def read_word(word: str, parser: OverridesParser) -> tuple[str, Any]:
    """Return key and value of one word of the command line."""
    key = word.partition("=")[0].strip()
    refuse_not_plain(key, word)
    override = parsed(key, word, parser)
    if override.type is not OverrideType.CHANGE or override.package is not None:
        raise ConfigError(key, "is refused; allowed: key=value")
    if override.is_sweep_override():
        problem = f"several values are refused; put one with commas in quotes: {quoted(key)}"
        raise ConfigError(key, problem)
    value = override.value()
    if isinstance(value, int | float):  # read numbers as files do: 1_000 and +5 are text
        value = scalar(word.partition("=")[2].strip())
    return key, value


def refuse_not_plain(key: str, word: str) -> None:
    """Refuse what is no `key=value` at all. The value is never repeated: it may be a secret."""
    refuse_machinery(key.lstrip("+~"))
    for pattern, problem in NOT_PLAIN:
        if pattern.match(word):
            raise ConfigError(show(key), problem)
    refuse_odd(key)


def refuse_machinery(key: str) -> None:
    """Refuse keys with which Hydra configures itself or makes objects."""
    if MACHINERY.fullmatch(key):
        problem = "is refused: a config sets values; it never sets up Hydra and makes no objects"
        raise ConfigError(key if key.isprintable() else show(key), problem)


def refuse_odd(key: str) -> None:
    """Refuse what no key can look like."""
    if not PLAIN_KEY.fullmatch(key):
        problem = "is not a key; allowed: words with dots, such as window.length_s"
        raise ConfigError(show(key), problem)


def parsed(key: str, word: str, parser: OverridesParser) -> Override:
    """Return what Hydra's parser makes of a word."""
    try:
        return parser.parse_override(word)
    except (HydraException, ValueError, RecursionError):  # also thousands of digits or brackets
        refuse_literals(key, word.partition("=")[2], on_argv=True)
        problem = f"the value cannot be read; put it in quotes: {quoted(key)}"
        raise ConfigError(key, problem) from None


def quoted(key: str) -> str:
    """Show how to quote: the outer quotes are for the shell, the inner ones for Hydra."""
    return f"\"{key}='...'\""


def read_file(path: str) -> dict[str, Any]:
    """Return the settings of the user's config file."""
    said = checked(load_mapping(path, key="config"), on_argv=False)
    if "config" in said:
        raise ConfigError(key="config", problem=f"{show(path)}: a config file cannot name another")
    return said


def checked(nested: Mapping[str, Any], *, on_argv: bool) -> dict[str, Any]:
    """Return settings as flat keys, none of which is forbidden, twice there, or a plain secret."""
    flat: dict[str, Any] = {}
    for key, value in flatten(nested):
        refuse_machinery(key)
        refuse_odd(key)
        if key in flat:
            raise ConfigError(key, "is given twice, nested and with dots; once is allowed")
        refuse_literals(key, value, on_argv=on_argv)
        flat[key] = value
    return flat


def flatten(nested: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value that is no mapping, with its full dotted key."""
    for name, value in nested.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{key}.")
        else:
            yield key, value
