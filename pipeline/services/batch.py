"""Where batches stand against the applied offsets: the check that lets nothing be lost and nothing count twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.ports import Batch, Place, Received


@dataclass(frozen=True, slots=True)
class Done:
    """The batch has taken effect (or had before): acknowledge it. `count`: records applied now."""

    count: int


@dataclass(frozen=True, slots=True)
class SeekTo:
    """Records are missing before this batch: do not acknowledge, read again from `offset`."""

    offset: int


Outcome = Done | SeekTo


@dataclass(frozen=True, slots=True)
class Pending:
    """What a transaction has to apply.

    outcomes: one for each batch, in order, true once it commits; fresh: what is new, by place.
    applied: the offsets applied before, where no record is missing.
    """

    outcomes: list[Outcome]
    fresh: list[Batch]
    applied: dict[Place, int]

    @property
    def records(self) -> list[Received]:
        """All that is new, partition by partition."""
        return [record for batch in self.fresh for record in batch.records]

    @property
    def offsets(self) -> dict[Place, int]:
        """Where the applied offsets go."""
        return {batch.place: batch.records[-1].offset for batch in self.fresh}


def unapplied(applied: Mapping[Place, int], batches: Sequence[Batch]) -> Pending:
    """What of the batches (of different places) has not taken effect. One before which records are missing is left out; the others go on.

    Compacted or transactional topics would have holes of their own; the input topics are neither.
    """
    pending = Pending([], [], {})
    for batch in batches:
        known = applied[batch.place]
        if batch.records[0].offset > known + 1:
            pending.outcomes.append(SeekTo(known + 1))
            continue
        pending.applied[batch.place] = known
        fresh = [record for record in batch.records if record.offset > known]
        pending.outcomes.append(Done(len(fresh)))
        if fresh:
            pending.fresh.append(batch._replace(records=fresh))
    return pending
