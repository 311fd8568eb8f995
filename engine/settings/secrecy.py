"""Which values are secret, and how they stay so: never a literal, never in a message or a dump.

A secret comes from the environment or from a file. Whoever prints a config prints `mask(conf)`.
The invariant: no function here returns or raises the text of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from engine.config import AppConf
from engine.errors import ConfigError
from engine.schema import show
from engine.settings.interpolation import TOKEN, literal_part

MASK = "***"
SECRET_KEY = re.compile(
    r"passw|passphrase|secret|credential|token$|key\.pem$|oauthbearer\.(config|extensions)$",
    re.IGNORECASE,
)
NOT_SECRET = re.compile(r"_file$|\.(file|location|client\.id)$|^source\.fields\.")
URL_USER = re.compile(r"://.*@", re.DOTALL)
URL_QUERY = re.compile(r"([?&][^=&]*(?:passw|secret)[^=&]*=).+", re.IGNORECASE | re.DOTALL)
URL_PASSWORD = re.compile(rf"://.*:.+@|{URL_QUERY.pattern}", re.IGNORECASE | re.DOTALL)
NAMED = "${oc.env:NAME}"


def is_secret(key: str) -> bool:
    """Whether the value of this key is a secret."""
    return bool(SECRET_KEY.search(key)) and not NOT_SECRET.search(key)


def refuse_literals(key: str, value: Any, *, on_argv: bool) -> None:
    """Refuse a secret that is written out or copied, without repeating it."""
    if isinstance(value, list | dict):
        for inner_key, inner in children(key, value).items():
            refuse_literals(inner_key, inner, on_argv=on_argv)
        return
    seen = ", and `ps` shows it to everyone" if on_argv else ""
    literal = literal_part(value) if isinstance(value, str) else value
    if is_secret(key) and literal not in (None, ""):
        problem = f"a literal secret is refused{seen}; give it by {ways(key)}"
        raise ConfigError(key, problem)
    if isinstance(literal, str) and URL_PASSWORD.search(literal):
        problem = f"a literal password in a URL is refused{seen}; give it by {ways(key)}"
        raise ConfigError(key, problem)
    for token in TOKEN.finditer(str(value)):
        if token["key"] and is_secret(token["key"]):
            problem = f"{token[0]} would copy a secret; name the environment: {NAMED}"
            raise ConfigError(key, problem)


def ways(key: str) -> str:
    """Say how a secret is given."""
    if key.startswith("sink"):
        return f"sink.password_file=FILE, the environment variable REDIS_PASSWORD, or {NAMED}"
    return f"the environment: '{key}={NAMED}'"


@contextmanager
def without_values(written: Mapping[str, Any]) -> Iterator[None]:
    """Let an error say `${...}` as it is written, where it would show what that stands for."""
    try:
        yield
    except ConfigError as error:
        for key, text in texts(written):
            if "${" in text and f"{key}.".startswith(f"{error.key}."):
                _, separator, allowed = str(error).partition("; allowed: ")
                problem = f"what {show(text)} stands for is refused{separator}{allowed}"
                raise ConfigError(error.key, problem) from None
        raise


def texts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each text with its full key, also those in lists."""
    for key, value in values.items():
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, list | dict):
            yield from texts(children(key, value))


def children(key: str, value: list[Any] | dict[str, Any]) -> dict[str, Any]:
    """Return the values in a list or a mapping by their full keys."""
    if isinstance(value, dict):
        return {f"{key}.{name}": item for name, item in value.items()}
    return {f"{key}[{index}]": item for index, item in enumerate(value)}


def mask(conf: AppConf) -> dict[str, Any]:
    """Return the config as plain values that may be shown to anyone."""
    return {name: masked(name, value) for name, value in asdict(conf).items()}


def masked(key: str, value: Any) -> Any:
    """Return `value` with each secret in it as `***`."""
    match value:
        case dict():
            return {name: masked(f"{key}.{name}", item) for name, item in value.items()}
        case list():
            return [masked(key, item) for item in value]
        case None:
            return None
    if is_secret(key):
        return MASK
    if isinstance(value, str):
        return URL_QUERY.sub(rf"\1{MASK}", URL_USER.sub(f"://{MASK}@", value))
    return value
