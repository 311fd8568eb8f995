"""The fixtures of the end-to-end tests serve here as well."""

from __future__ import annotations

from tests.end_to_end.conftest import (  # noqa: F401
    botgen_log,
    frail_kafka,
    judge_early,
    new_engine,
    rig,
)
