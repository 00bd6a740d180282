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


@dataclass(frozen=True, slots=True)
class Partly:
    """The batch has taken effect before `offset`, and the rest would have taken too long: hand it over once more."""

    offset: int


Outcome = Done | SeekTo | Partly


@dataclass(frozen=True, slots=True)
class Pending:
    """What a transaction has to apply.

    by_place: what becomes of each batch, in order, true once it commits; fresh: what is new, by place.
    applied: the offsets applied before, where no record is missing.
    """

    by_place: dict[Place, Outcome]
    fresh: list[Batch]
    applied: dict[Place, int]

    @property
    def outcomes(self) -> list[Outcome]:
        """One for each batch, in order."""
        return list(self.by_place.values())

    def before(self, stops: Mapping[Place, int]) -> Pending:
        """The same, of some places without the records from an offset on."""
        kept = [
            each._replace(records=[one for one in each.records if each.place not in stops or one.offset < stops[each.place]])
            for each in self.fresh
        ]
        left = {place: Partly(offset) for place, offset in stops.items()}
        return Pending(self.by_place | left, [each for each in kept if each.records], self.applied)

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
    pending = Pending({}, [], {})
    for batch in batches:
        known = applied[batch.place]
        if batch.records[0].offset > known + 1:
            pending.by_place[batch.place] = SeekTo(known + 1)
            continue
        pending.applied[batch.place] = known
        fresh = [record for record in batch.records if record.offset > known]
        pending.by_place[batch.place] = Done(len(fresh))
        if fresh:
            pending.fresh.append(batch._replace(records=fresh))
    return pending
