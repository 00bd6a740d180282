"""Where a batch stands against the applied offset: the check that lets nothing be lost and nothing count twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.ports import Received


@dataclass(frozen=True, slots=True)
class Done:
    """The batch has taken effect (or had before): acknowledge it. `count`: records applied now."""

    count: int


@dataclass(frozen=True, slots=True)
class SeekTo:
    """Records are missing before this batch: do not acknowledge, read again from `offset`."""

    offset: int


Outcome = Done | SeekTo


def unapplied(applied: int, batch: Sequence[Received]) -> list[Received] | SeekTo:
    """The records of `batch` (ascending offsets of one partition) that have not taken effect, or where to read from when some are missing.

    Compacted or transactional topics would have holes of their own; the input topics are neither.
    """
    if batch[0].offset > applied + 1:
        return SeekTo(applied + 1)
    return [record for record in batch if record.offset > applied]
