"""What a window remembers of the readings that it let go: of each observable and half day how many, their sum, the least and the greatest.

Sums are whole thousandths, so that they are the same in whatever order the readings came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

BLOCK = timedelta(hours=12)
BLOCKS_KEEP = 5
"""Half days that are kept of an observable, the newest with a reading that was let go among them."""
SCALE = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """Readings of one observable in one half day, without those that the window still has. middle: of the half day, UTC."""

    middle: datetime
    count: int
    mean: float
    low: float
    high: float


Tallies = Mapping[str, Sequence[Tally]]
"""Catalogue name -> tallies, oldest first."""


class Past(msgspec.Struct, gc=False):
    """One observable's. newest: the latest time of a reading in it. blocks: half days since 1970 -> [count, sum, least, greatest]."""

    newest: datetime
    blocks: dict[int, list[int]] = {}

    def add(self, at: datetime, value: float) -> None:
        """One reading that was let go. Half days beyond BLOCKS_KEEP before the newest are forgotten."""
        self.newest = max(self.newest, at)
        block, scaled = number_of(at), round(value * SCALE)
        known = self.blocks.get(block)
        if known is None:
            self.blocks[block] = [1, scaled, scaled, scaled]
            self._trim()
            return
        known[0] += 1
        known[1] += scaled
        known[2] = min(known[2], scaled)
        known[3] = max(known[3], scaled)

    def reaches(self, at: datetime) -> bool:
        """Whether a reading of that time is, or may be, in it."""
        return number_of(self.newest) - BLOCKS_KEEP < number_of(at) and at <= self.newest

    def tallies(self, as_of: datetime) -> list[Tally]:
        """Of the half days that began in the BLOCKS_KEEP - 1 before `as_of`, oldest first."""
        oldest = number_of(as_of) - BLOCKS_KEEP + 1
        return [
            Tally(_EPOCH + (block + 0.5) * BLOCK, count, total / SCALE / count, low / SCALE, high / SCALE)
            for block, (count, total, low, high) in sorted(self.blocks.items())
            if block >= oldest
        ]

    def _trim(self) -> None:
        gone = max(self.blocks) - BLOCKS_KEEP
        if min(self.blocks) <= gone:
            self.blocks = {block: tally for block, tally in self.blocks.items() if block > gone}


def of(readings: Iterable[tuple[datetime, float]]) -> Past | None:
    """The past that these readings leave, in any order; None of none."""
    past: Past | None = None
    for at, value in readings:
        past = past or Past(at)
        past.add(at, value)
    return past


def number_of(at: datetime) -> int:
    """Half days since 1970-01-01 UTC."""
    return (at - _EPOCH) // BLOCK
