"""The presets in conf/: which groups and options there are, and what Hydra composes of a choice.

Hydra sees nothing of the user but names of options that exist, and nothing of it stays: no folder,
no log, no initialised Hydra. Values are the business of `engine.settings.compose`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import hydra
from omegaconf import OmegaConf

from engine.paths import bundled
from engine.schema import refusal
from engine.source_config import FileConf, KafkaConf, SourceConf

GROUPS = ("source", "sink", "rules", "deploy")
SOURCES: dict[str, type[SourceConf]] = {"kafka": KafkaConf, "file": FileConf}
CHOSEN_BY_GROUP = {"sink.kind": "sink", "deploy.kind": "deploy"}


class Preset(NamedTuple):
    """What was chosen in each group, and the nested values that this gives."""

    choices: dict[str, str]
    values: dict[str, Any]


def options(group: str) -> list[str]:
    """Return the names that may be chosen in a group."""
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


def conf_dir() -> Path:
    """Return the folder with the presets."""
    return bundled("conf")


def summary(group: str, option: str) -> str:
    """Return the comment at the head of an option's file."""
    lines = (conf_dir() / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    comments = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    return next((text for text in comments if not text.startswith("@")), "")


def check_option(group: str, option: object) -> None:
    """Refuse an option that the group does not have."""
    if option not in options(group):
        own = ", or rules.path=FILE.yaml for your own" if group == "rules" else ""
        raise refusal(group, option, allowed=", ".join(options(group)) + own)


def preset(choices: Mapping[str, str]) -> Preset:
    """Return the values for these choices, the defaults where nothing is chosen."""
    for group, option in choices.items():
        check_option(group, option)
    return composed(*(f"{group}={option}" for group, option in choices.items()))


@cache  # 60 ms each time, and the files stay as they are
def composed(*overrides: str) -> Preset:
    """Return what Hydra composes; it is everybody's, and nobody changes it."""
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="botsieve"):
        conf = hydra.compose("config", list(overrides), return_hydra_config=True)
    chosen = {group: conf.hydra.runtime.choices[group] for group in GROUPS}
    del conf.hydra
    return Preset(chosen, cast(dict[str, Any], OmegaConf.to_container(conf, resolve=False)))
