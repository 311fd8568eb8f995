"""Networks are what Python's ipaddress says they are, with IPv4-mapped addresses folded to IPv4."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.networks import NAMED, named_spans, spans_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAPPED = 0xFFFF << 32

v4 = st.builds(
    lambda value, bits: ipaddress.ip_network((value, bits), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
v6 = st.builds(
    lambda value, bits: ipaddress.ip_network((value, bits), strict=False),
    st.integers(0, 2**128 - 1) | st.integers(MAPPED - 2**33, MAPPED + 2**33),
    st.integers(0, 128),
).filter(lambda network: network.version == 6)
networks = v4 | v6


def holds(network: Network, value: int) -> bool:
    """Whether the network holds the address of these 128 bits, both folded to IPv4 if mapped."""
    address = ipaddress.IPv6Address(value)
    folded = address.ipv4_mapped or address
    first = network.network_address
    if network.version == 6 and network.prefixlen >= 96 and first.ipv4_mapped is not None:
        network = ipaddress.ip_network((first.ipv4_mapped, network.prefixlen - 96))
    return folded in network


def near(network: Network) -> st.SearchStrategy[int]:
    """Draw 128-bit addresses: the ends of a network and their neighbours, folded or not, or any."""
    ends = [int(network[0]), int(network[-1])]
    ends += [MAPPED + end for end in ends] + [MAPPED, MAPPED + 2**32 - 1]
    close = [end + by for end in ends for by in (-1, 0, 1) if 0 <= end + by < 2**128]
    return st.sampled_from(close) | st.integers(0, 2**128 - 1)


@given(networks.flatmap(lambda network: st.tuples(st.just(network), near(network))))
def test_span_holds_an_address_where_ipaddress_says_so(drawn):
    network, value = drawn
    spans = spans_of(str(network))
    assert any(first <= value <= last for first, last in spans) == holds(network, value)
    assert all(first <= last for first, last in spans)


@given(networks)
def test_every_spelling_of_a_network_is_the_same(network):
    spellings = [network.exploded, network.exploded.upper(), network.compressed]
    if network.num_addresses == 1:
        spellings.append(str(network[0]))
    assert all(spans_of(text) == spans_of(str(network)) for text in spellings)


def test_mapped_network_is_the_ipv4_one_and_a_wider_one_holds_no_ipv4():
    assert spans_of("::ffff:192.0.2.0/120") == spans_of("192.0.2.0/24")
    assert spans_of("::ffff:0:0/96") == spans_of("0.0.0.0/0")
    (_, before), (after, _) = spans_of("::/0")
    assert (before + 1, after - 1) == spans_of("0.0.0.0/0")[0]
    assert spans_of("::/80") == [(0, before)]


@given(st.text("0123456789abcdefABCDEF.:/% ", max_size=24))
def test_any_text_is_a_network_where_ipaddress_says_so(text):
    try:
        ipaddress.ip_network(text)
    except ValueError:
        known = False
    else:  # a zone is of one host, and a mask written out is read in two ways
        known = "%" not in text and "." not in text.partition("/")[2]
    assert is_taken(text) == known


@pytest.mark.parametrize(
    "text",
    ["", " 192.0.2.1", "192.0.2.1\n", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/255.255.255.0",
     "010.0.0.1", "192.0.2", "10", "fe80::1%eth0", "2001:db8::/129", "2001:db8::1/64", "::ffff::",
     "192.0.2.0/-1", "192.0.2.0/24/24", "example.org", "192.0.2.\uff11"],
)  # fmt: skip
def test_f1_what_is_no_network_is_refused(text):
    assert not is_taken(text)


def is_taken(text: str) -> bool:
    """Whether the text is a network."""
    try:
        return bool(spans_of(text))
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("loopback", "is_loopback"), ("private", "is_private"), ("link_local", "is_link_local")],
)
def test_named_lists_hold_what_ipaddress_calls_so(name, kinds):
    for text in NAMED[name]:
        assert getattr(ipaddress.ip_network(text), kinds)
    assert len(named_spans(name)) == len(NAMED[name])
