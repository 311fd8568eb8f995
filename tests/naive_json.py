"""Reading one JSON text exactly as RFC 8259 says, and nothing else.

The lexer below sees every character before the standard library does, so whatever `json` would
accept beyond the RFC (NaN, control characters, a BOM, digits of other scripts) never reaches it.
A text that by its characters can hold none of that, and by its brackets no depth, needs no lexer.
Knows nothing of events, windows or rules. Part of the model: standard library only.
Invariant: an int in the result is an integer literal within int64, a float is any other number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

MAX_DEPTH = 64
INT64 = range(-(2**63), 2**63)
LONGEST_INT64 = len(str(-(2**63)))
TOKEN = re.compile(
    r"""
      [ \t\n\r]+                                                       # white space
    | [\[\]{}:,]                                                       # structure
    | true | false | null
    | -? (?: 0 | [1-9][0-9]* ) (?: \.[0-9]+ )? (?: [eE][+-]?[0-9]+ )?  # number
    | " (?: [^"\\\x00-\x1f] | \\["\\/bfnrt] | \\u[0-9a-fA-F]{4} )* "   # string
    """,
    re.VERBOSE,
)
HARMLESS = re.compile(r"[ -~]*")
SUSPICIOUS = ("\\", "N", "I")
"""Escapes, and what NaN and Infinity cannot be written without."""


def read_json(raw: bytes) -> object:
    """Return the value of one JSON text in UTF-8; raise ValueError for anything else."""
    text = raw.decode("utf-8")
    if not is_harmless(text) and depth_of(text) > MAX_DEPTH:
        message = f"nested deeper than {MAX_DEPTH} containers"
        raise ValueError(message)
    return DECODER.decode(text)


def is_harmless(text: str) -> bool:
    """Whether the standard library reads this text, valid or not, as the RFC says."""
    is_plain = HARMLESS.fullmatch(text) is not None and not any(c in text for c in SUSPICIOUS)
    return is_plain and text.count("[") + text.count("{") <= MAX_DEPTH


def depth_of(text: str) -> int:
    """Return how many containers are open at the deepest place."""
    depth = deepest = 0
    for token in tokens(text):
        depth += (token in ("[", "{")) - (token in ("]", "}"))
        deepest = max(deepest, depth)
    return deepest


def tokens(text: str) -> Iterator[str]:
    """Yield the JSON tokens that make up the text; raise ValueError where none begins."""
    position = 0
    while position < len(text):
        token = TOKEN.match(text, position)
        if token is None:
            message = f"no JSON token at character {position}"
            raise ValueError(message)
        yield token[0]
        position = token.end()


def integer(literal: str) -> int | float:
    """Return an int when the literal is within int64, else a float, which costs nothing."""
    if len(literal) > LONGEST_INT64 or int(literal) not in INT64:
        return float(literal)
    return int(literal)


def first_wins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object of these members; of members with one name the first counts."""
    return dict(reversed(pairs))


DECODER = json.JSONDecoder(object_pairs_hook=first_wins, parse_int=integer)
