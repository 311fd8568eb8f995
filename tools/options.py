"""How the tools read their command lines: value checks, and one line for what is wrong."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from fractions import Fraction
from typing import NoReturn

UNAVAILABLE, BAD_OPTION, INTERRUPTED = 69, 78, 130


def reason(problem: OSError) -> str:
    """One line for what is not there."""
    return f"{problem.filename}: {problem.strerror}" if problem.strerror else str(problem)


class Parser(argparse.ArgumentParser):
    """Refuses a bad option in one line and with the exit code of a bad config."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong with which option and exit."""
        self.exit(BAD_OPTION, f"{self.prog}: {message}\n")


def integer(minimum: int, maximum: float = float("inf")) -> Callable[[str], int]:
    """Parser of an integer from `minimum` to `maximum`."""
    limit = f"{minimum} to {maximum}" if maximum < float("inf") else f"{minimum} or more"

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not minimum <= int(text) <= maximum:
            problem = f"{text!r} must be an integer, {limit}"
            raise argparse.ArgumentTypeError(problem)
        return int(text)

    return parse


def positive(text: str) -> Fraction:
    """A number above 0, exact: `0.5`, `3` or `1/7`."""
    try:
        number = Fraction(text)
    except (ValueError, ZeroDivisionError):
        number = Fraction(0)
    if number <= 0:
        problem = f"{text!r} must be a number above 0"
        raise argparse.ArgumentTypeError(problem)
    return number


def kafka_target(text: str) -> tuple[str, str]:
    """Bootstrap servers and topic of `BOOTSTRAP/TOPIC`."""
    if not re.fullmatch(r"[^/\s]+/[A-Za-z0-9._-]{1,249}", text):
        problem = f"{text!r} must be BOOTSTRAP/TOPIC, as localhost:9092/events"
        raise argparse.ArgumentTypeError(problem)
    bootstrap, topic = text.split("/")
    return bootstrap, topic
