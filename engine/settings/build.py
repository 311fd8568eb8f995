"""From flat keys to the dataclasses of the config: the only place where a value changes its type.

A whole number may stand for text (`source.start=1700000000`), and what an environment variable says
is read as what its field needs. All else is checked by the dataclasses themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from engine.errors import ConfigError
from engine.schema import Declared, declarations, is_group, refusal, show
from engine.settings.interpolation import ResolvedText
from engine.settings.yaml_file import scalar

T = TypeVar("T")


def build(group: type[T], values: Mapping[str, Any], prefix: str = "", **swaps: Any) -> T:
    """Return `group` made of the values under `prefix`; `swaps` puts a child in a field's place."""
    parts: dict[str, Any] = {}
    for name, declaration in declarations(group).items():
        key = prefix + name
        kind: Any = swaps.get(name, declaration.kind)
        if is_group(kind):
            parts[name] = build(kind, values, f"{key}.")
        elif key in values:
            parts[name] = fitted(values[key], declaration, key)
        elif declaration.plain is dict:
            parts[name] = below(values, f"{key}.")
    return group(**parts)


def below(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the values whose key begins with `prefix`, by the rest of their key."""
    return {
        key.removeprefix(prefix): str(value) if isinstance(value, ResolvedText) else value
        for key, value in values.items()
        if key.startswith(prefix)
    }


def fitted(value: Any, declaration: Declared, key: str) -> Any:
    """Return `value` with the type that its field has, where it can have that at all."""
    if declaration.plain is list and isinstance(value, list):
        (kind,) = get_args(declaration.kind)
        of_items = declaration._replace(kind=kind)
        return [fitted(item, of_items, f"{key}[{index}]") for index, item in enumerate(value)]
    if is_group(declaration.kind):
        return item_of(declaration.kind, value, key)
    if isinstance(value, ResolvedText):
        return str(value) if declaration.plain is str else scalar(value)
    if declaration.plain is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def item_of(kind: type[T], item: Any, key: str) -> T:
    """Return one item of a list of dataclasses."""
    known = declarations(kind)
    if not isinstance(item, Mapping):
        raise refusal(key, item, allowed=f"a mapping with the keys {', '.join(known)}")
    for name in item:
        if name not in known:
            problem = f"unknown key {show(name)}; allowed: {', '.join(known)}"
            raise ConfigError(key, problem)
    return build(kind, item)
