"""Fixtures of the end-to-end tests: the log of a million events, judged in the background."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.end_to_end.botgen_log import BotgenLog


@pytest.fixture(scope="session")
def botgen_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BotgenLog]:
    """The log of a million events; the model judges it in the background."""
    log = BotgenLog(tmp_path_factory.mktemp("botgen"))
    yield log
    log.close()
