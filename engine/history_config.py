"""The typed config of tasks that look at the past: values and range checks only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from engine.schema import Group, Range

ON_HISTORY = ("evaluate", "check", "sweep", "lint", "explain")
TASKS = ("replay", *ON_HISTORY, "rekey")


@dataclass
class RecordConf(Group):
    """The history of a run, if it is kept."""

    key: ClassVar[str] = "record"
    path: Annotated[str | None, "folder for events and journal, as Parquet"] = None


@dataclass
class ReplayConf(Group):
    """How far back in a topic a task goes that looks at the past."""

    key: ClassVar[str] = "replay"
    since_s: Annotated[int, Range(1, 1e9), "windows that ended since then, of a topic"] = 600
    verify: Annotated[bool, "task=replay: decide again as record.path says, and compare"] = False


@dataclass
class ReportConf(Group):
    """Where a task on history writes what it has found, if anywhere."""

    key: ClassVar[str] = "report"
    json: Annotated[str | None, "file for the figures of a task on history"] = None
    html: Annotated[str | None, "file for the page of task=evaluate"] = None


@dataclass
class SweepConf(Group):
    """Which thresholds task=sweep tries, and what it looks for."""

    key: ClassVar[str] = "sweep"
    sets: Annotated[int, Range(1, 1_000_000), "most sets of thresholds to try"] = 10_000
    values: Annotated[dict[str, Any], "by rule: a list of values for each of its thresholds"] = (
        field(default_factory=dict)
    )
    max_people_share: Annotated[float, Range(0, 1), "with labels: of people, flagged"] = 0.005
    max_flagged: Annotated[int | None, Range(0, 1e15), "without: addresses; null: 0.5 %"] = None
    rules: Annotated[str | None, "file for the rules with the best thresholds"] = None


@dataclass
class CheckConf(Group):
    """What task=check lets pass."""

    key: ClassVar[str] = "check"
    baseline: Annotated[str | None, "the report.json to compare with"] = None
    max_fall: Annotated[float, Range(0, 1), "of precision and of recall"] = 0.01
    max_changed_share: Annotated[
        float, Range(0, 1e6), "addresses flagged now or then, not both; of those then"
    ] = 0.1
