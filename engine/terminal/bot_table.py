"""The table of the bots that a run has caught, as lines that fit a width.

Pure. An address is never cut, since people copy it: where there is no room, columns go, then
reasons are shortened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from engine.detections import Detection
from engine.terminal.readings import cut, number, whole

MIN_ADDRESS = 15
GOOD_REASONS, LEAST_REASONS = 12, 6  # columns go for the first; with less than the second none show
GAP = "  "
FRESH_S = 5


class Column(NamedTuple):
    """A column besides the address and the reasons."""

    name: str
    width: int
    text: Callable[[Detection, float], str]


COLUMNS = (
    Column("events", 7, lambda bot, now_s: number(bot.events)),
    Column("when", 5, lambda bot, now_s: "close" if bot.final else "early"),
    Column("TTL left", 8, lambda bot, now_s: time_left(bot, now_s=now_s)),
    Column("ago", 7, lambda bot, now_s: whole(now_s - bot.at_s)),
)
FIRST_TO_GO = ("when", "events", "ago", "TTL left")


def bot_lines(
    recent: Iterable[Detection], *, now_s: float, width: int, n_rows: int
) -> Iterator[Text]:
    """Yield the table's head, then one line an address, that with the newest decision first."""
    bots = by_address(recent)[:n_rows]
    if not bots:
        yield Text("no bots caught yet", "dim")
        return
    address_width = max(MIN_ADDRESS, *(len(bot.ip) for bot in bots))
    columns = columns_for(width - address_width - len(GAP))
    rows = [cells_of(bot, columns, now_s=now_s) for bot in bots]
    room = width - address_width - len(GAP) - width_of(columns)
    longest = max(len("reasons"), *(len(row[1]) for row in rows))
    reasons_width = min(room, longest) if room >= LEAST_REASONS else 0
    widths = [address_width, reasons_width, *(column.width for column in columns)]
    names = ["address", "reasons", *(column.name for column in columns)]
    yield Text(spread(names, widths), "dim")
    for bot, row in zip(bots, rows, strict=True):
        line = Text(spread(row, widths))
        if now_s - bot.at_s < FRESH_S:
            line.stylize("bold", 0, address_width)
        yield line


def by_address(recent: Iterable[Detection]) -> list[Detection]:
    """Return the newest decision of each address, newest first; the latest expiry counts."""
    held: dict[str, Detection] = {}
    for bot in recent:
        before = held.pop(bot.ip, bot)
        held[bot.ip] = bot._replace(expiry_s=max(bot.expiry_s, before.expiry_s))
    return list(reversed(held.values()))


def columns_for(width: int) -> list[Column]:
    """Return the columns that leave room for reasons."""
    kept = list(COLUMNS)
    for name in FIRST_TO_GO:
        if width_of(kept) + GOOD_REASONS <= width:
            break
        kept = [column for column in kept if column.name != name]
    return kept


def width_of(columns: Iterable[Column]) -> int:
    """Return what columns take, each with the gap before it."""
    return sum(len(GAP) + column.width for column in columns)


def cells_of(bot: Detection, columns: Iterable[Column], *, now_s: float) -> list[str]:
    """Return the cells of one bot."""
    return [bot.ip, ", ".join(bot.reasons), *(column.text(bot, now_s) for column in columns)]


def spread(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return cells at their widths: address and reasons to the left, the others to the right."""
    left = [cut(cells[i], widths[i]).ljust(widths[i]) for i in range(2)]
    right = [cells[i].rjust(widths[i]) for i in range(2, len(cells))]
    return GAP.join([*left, *right])


def time_left(bot: Detection, *, now_s: float) -> str:
    """Return how long the decision still holds."""
    return whole(bot.expiry_s - now_s) if bot.expiry_s > now_s else "over"
