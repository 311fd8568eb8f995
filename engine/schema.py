"""What a value of the config may be, read off the annotations of the dataclasses.

`Annotated[int, Range(1, 10), "meaning"]` says type, limits and meaning once; the check, its message
and the help page all come from there, so they cannot differ. No particular key is known here.
Strict: a bool is no number, text is neither, and a number is finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, NamedTuple, get_args, get_origin, get_type_hints

from engine.errors import ConfigError

MAX_SHOWN_CHARS = 80
KIND_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
}


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both allowed."""

    low: float
    high: float

    def allows(self, value: Any) -> bool:
        """Whether `value` lies within."""
        return bool(self.low <= value <= self.high)

    def __str__(self) -> str:
        """Say the limits as they are written in a message."""
        return f"from {self.low:.16g} to {self.high:.16g}"


class OneOf:
    """One of a few words."""

    def __init__(self, *choices: str) -> None:
        """Take the words in the order in which they are shown."""
        self.choices = choices

    def allows(self, value: Any) -> bool:
        """Whether `value` is one of the words."""
        return value in self.choices

    def __str__(self) -> str:
        """List the words."""
        return ", ".join(self.choices)


class NotEmpty:
    """Text with at least one character."""

    def allows(self, value: Any) -> bool:
        """Whether there is any text."""
        return bool(value)

    def __str__(self) -> str:
        """Say it so that it can follow `text`."""
        return "that is not empty"


class Declared(NamedTuple):
    """The declaration of one field: `kind` is a plain type, or a dataclass for a nested group."""

    kind: Any
    optional: bool
    limit: Range | OneOf | NotEmpty | None
    meaning: str

    @property
    def plain(self) -> Any:
        """The type without its parameters: `list` for `list[RuleConf]`."""
        return get_origin(self.kind) or self.kind

    def allows(self, value: Any) -> bool:
        """Whether `value` has the declared type and lies within the declared limit."""
        if value is None:
            return self.optional
        if self.optional and value == "":
            return False
        return is_kind(value, self.plain) and (self.limit is None or self.limit.allows(value))

    def __str__(self) -> str:
        """Say what is allowed."""
        text = KIND_NAMES[self.plain]
        if isinstance(self.limit, OneOf):
            text = str(self.limit)
        elif self.limit:
            text = f"{text} {self.limit}"
        return f"{text}, or null" if self.optional else text


def is_kind(value: object, kind: type) -> bool:
    """Whether `value` is of `kind`; a whole number is a number too, a bool never is."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, kind)


def declarations(group: Any) -> dict[str, Declared]:
    """Return the declaration of each field of a dataclass, in its order."""
    hints = get_type_hints(group, include_extras=True)
    return {field.name: declared(hints[field.name]) for field in fields(group)}


def is_group(kind: Any) -> bool:
    """Whether a field of this kind holds a group of its own."""
    return is_dataclass(kind)


def declared(hint: Any) -> Declared:
    """Read one annotation."""
    bare, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    kinds = get_args(bare) if isinstance(bare, UnionType) else (bare,)
    (kind,) = (each for each in kinds if each is not NoneType)
    limit = next((note for note in notes if not isinstance(note, str)), None)
    meaning = next((note for note in notes if isinstance(note, str)), "")
    return Declared(kind, NoneType in kinds, limit, meaning)


def leaves(group: Any, prefix: str = "", **swaps: Any) -> Iterator[tuple[str, Declared]]:
    """Yield the full key and declaration of each value; `swaps` puts a child in a field's place."""
    for name, declaration in declarations(group).items():
        kind = swaps.get(name, declaration.kind)
        if is_group(kind):
            yield from leaves(kind, f"{prefix}{name}.")
        else:
            yield prefix + name, declaration


class Group:
    """A dataclass whose values are checked against its annotations when it is made."""

    key: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Refuse the first value that is not as declared."""
        check_fields(self, self.key)


def check_fields(group: Any, key: str) -> None:
    """Refuse the first value of a dataclass that is not as declared; `key` is where it stands."""
    for name, declaration in declarations(type(group)).items():
        value = getattr(group, name)
        if not is_group(declaration.kind) and not declaration.allows(value):
            is_unquoted = declaration.plain is str and isinstance(value, int | float)
            allowed = f"{declaration}, in quotes" if is_unquoted else str(declaration)
            raise refusal(f"{key}.{name}" if key else name, value, allowed=allowed)


def check_items(
    key: str, items: list[str], is_good: Callable[[str], bool], *, allowed: str
) -> None:
    """Refuse the first item of a list of texts that is none, or not good."""
    for index, item in enumerate(items):
        if not isinstance(item, str) or not is_good(item):
            at = f"{key}[{index}]"
            raise refusal(at, item, allowed=allowed)


def check_range(key: str, value: float, *, low: float, high: float) -> None:
    """Refuse `value` unless low <= value <= high (NaN never is)."""
    if not low <= value <= high:
        raise refusal(key, value, allowed=str(Range(low, high)))


def check_different(key: str, names: tuple[str, ...]) -> None:
    """Refuse `names` of which two are the same, or one is empty."""
    if "" in names or len(set(names)) < len(names):
        shown = ", ".join(map(repr, names))
        problem = f"{shown} are refused; allowed: {len(names)} different texts, none empty"
        raise ConfigError(key, problem)


def refusal(key: str, value: object, *, allowed: str) -> ConfigError:
    """Return the error that says: this value is refused, that is allowed."""
    return ConfigError(key, f"{show(value)} is refused; allowed: {allowed}")


def show(value: object) -> str:
    """Write a value as the user would, on one line and not too long."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        short = value if len(value) <= MAX_SHOWN_CHARS else value[:MAX_SHOWN_CHARS] + "..."
        return repr(short)
    return KIND_NAMES.get(type(value), f"a {type(value).__name__}")
