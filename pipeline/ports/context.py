"""What the context stage keeps: facts, merges, applied offsets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from pipeline.ports.batches import BatchTransaction, Place
from schemas.events import AnyEvent


class Fact(NamedTuple):
    """An event that was applied, as it is kept for ever: the record's own bytes under the pseudonym that the message named."""

    patient: str
    event_id: str
    kind: str
    recorded_at: datetime
    topic: str
    partition: int
    offset: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Ignored:
    """A record that has no effect, and why."""

    event_id: str
    reason: str
    topic: str
    partition: int
    offset: int


class ContextTransaction(BatchTransaction, Protocol):
    """Batches of input topics."""

    version: int
    """A number larger than that of any earlier transaction: the context version of whatever these batches derive."""

    async def survivors(self, patients: Sequence[str]) -> Mapping[str, str]:
        """patient -> the id it lives on under, itself where it was never merged. Only those that were merged are in the mapping."""
        ...

    async def histories(self, patients: Sequence[str]) -> Mapping[str, list[AnyEvent]]:
        """All facts of each patient and of those merged into it, decoded, in no promised order."""
        ...

    async def waiting(self, partitions: Collection[int], *, behind: bool = False) -> list[str]:
        """Patients of whom images came over these partitions and who may have something to read.

        behind: only those last judged before the site's rules in force were accepted.
        """
        ...

    async def known_events(self, event_ids: Sequence[str]) -> set[str]:
        """Those of the ids that are facts already. Asked only for records marked as possible redeliveries."""
        ...

    async def lock_patients(self, patients: Sequence[str]) -> None:
        """Keeps others from merging or unmerging these patients until commit; takes the locks in sorted order."""
        ...

    async def set_survivor(self, retired: str, survivor: str | None, recorded_at: datetime, event_id: str) -> bool:
        """Records a merge (or, with None, an unmerge). False when a newer statement on `retired` is known or nothing changes.

        Raises InvalidMessage("merge-cycle", …) when `survivor` itself lives on under `retired`.
        """
        ...

    async def append(self, facts: Sequence[Fact], ignored: Sequence[Ignored]) -> None:
        """Adds facts and counted ignored records; when everything has been read that is to be read, since that must not find them."""
        ...


class ContextStore(Protocol):
    """Facts, merges and applied offsets."""

    def begin(self, group: str, places: Collection[Place]) -> AbstractAsyncContextManager[ContextTransaction]:
        """As OffsetStore.begin."""
        ...
