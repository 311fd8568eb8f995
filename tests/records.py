"""Random records, good and hostile, for two readings of a record to be compared.

`random_record` writes an event in one of many ways, most of them allowed. All its luck is from the
Random that it is given; `mutations` break what it writes.
"""

from __future__ import annotations

import json
from random import Random

NAMES = ("unix_time", "category_id", "ip", "type")

INTEGERS = (
    *("0", "-0", "1", "-1", "7", "1700000000", "100000000000", "100000000001"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"),
    *(
        "18446744073709551615",
        "18446744073709551616",
        "9999999999999999999",
        "99999999999999999999",
    ),
    *("1" * 40, "1700000000000", "1700000000000000"),
)
NOT_INTEGERS = (
    *("1.0", "1e3", "1E+3", "-1.5e-3", "0.1", "1e400", "true", "false", '"7"', '"1700000000"'),
    *("[7]", '{"a":7}', "[]", '""'),
)
NO_JSON = ("01", "+1", "-", "1.", ".5", "1e", "NaN", "Infinity", "-Infinity", "0x1", "tru", "nul")
ADDRESSES = (
    *("1.2.3.4", "0.0.0.1", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4"),
    *("1.2.3.4 ", " 1.2.3.4", "1.2.3.04", "1..2.3", "1.2.3.", ".1.2.3", "1.2.3.a", "00.0.0.0"),
    *(
        "::",
        "::1",
        "1::",
        ":::",
        "1:::2",
        ":1",
        "1:",
        "1::2::3",
        "fe80::1%eth0",
        "::%",
        "2001:DB8::A",
    ),
    *(
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
    ),
    *("1::3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "12345::", "::12345", "g::", "1:2:3:4:5:6:1.2.3.4"),
    *("::1.2.3.4", "::ffff:1.2.3.4", "::FFFF:102:304", "0:0:0:0:0:ffff:1.2.3.4", "::1.2.3.4:5"),
    *(
        "::1.2.3.256",
        "::01.2.3.4",
        "1.2.3.4::",
        "::ffff:0:1.2.3.4",
        "64:ff9b::1.2.3.4",
        "1:1.2.3.4",
    ),
    "0000:0000:0000:0000:0000:ffff:192.168.100.200",
    "00000:0000:0000:0000:0000:ffff:192.168.100.20",
    *(
        "",
        ".",
        ":",
        "1",
        "a" * 45,
        "1" * 46,
        "\u0661.2.3.4",
        "1.2.3.4\u0000",
        "\ud800",
        "\U0001f600",
    ),
)
KINDS = ("click", "view", "Click", "click ", "scroll", "", "clic", "viewer", "\u212alick")
ENVELOPES = ('{"payload":%s', '{"a":1,"payload":%s', '{"p\\u0061yload":%s')
NOISE = ("[%s", "[%s,", "%s,", "%s]", "[%s]", " [ %s , ", "[[%s]", "%s,,")
SPACES = ("", "", "", " ", "\t", "\n", "\r\n", "  ", "\f", "\u00a0")
FRAGMENTS = tuple(
    fragment.encode("utf-8", "surrogatepass")
    for fragment in (
        *('"', "{", "}", "[", "]", ",", ":", "\\", "\\u", "\\ud800", "\\u0000", '\\"', "\\x", "//"),
        *('"ip":', '"ip":null,', '"type":"click"', '"payload":{', '"unix_time":1,', "null", "true"),
        *(
            "-",
            ".",
            "e",
            "0",
            "9",
            "9" * 30,
            "1e9",
            "NaN",
            "\u00e9",
            "\u20ac",
            "\U0001f600",
            "\ufeff",
        ),
        *(
            "[" * 62,
            "[" * 64,
            "]" * 62,
            '{"a":' * 62,
            "}" * 62,
            " " * 4_096,
            "\x00",
            "\x1f",
            "\x7f",
        ),
        *("\ud800", "\\u00e9", "\n", "\r", "\t", " "),
    )
) + (
    b"\xff",
    b"\x80",
    b"\xc0\xaf",
    b"\xe2\x82",
    b"\xf4\x90\x80\x80",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
)


def random_record(random: Random, names: tuple[str, str, str, str] = NAMES) -> bytes:
    """Return a record with these field names: an event, or one with something wrong in it."""
    text, form = event_text(random, names), random.random()
    if form < 0.15:
        others = event_text(random, names)[1:] if random.random() < 0.3 else "}"
        envelope = random.choice(ENVELOPES) % text
        text = envelope + others if others == "}" else f"{envelope},{others}"
    elif form < 0.3:
        text = random.choice(NOISE) % text
    elif form < 0.32:
        text = random_value(random, 0)
    return text.encode("utf-8", "surrogatepass")


def event_text(random: Random, names: tuple[str, str, str, str]) -> str:
    """Return an object with the four fields, and perhaps more, in any order."""
    fields = [
        (names[0], random_number(random, "1700000000")),
        (names[1], random_number(random, "42")),
        (names[2], random_text(random, "2001:db8::7", ADDRESSES)),
        (names[3], random_text(random, "click", KINDS)),
    ]
    members = [field for field in fields if random.random() > 0.03]
    while random.random() < 0.25:
        again = (random.choice(names), random.choice(("null", "7", '"x"', "{}")))
        members.append(random.choice((again, ("other", random_value(random, 0)))))
    random.shuffle(members)
    space = random.choice(SPACES) if random.random() < 0.2 else ""
    return "{" + ",".join(member(random, *one, space) for one in members) + space + "}"


def member(random: Random, name: str, value: str, space: str) -> str:
    """Return one member, its name escaped now and then."""
    return f"{space}{quoted(random, name, 0.03)}{space}:{space}{value}{space}"


def random_number(random: Random, good: str) -> str:
    """Return the text of a good number, now and then of another value."""
    if random.random() < 0.85:
        return good
    return random.choice(random.choice((INTEGERS, INTEGERS, NOT_INTEGERS, NO_JSON, ("null",))))


def random_text(random: Random, good: str, others: tuple[str, ...]) -> str:
    """Return a good string, now and then another one or none at all."""
    form = random.random()
    if form < 0.1:
        return random.choice(("null", *NOT_INTEGERS, *NO_JSON))
    return quoted(random, good if form < 0.75 else random.choice(others), 0.05)


def quoted(random: Random, text: str, escape_share: float) -> str:
    """Return a JSON string, now and then with a needless escape in it."""
    plain = json.dumps(text, ensure_ascii=random.random() < 0.5)
    if not text or random.random() >= escape_share:
        return plain
    at = random.randrange(len(text))
    unit = ord(text[at])
    escape = f"\\u{unit:04{random.choice('xX')}}" if unit <= 0xFFFF else text[at]
    return json.dumps(text[:at])[:-1] + escape + json.dumps(text[at + 1 :])[1:]


def random_value(random: Random, depth: int) -> str:
    """Return any JSON value, nested a few levels."""
    form = random.randrange(6 if depth < 4 else 4)
    if form == 4:
        return (
            "["
            + ",".join(random_value(random, depth + 1) for _ in range(random.randrange(3)))
            + "]"
        )
    if form == 5:
        members = (f'"a":{random_value(random, depth + 1)}' for _ in range(random.randrange(3)))
        return "{" + ",".join(members) + "}"
    return random.choice((*INTEGERS, *NOT_INTEGERS, "null", '"\\ud800"', '"\u20ac"', '"{\\"}"'))


def random_address(random: Random) -> str:
    """Return the text of an address, or of what is nearly one."""
    if random.random() < 0.5:
        octets = [str(random.choice((0, 1, 9, 10, 99, 255, 256))) for _ in range(4)]
        text = ".".join(octets)
    else:
        groups = [f"{random.getrandbits(16):x}" if random.random() < 0.6 else "0" for _ in range(8)]
        text = ":".join(groups)
        text = text.replace(":0:0:", "::", 1) if random.random() < 0.5 else text
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(("",) * 6 + tuple(".:0aF%/ ")) + text[at:]
