"""The typed config of the Spark runner; see `engine.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from engine.errors import ConfigError
from engine.schema import Group, Range, is_kind, refusal

OWNED = {
    "spark.master": "use spark.master",
    "spark.jars.packages": "use spark.packages",
    "spark.sql.session.timeZone": "times are unix seconds, whatever the zone",
}


@dataclass
class SparkConf(Group):
    """What `runner=spark` needs; under spark-submit its own options stand over the first three."""

    key: ClassVar[str] = "spark"
    master: Annotated[str | None, "local[*], spark://...; null: as spark-submit says"] = None
    packages: Annotated[str | None, "Maven coordinates; null: the connector of this PySpark"] = None
    properties: Annotated[dict[str, Any], "Spark's own, such as spark.executor.memory"] = field(
        default_factory=dict, repr=False
    )
    checkpoint: Annotated[str | None, "folder that all nodes share: a path, s3a://, hdfs://"] = None
    max_records: Annotated[int, Range(1, 10**9), "records in a micro-batch"] = 1_000_000
    partitions: Annotated[int, Range(0, 10_000), "of the counts, for good; 0: as many as cores"] = 0

    def __post_init__(self) -> None:
        """Refuse properties that are the engine's own, or whose value no property can have."""
        super().__post_init__()
        for name, value in self.properties.items():
            key = f"spark.properties.{name}"
            if name in OWNED:
                problem = f"is refused: {OWNED[name]}"
                raise ConfigError(key, problem)
            if not name.startswith("spark."):
                problem = "is refused; allowed: names that begin with spark."
                raise ConfigError(key, problem)
            if not any(is_kind(value, kind) for kind in (bool, float, str)):
                raise refusal(key, value, allowed="text, a number, true or false")
