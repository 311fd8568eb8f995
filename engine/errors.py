"""Every error that a user can cause or must act on, each with its exit code.

    BotsieveError                 never raised itself
    |-- ConfigError         78    a value, a rule or an override is wrong: nothing was connected yet
    |-- AuthError           77    a password or a permission is refused by Kafka or Redis
    |-- PartialViewError    75    another engine owns (a part of) the topic
    |-- UnavailableError    69    a service or a file is not there
    |   `-- FencedError           the group has given our place away
    |-- DataLossError        3    the broker no longer has records that were not counted
    `-- DifferenceError      1    decisions are not those that were kept: replay.verify, task=check

The message is one line that says what, the value, the key and what to do. Anything else that is
raised is our bug: exit 70.
"""

from __future__ import annotations

BUG_EXIT_CODE = 70


class BotsieveError(Exception):
    """Root of the tree; its children carry the exit code."""

    exit_code = BUG_EXIT_CODE


class ConfigError(BotsieveError):
    """A config value is refused; `key` is its full dotted key."""

    exit_code = 78

    def __init__(self, key: str, problem: str) -> None:
        """Say which `key` is wrong and what is allowed there."""
        super().__init__(f"{key}: {problem}")
        self.key = key


class AuthError(BotsieveError):
    """Kafka or Redis refuses who we are or what we do."""

    exit_code = 77


class PartialViewError(BotsieveError):
    """This engine cannot see the whole topic, so it must not judge."""

    exit_code = 75


class UnavailableError(BotsieveError):
    """A service or a file that we need is not there."""

    exit_code = 69


class FencedError(UnavailableError):
    """The group has given our place away: to another engine, or because it had lost us."""


class DataLossError(BotsieveError):
    """Records were deleted before they were counted."""

    exit_code = 3


class DifferenceError(BotsieveError):
    """Decisions made again are not those of the day, or not as good as those of a kept report."""

    exit_code = 1
