"""Labels: which addresses are known to be bots or people, and how the decisions met them.

A CSV with the header `key,label`; a key is an address or a network, the most specific one wins, a
label is bot or human. Addresses without a label are left out of the figures and counted.
"""

from __future__ import annotations

import csv
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from engine.errors import ConfigError

MAPPED_BITS = 96
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Score(NamedTuple):
    """How flagged addresses met the labels; None where nothing was there to divide by."""

    precision: float | None
    recall: float | None
    n_labelled: int
    n_unlabelled: int

    def summary(self) -> dict[str, float | int | None]:
        """Return the figures under their names in the summary."""
        return {
            "precision": self.precision,
            "recall": self.recall,
            "labelled": self.n_labelled,
            "unlabelled": self.n_unlabelled,
        }


class Labels:
    """Looks up the label of an address."""

    def __init__(self, rows: Iterable[tuple[Network, bool]]) -> None:
        """Take (network, is a bot); a single address is the network that holds only it."""
        self._by_length: dict[int, dict[int, bool]] = {}
        for network, is_bot in rows:
            value, length = _words(network)
            self._by_length.setdefault(length, {})[value] = is_bot
        self._lengths = sorted(self._by_length, reverse=True)

    def is_bot(self, ip: str) -> bool | None:
        """Return the label of the longest network that holds the address, None without one."""
        value, _ = _words(ipaddress.ip_network(ip))
        return self._label(value)

    def label_of(self, high: int, low: int) -> bool | None:
        """Return the same for the two words of an address, IPv4 as mapped."""
        return self._label(high << 64 | low)

    def _label(self, value: int) -> bool | None:
        for length in self._lengths:
            found = self._by_length[length].get(value >> (128 - length) << (128 - length))
            if found is not None:
                return found
        return None

    def score(self, *, seen: Iterable[str], flagged: Iterable[str]) -> Score:
        """Return precision and recall by address over the addresses that were seen."""
        caught = {ip: self.is_bot(ip) for ip in flagged}
        known = caught | {ip: self.is_bot(ip) for ip in seen}
        n_right = sum(label is True for label in caught.values())
        n_judged = sum(label is not None for label in caught.values())
        n_bots = sum(label is True for label in known.values())
        n_labelled = sum(label is not None for label in known.values())
        return Score(
            round(n_right / n_judged, 4) if n_judged else None,
            round(n_right / n_bots, 4) if n_bots else None,
            n_labelled,
            len(known) - n_labelled,
        )


def _words(network: Network) -> tuple[int, int]:
    """Return (first address, prefix length) in 128 bits, IPv4 as mapped."""
    if isinstance(network, ipaddress.IPv4Network):
        mapped = 0xFFFF << 32 | int(network.network_address)
        return mapped, MAPPED_BITS + network.prefixlen
    return int(network.network_address), network.prefixlen


def load_labels(path: str) -> Labels:
    """Read a label file; ConfigError names the line that is wrong."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            if next(reader, None) != ["key", "label"]:
                problem = f"'{path}' does not begin with the header key,label"
                raise ConfigError(key="labels", problem=problem)
            return Labels([_row(path, reader.line_num, row) for row in reader if row])
    except (OSError, UnicodeDecodeError) as error:
        problem = f"'{path}' cannot be read: {error}"
        raise ConfigError(key="labels", problem=problem) from None


def _row(path: str, line: int, row: list[str]) -> tuple[Network, bool]:
    allowed = "an address or a CIDR, then bot or human"
    problem = f"'{path}' line {line}: {','.join(row)!r} is refused; allowed: {allowed}"
    if len(row) != 2 or row[1] not in ("bot", "human"):  # noqa: PLR2004 - key and label
        raise ConfigError(key="labels", problem=problem)
    try:
        return ipaddress.ip_network(row[0], strict=True), row[1] == "bot"
    except ValueError:
        raise ConfigError(key="labels", problem=problem) from None
