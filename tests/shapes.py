"""Shapes of records, with a slot for each of the four values, and what may stand in a slot.

A producer writes all its records in one shape; a record that leaves it in one place is what a
reader who knows the shape must not be misled by. Knows nothing of what such a record means.
"""

from __future__ import annotations

import re

from tests.records import ADDRESSES

MEMBERS = ('"unix_time":<time>', '"category_id":<category>', '"ip":"<ip>"', '"type":"<kind>"')
PLAIN = "{" + ",".join(MEMBERS) + "}"
SPACED = re.sub(r"([:,{}])", r" \1\t", PLAIN)
SHAPES = {
    "plain": PLAIN,
    "last_first": "{" + ",".join(reversed(MEMBERS)) + "}",
    "type_in_front": "{" + ",".join((MEMBERS[3], *MEMBERS[:3])) + "}",
    "spaces": SPACED,
    "file_line": PLAIN + "\r",
    "noise": f"[{PLAIN},",
    "noise_at_the_end": f" {PLAIN} ]\r",
    "two_brackets": f"[{PLAIN}]",
    "envelope": f'{{"schema":{{"type":"struct"}},"payload":{PLAIN}}}',
    "envelope_last": f'{{"payload":{SPACED},"schema":null}}',
    "envelope_with_null_fields": f'{{"unix_time":null,"category_id":"1","payload":{PLAIN}}}',
    "payload_ignored": f'{PLAIN[:-1]},"payload":{{"unix_time":5,"ip":"::5","type":"view"}}}}',
    "other_members": '{"é":"\\u00e9\\"",' + ',"a":[{"ip":"::9"},1e3],'.join(MEMBERS) + "}",
    "null_between": "{" + ',"a":null,'.join(MEMBERS) + ',"b":null}',
    "repeated_later": f'{PLAIN[:-1]},"unix_time":7,"ip":"::7","type":"view","category_id":null}}',
    "repeated_between": "{"
    + ",".join((MEMBERS[2], '"ip":"::7"', *MEMBERS[:2], '"unix_time":null', MEMBERS[3]))
    + "}",
}
GOOD = {"time": "1700000000", "category": "42", "ip": "192.0.2.1", "kind": "click"}

NUMBERS = {
    "zero": ["0", "00", "-0", "+0"],
    "negative": ["-1", "-7", "-1700000000", "-9223372036854775808", "-9223372036854775809"],
    "leading_zero": ["01", "007", "-07", "0000000001"],
    "18_digits": ["999999999999999999", "1" * 18],
    "19_digits": ["1" * 19, "9223372036854775807", "9223372036854775808", "9" * 19],
    "more_digits": ["1" * 20, "18446744073709551617", "340282366920938463463374607431768211457"],
    "fraction": ["1.5", "1.0", "1.", "1e3", "1E+3", "17e8"],
    "no_number": ["", "-", "null", "true", '"7"', "[7]", "{}", "x", " 7", "7 ", "1_0", "0x1"],
    "two_members": ['7,"unix_time":8', '7,"ip":"::8"', '7,"a":null', "7}", "7,"],
}
SLOTS = {
    "time": NUMBERS
    | {
        "border": ["1", "100000000000", "100000000001", "1700000000000"],
        "future": ["1700000900", "1700000901", "1700000001", "99999999999"],
    },
    "category": NUMBERS | {"ordinary": ["0", "7", "123456789"]},
    "ip": {
        "v4": ["0.0.0.1", "255.255.255.255", "10.0.0.1", "1.2.3.4"],
        "v6": ["::", "::1", "2001:db8::A", "2001:DB8:0:0::a", "1:2:3:4:5:6:7:8"],
        "mapped": ["::ffff:192.0.2.1", "::FFFF:c000:201", "0:0:0:0:0:ffff:192.0.2.1"],
        "no_address": [text for text in ADDRESSES if text.isascii() and text.isprintable()],
        "not_ascii": ["\u0661.2.3.4", "1.2.3.4\u0080", "\x7f", "1.2.3.4\x00", "\t1.2.3.4", "::\n"],
        "escape": ["\\u0031.2.3.4", "1.2.3\\u002e4", "1.2.3.4\\n", "\\", '1.2.3.4\\"', "\\x"],
        "ends_early": ['1.2.3.4"', '1.2.3.4","a":"b', '","ip":"1.2.3.4', "1.2.3.4,"],
    },
    "kind": {
        "known": ["view", "click"],
        "unknown": ["scroll", "", "Click", "clicks", "views", "vie", "clic", " click", "click "],
        "escape": ["clic\\u006b", "\\u0076iew", "click\\n", "\\", '\\"'],
        "ends_early": ['click"', 'click","type":"view', 'view","a":"', "click,"],
    },
}


def filled(shape: str, **values: str) -> bytes:
    """Return a record of this shape with these values in its slots, good ones in the others."""
    return re.sub(r"<(\w+)>", lambda slot: (GOOD | values)[slot[1]], shape).encode()


def values_of(slot: str) -> list[str]:
    """Return everything that is tried in a slot."""
    return [text for texts in SLOTS[slot].values() for text in texts]
