"""`${oc.env:NAME}`, `${oc.env:NAME,default}` and `${some.key}` in the values of the config.

Three forms and no more: a config can name the environment and its other keys, not run anything.
The environment is an argument, and its text is never read as `${...}` again. A value made here is
`ResolvedText`, so that the field it is for decides whether it means a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from engine.errors import ConfigError
from engine.schema import show

TOKEN = re.compile(
    r"\$\{(?:oc\.env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:,(?P<default>[^{}]*))?"
    r"|(?P<key>[A-Za-z_][A-Za-z0-9_.]*))\}"
)
FORMS = "${oc.env:NAME}, ${oc.env:NAME,default} and ${another.key}"


class ResolvedText(str):
    """Text that stood behind a `${...}`."""

    __slots__ = ()


def literal_part(text: str) -> str:
    """Return what the config itself says: a default counts, what the environment says does not."""
    return TOKEN.sub(lambda token: literal_default(token) if token["name"] else token[0], text)


def literal_default(token: re.Match[str]) -> str:
    """Return the default of an environment variable; null and none are no text."""
    default = (token["default"] or "").strip()
    return "" if default == "null" else default


def close_to(key: str, known: Mapping[str, Any]) -> str:
    """Return ` did you mean ...?` with the known key that is most like `key`, or nothing."""
    last = key.rpartition(".")[2]
    same_end = [name for name in known if name.rpartition(".")[2] == last]
    close = same_end[:1] or get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


@dataclass(frozen=True)
class Resolver:
    """The values as they are written, and the environment that they may name."""

    values: Mapping[str, Any]
    environ: Mapping[str, str]

    def all(self) -> dict[str, Any]:
        """Return every value as it is meant."""
        return {key: self.key(key) for key in self.values}

    def key(self, key: str, path: tuple[str, ...] = ()) -> Any:
        """Return the value of one key; `path` holds the keys on the way to it."""
        if key in path:
            problem = f"refers to itself: {' -> '.join((*path, key))}"
            raise ConfigError(path[0], problem)
        return self.value(self.values[key], key, (*path, key))

    def value(self, value: Any, key: str, path: tuple[str, ...]) -> Any:
        """Return `value` with each `${...}` in it replaced; it stands at `key`."""
        match value:
            case list():
                items = enumerate(value)
                return [self.value(item, f"{key}[{index}]", path) for index, item in items]
            case dict():
                return {
                    name: self.value(item, f"{key}.{name}", path) for name, item in value.items()
                }
            case str() if "${" in value:
                return self.text(value, key, path)
        return value

    def text(self, text: str, key: str, path: tuple[str, ...]) -> Any:
        """Return the value that a text stands for; a lone `${...}` keeps the value's type."""
        if "${" in TOKEN.sub("", text):
            problem = f"{show(text)} is refused; allowed: {FORMS}"
            raise ConfigError(key, problem)
        if lone := TOKEN.fullmatch(text):
            return self.token(lone, key, path)
        return ResolvedText(TOKEN.sub(lambda token: spelled(self.token(token, key, path)), text))

    def token(self, token: re.Match[str], key: str, path: tuple[str, ...]) -> Any:
        """Return what one `${...}` stands for."""
        if not token["name"]:
            return self.reference(token["key"], key, path)
        text = self.environ.get(token["name"], token["default"])
        if text is None:
            problem = f"the environment variable {token['name']} is not set"
            raise ConfigError(key, f"{problem}; set it, or write {with_default(token)}")
        is_null = token["name"] not in self.environ and text.strip() == "null"
        return None if is_null else ResolvedText(text)

    def reference(self, target: str, key: str, path: tuple[str, ...]) -> Any:
        """Return the value of the key that another one refers to."""
        if target not in self.values:
            problem = f"${{{target}}} refers to an unknown key{close_to(target, self.values)}"
            raise ConfigError(key, problem)
        return self.key(target, path)


def with_default(token: re.Match[str]) -> str:
    """Return the form that needs no variable."""
    return f"${{oc.env:{token['name']},default}}"


def spelled(value: Any) -> str:
    """Return a value as part of a longer text."""
    return value if isinstance(value, str) else json.dumps(value)
