"""The worklist as the ranking stage writes it, as pages read it, and what readers do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pipeline.domain.site import SubList
from pipeline.ports.batches import BatchTransaction, Place
from schemas.events import AnyEvent
from schemas.worklist import WorklistItem

ActKind = Literal["hold", "defer", "resume", "override", "free"]
ChangeKind = Literal["ranking", "review"] | ActKind
"""What moved an item: evidence, time or other rules, or a reader's act."""


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A new state of an item, to be stored only if nothing newer is there; `cause` is the recorded reason for the change of rank."""

    item: WorklistItem
    cause: str
    event_id: str
    changed: bool = True
    """False: nothing a reader sees has moved; only the version is noted."""
    kind: ChangeKind = "ranking"


class RankingTransaction(BatchTransaction, Protocol):
    """Batches of `assessments`."""

    async def items(self, studies: Sequence[str]) -> Mapping[str, WorklistItem]:
        """The stored items of these studies, closed ones too, locked until commit."""
        ...

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """Writes items and their rank history, and tells the page's listeners at commit. A claim held on an item stays."""
        ...


class RankingStore(Protocol):
    """The worklist as the ranking stage writes it."""

    def begin(self, group: str, places: Collection[Place]) -> AbstractAsyncContextManager[RankingTransaction]:
        """As OffsetStore.begin."""
        ...


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a reader asks of the list. `after`: the cursor of the last row seen, opaque; limit 1..500.

    state: open (neither claimed nor set aside), claimed, held or closed. part: one of the site's sub-lists. patient: a pseudonym.
    """

    limit: int = 100
    after: str | None = None
    modality: str | None = None
    patient_class: str | None = None
    location: str | None = None
    state: str | None = None
    text: str | None = None
    overdue_at: datetime | None = None
    part: SubList | None = None
    patient: str | None = None


@dataclass(frozen=True, slots=True)
class ListedItem:
    """An item with what the readers did to it. seq: grows with each change, for resuming a stream.

    same_patient: how many other open studies there are of this patient.
    """

    item: WorklistItem
    seq: int
    claimed_by: str | None = None
    claimed_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    same_patient: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of the list, most urgent first, and the cursor of what follows (None: the end)."""

    items: list[ListedItem]
    next: str | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What stands above the list."""

    open: int
    overdue: int
    degraded: int
    unmatched: int
    oldest_ready_at: datetime | None
    seq: int
    feeds: Mapping[str, datetime]
    """topic -> when its newest fact was recorded"""
    held: int = 0


@dataclass(frozen=True, slots=True)
class RankChange:
    """One line of an item's history."""

    at: datetime
    due_at: datetime
    cause: str
    event_id: str
    why: str
    kind: ChangeKind = "ranking"


class WorklistReader(Protocol):
    """The worklist as pages and commands read it."""

    async def page(self, query: ListQuery) -> Page:
        """Open items ordered by (due_at, study_uid). Raises InvalidMessage("invalid", …) on a cursor that is not ours."""
        ...

    async def get(self, study_uid: str) -> ListedItem:
        """Raises NotFound."""
        ...

    async def history(self, study_uid: str, limit: int = 100) -> list[RankChange]:
        """Newest first; empty for an unknown study."""
        ...

    async def summary(self, now: datetime) -> Summary:
        """Counts as of `now`."""
        ...

    async def patient_events(self, patient: str, limit: int = 500, topics: Sequence[str] = ()) -> list[AnyEvent]:
        """The newest facts of a patient (and of those merged into it), newest first. topics: of these only, by name; all without it."""
        ...

    def changes(self, since: int | None) -> AsyncIterator[int]:
        """Yields the newest `seq` whenever the list changes, at once when `since` is older. One database connection serves all."""
        ...


@dataclass(frozen=True, slots=True)
class Act:
    """What a reader does to a deadline. change: by the rules of `pipeline.domain.adjustments`; cause: as the history tells it."""

    kind: ActKind
    change: Callable[[WorklistItem], WorklistItem]
    cause: str


class WorklistActions(Protocol):
    """What a reader does to an item. Each raises NotFound, or Conflict naming who was first."""

    async def claim(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """Atomic: of two readers one wins. Claiming one's own again is no error."""
        ...

    async def release(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """Gives a claim back."""
        ...

    async def acknowledge(self, study_uid: str, reader: str, now: datetime, *, method: str = "page", take_over: bool = False) -> ListedItem:
        """Says: I have seen why this is urgent, and stops the study's open alerts in the same transaction.

        method: how it was received ("page", "api", …). take_over: also what another has acknowledged. An alert that was raised anew may be
        acknowledged by anybody, whoever did so before.
        """
        ...

    async def claim_next(self, reader: str, query: ListQuery, now: datetime) -> ListedItem:
        """Claims the most urgent open item that matches and that nobody has. Raises NotFound when there is none."""
        ...

    async def adjust(self, study_uid: str, reader: str, now: datetime, act: Act) -> ListedItem:
        """Holds, overrides and the like: `act.change` is applied to the locked item, and recorded under the reader's name.

        A study that another reader has claimed may not be set aside; setting aside one's own gives the claim back.
        """
        ...
