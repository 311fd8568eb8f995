"""From the command line to the checked config: layers of flat keys, the later one stronger.

    presets in conf/ (group choices) < rules.path=FILE < config=FILE < key=value

Hydra composes the presets and parses the overrides; its own config is never reachable, nothing is
instantiated, nothing is written. Every mistake of the user is a ConfigError of one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.config import AppConf, RulesConf
from engine.errors import ConfigError
from engine.schema import Declared, declarations, leaves, refusal, show
from engine.settings.build import build, fitted
from engine.settings.interpolation import Resolver, close_to
from engine.settings.manual import help_text
from engine.settings.overrides import checked, flatten, read_argv, read_file
from engine.settings.presets import CHOSEN_BY_GROUP, GROUPS, SOURCES, preset
from engine.settings.secrecy import mask, without_values
from engine.settings.yaml_file import load_mapping

__all__ = ["compose", "help_text", "mask"]


def compose(argv: Sequence[str], *, environ: Mapping[str, str]) -> AppConf:
    """Return the config for these overrides; ConfigError for the first thing that is wrong."""
    said = read_said(argv)
    chosen, nested = preset({group: said.pop(group) for group in GROUPS if group in said})
    source = chosen["source"]
    check_keys(said, source)
    written = dict(flatten(nested)) | said
    written = written | read_rules(written, environ, source) | said
    resolved = Resolver(written, environ).all()
    with without_values(written):
        return build(AppConf, resolved, source=SOURCES[source])


def read_said(argv: Sequence[str]) -> dict[str, Any]:
    """Return what the user says, in files and over them on the command line."""
    said = read_argv(argv)
    if "config" not in said:
        return said
    path = said.pop("config")
    if not isinstance(path, str) or not path:
        raise refusal(key="config", value=path, allowed="a YAML file")
    return read_file(path) | said


def read_rules(
    written: Mapping[str, Any], environ: Mapping[str, str], source: str
) -> dict[str, Any]:
    """Return the user's own rule set, {} where there is none."""
    key = "rules.path"
    path = fitted(Resolver(written, environ).key(key), declarations(RulesConf)["path"], key)
    if not isinstance(path, str) or not path:  # null is none; what is no text is refused later
        return {}
    nested = load_mapping(path, key=key)
    for name in nested:
        if name not in ("rules", "limits"):
            problem = f"{show(path)}: unknown key {show(name)}; allowed: rules, limits"
            raise ConfigError(key, problem)
    if not isinstance(nested.get("rules"), list):
        raise ConfigError(key, f"{show(path)}: a list of rules under `rules:` is needed")
    flat = checked({"rules": nested}, on_argv=False)
    check_keys(flat, source)
    return flat


def check_keys(said: Mapping[str, Any], source: str) -> None:
    """Refuse the first key that this config does not have."""
    known = known_keys(source)
    for key, value in said.items():
        if key in CHOSEN_BY_GROUP:
            problem = f"is set by the choice {CHOSEN_BY_GROUP[key]}=..., not by itself"
            raise ConfigError(key, problem)
        if not has(known, key):
            raise unknown_key(key, value, source)
    if said.get("rules.path") is not None and "rules.rules" in said:
        problem = "rules.path is given too; only one of them is allowed"
        raise ConfigError(key="rules.rules", problem=problem)


def known_keys(source: str) -> dict[str, Declared]:
    """Return every key that a config with this source has."""
    return dict(leaves(AppConf, source=SOURCES[source]))


def has(known: Mapping[str, Declared], key: str) -> bool:
    """Whether `key` is known, or lies in a mapping that takes any."""
    return key in known or any(
        declaration.plain is dict and key.startswith(f"{name}.")
        for name, declaration in known.items()
    )


def unknown_key(key: str, value: object, source: str) -> ConfigError:
    """Return the error that says most about a key that the config does not have."""
    for other in SOURCES:
        if has(known_keys(other), key):
            problem = f"belongs to source={other}, and the source is {source}: choose one of them"
            return ConfigError(key, problem)
    known = known_keys(source)
    inner = [name.removeprefix(f"{key}.") for name in known if name.startswith(f"{key}.")]
    if inner:
        return refusal(key, value, allowed=f"a mapping with the keys {', '.join(inner)}")
    hint = close_to(key, known) or "; --help lists all"
    return ConfigError(key, f"unknown key{hint}")
