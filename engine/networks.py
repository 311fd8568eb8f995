"""Networks as spans of addresses: 128-bit numbers, an IPv4 address in its IPv4-mapped form.

`192.0.2.0/24` and `::ffff:192.0.2.0/120` are one span. A wider IPv6 network means IPv6 only: the
numbers of `::/0` surround those of IPv4, but who allows it does not mean to allow everyone.
"""

from __future__ import annotations

import ipaddress
import re

Span = tuple[int, int]  # first and last address, both within

MAPPED: Span = (0xFFFF << 32, 0xFFFF << 32 | 0xFFFFFFFF)
TEXT = re.compile(r"[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?")
ALLOWED = "an address, or a CIDR without host bits"
NAMED = {
    "loopback": ("127.0.0.0/8", "::1"),
    "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    "link_local": ("169.254.0.0/16", "fe80::/10"),
    "cgnat": ("100.64.0.0/10",),
}


def spans_of(text: str) -> list[Span]:
    """Return the one or two spans of an address or a CIDR; ValueError where it is neither."""
    if not TEXT.fullmatch(text):
        raise ValueError(ALLOWED)
    network = ipaddress.ip_network(text)
    first, last = int(network[0]), int(network[-1])
    if network.version == 4:  # noqa: PLR2004 - IPv4
        return [(MAPPED[0] + first, MAPPED[0] + last)]
    if first >= MAPPED[0] or last < MAPPED[1]:
        return [(first, last)]
    around = [(first, MAPPED[0] - 1), (MAPPED[1] + 1, last)]
    return [span for span in around if span[0] <= span[1]]


def named_spans(name: str) -> list[Span]:
    """Return the spans of one of the NAMED lists."""
    return [span for text in NAMED[name] for span in spans_of(text)]
