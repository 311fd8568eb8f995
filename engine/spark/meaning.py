"""What the end of a query means: the error that a worker of ours has raised, or what Spark says."""

from __future__ import annotations

import re

from engine import errors
from engine.errors import BotsieveError, ConfigError, UnavailableError
from engine.spark.session import first_line

OURS = re.compile(r"engine\.errors\.(\w+): (.+)")


def meaning(*errors_raised: BaseException) -> BotsieveError:
    """Return what ended a query: our own error if a worker raised one, else what Spark says."""
    for error in errors_raised:
        for name, text in OURS.findall(str(error)):
            kind = getattr(errors, name, None)
            if isinstance(kind, type) and issubclass(kind, BotsieveError):
                return worded(kind, text)
    return UnavailableError(f"spark: the query has ended: {first_line(errors_raised[0])}")


def worded(kind: type[BotsieveError], text: str) -> BotsieveError:
    """Return an error of a worker as it was raised there."""
    if issubclass(kind, ConfigError):
        key, _, problem = text.partition(": ")
        return ConfigError(key, problem)
    return kind(text)
