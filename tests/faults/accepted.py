"""Documents that must be accepted however strange they look, and the event that each one is."""

from __future__ import annotations

from tests.faults.refused import CATEGORY, EVENT, GOOD, IP, TIME, TYPE, with_field
from tests.naive import Event

EXPECTED = Event(1_700_000_000, 42, "192.0.2.1", is_click=True)

# JSON values, each in an event as a member that is not asked for
VALUES = {
    "zero": b"0",
    "minus zero": b"-0",
    "minus zero as a fraction": b"-0.0",
    "zero with an exponent": b"0e0",
    "an exponent with a plus": b"1E+2",
    "an exponent with zeros in front": b"1e-007",
    "a number too large for any float": b"1e400",
    "a number too small for any float": b"-1e-400",
    "an integer of 400 digits": b"9" * 400,
    "a fraction of 400 digits": b"0." + b"3" * 400,
    "a number as a string": b'"NaN"',
    "an empty string": b'""',
    "all short escapes": b'"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    "an escaped NUL": b'"\\u0000"',
    "an escape in either case": b'"\\u00e9\\u00E9"',
    "an escaped pair of surrogates": b'"\\ud83d\\ude00"',
    "a high surrogate alone": b'"\\ud800"',
    "a low surrogate alone": b'"\\udc00"',
    "surrogates in the wrong order": b'"\\ude00\\ud83d"',
    "an escaped quote and a brace": b'"\\"}"',
    "an escaped backslash before the end": b'"\\\\"',
    "a delete character": b'"\x7f"',
    "characters of two, three and four bytes": '"\u00e9\u20ac\U0001f600"'.encode(),
    "the last character": '"\U0010ffff"'.encode(),
    "a character that is none": '"\ufffe"'.encode(),
    "a byte order mark in a string": '"\ufeff"'.encode(),
    "a line separator": '"\u2028"'.encode(),
    "a comment in a string": b'"/* a */ // b"',
    "brackets and commas in a string": b'"],}{["',
    "an event in a string": b'"' + GOOD.replace(b'"', b'\\"') + b'"',
    "true": b"true",
    "false": b"false",
    "null": b"null",
    "an empty array": b"[]",
    "an empty array with a space": b"[ ]",
    "an empty object": b"{}",
    "an array of everything": b'[1,-1.5e3,"a",true,false,null,[],{}]',
    "white space in it": b' [ 1 ,\t2\r\n, { "a" : 1 } ] ',
    "an empty key": b'{"":1}',
    "equal keys": b'{"a":1,"a":2}',
    "keys of a prototype": b'{"__proto__":{"a":1},"constructor":null}',
    "an event that is not asked for": GOOD,
    "arrays as deep as allowed": b"[" * 63 + b"]" * 63,
    "objects as deep as allowed": b'{"a":' * 62 + b"{}" + b"}" * 62,
}

# what is strange -> (the record, the event that it is)
RECORDS: dict[str, tuple[bytes, Event]] = {
    "nothing": (GOOD, EXPECTED),
    "white space everywhere": (
        b' \t{\r\n "unix_time" : 1700000000 ,"category_id"\n:\n42\n,\n"ip" : "192.0.2.1"\t,'
        b'\t"type"\r:\r"click" } \n',
        EXPECTED,
    ),
    "as long as allowed": (GOOD.ljust(4096), EXPECTED),
    "the first line of an array": (b"[" + GOOD + b",", EXPECTED),
    "a line in an array": (GOOD + b",", EXPECTED),
    "the last line of an array": (GOOD + b"]", EXPECTED),
    "an array of one": (b" [ " + GOOD + b" ] \r\n", EXPECTED),
    "an envelope": (b'{"schema":{},"payload":' + GOOD + b"}", EXPECTED),
    "an envelope whose key is escaped": (b'{"p\\u0061yload":' + GOOD + b"}", EXPECTED),
    "keys that are escaped": (
        GOOD.replace(b"unix_time", b"unix\\u005ftime").replace(b"ip", b"\\u0069\\u0070"),
        EXPECTED,
    ),
    "a type that is escaped": (with_field(TYPE, b'"type":"\\u0063lick"'), EXPECTED),
    "an address that is escaped": (with_field(IP, b'"ip":"192\\u002e0.2.1"'), EXPECTED),
    "fields that come again": (
        b"{" + EVENT + b',"unix_time":1,"category_id":1,"ip":"::1","type":"view"}',
        EXPECTED,
    ),
    "a field that comes again in disguise": (b"{" + EVENT + b',"\\u0069p":"::1"}', EXPECTED),
    "the first second": (with_field(TIME, b'"unix_time":1'), EXPECTED._replace(time_s=1)),
    "as far ahead as allowed": (
        with_field(TIME, b'"unix_time":1700000900'),
        EXPECTED._replace(time_s=1_700_000_900),
    ),
    "the greatest category": (
        with_field(CATEGORY, b'"category_id":9223372036854775807'),
        EXPECTED._replace(category=2**63 - 1),
    ),
    "the least category": (
        with_field(CATEGORY, b'"category_id":-9223372036854775808'),
        EXPECTED._replace(category=-(2**63)),
    ),
    "minus zero for a category": (
        with_field(CATEGORY, b'"category_id":-0'),
        EXPECTED._replace(category=0),
    ),
}
