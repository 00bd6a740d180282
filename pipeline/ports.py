"""The few Protocols that the services need from the world. Adapters implement them; `adapters/memory` has a twin of each for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

from schemas.assessments import AssessRequest, Risk
from schemas.dead_letter import DeadLetter
from schemas.events import AnyEvent
from schemas.topics import Topic
from schemas.worklist import WorklistItem


class Clock(Protocol):
    """The only source of the present."""

    def now(self) -> datetime:
        """The present, UTC, timezone-aware."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """A record to produce: `key` and `value` are bytes as Kafka has them; value None is a tombstone."""

    topic: Topic
    key: bytes
    value: bytes | None
    headers: Mapping[str, str] = field(default_factory=dict)


class EventLog(Protocol):
    """Kafka, for those who write to it."""

    async def append(self, records: Sequence[Record]) -> None:
        """Returns when every record is acknowledged by all in-sync replicas.

        Raises Unavailable when that did not happen in time: some of the records may be there all the same, and the caller sends all again.
        """
        ...


# --- batches -----------------------------------------------------------------------------------------------------------------------


class Received(NamedTuple):
    """A record as it came: its place (partition, offset), key, body and headers. A tuple, because there are so many."""

    topic: Topic
    partition: int
    offset: int
    key: bytes
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


class BatchTransaction(Protocol):
    """One batch of one topic partition, all or nothing. The applied offset is locked from begin to commit."""

    applied: int
    """Offset of the last record of this partition that has taken effect; -1 when there is none."""

    async def advance(self, offset: int) -> None:
        """Sets the applied offset, the last thing before commit."""
        ...


class OffsetStore(Protocol):
    """The applied offsets, for a stage whose only effect is what it produces."""

    def begin(self, group: str, topic: Topic, partition: int) -> AbstractAsyncContextManager[BatchTransaction]:
        """Opens a transaction and locks the partition's applied offset; commits on a clean exit, rolls back on an exception.

        Raises Unavailable when the store does not answer.
        """
        ...


# --- the context stage -----------------------------------------------------------------------------------------------------------


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
    """A batch of an input topic."""

    version: int
    """A number larger than that of any earlier transaction: the context version of whatever this batch derives."""

    async def survivors(self, patients: Sequence[str]) -> Mapping[str, str]:
        """patient -> the id it lives on under, itself where it was never merged. Only those that were merged are in the mapping."""
        ...

    async def histories(self, patients: Sequence[str]) -> Mapping[str, list[AnyEvent]]:
        """All facts of each patient and of those merged into it, decoded, in no promised order. None of this transaction's own."""
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
        """Adds facts and counted ignored records."""
        ...


class ContextStore(Protocol):
    """Facts, merges and applied offsets."""

    def begin(self, group: str, topic: Topic, partition: int) -> AbstractAsyncContextManager[ContextTransaction]:
        """As OffsetStore.begin."""
        ...


# --- scoring ---------------------------------------------------------------------------------------------------------------------


class Scorer(Protocol):
    """A risk model."""

    async def score(self, requests: Sequence[AssessRequest]) -> Sequence[Risk]:
        """One Risk for each request, in order. Raises Unavailable when the model does not answer within its deadline."""
        ...


@dataclass(frozen=True, slots=True)
class DegradedScore:
    """A request that a lesser scorer answered. choice: its place among the scorers, the first choice being 0."""

    request: AssessRequest
    trace_id: str
    choice: int


class DegradedScores(Protocol):
    """What is to be scored again when the model is back; it outlives the worker."""

    async def all(self) -> list[DegradedScore]:
        """At most one of each patient."""
        ...

    async def note(self, scores: Sequence[DegradedScore]) -> None:
        """Adds them; of each patient the one with the newest context version stays."""
        ...

    async def clear(self, versions: Mapping[str, int]) -> None:
        """Patient -> context version that was answered well: removes what is not newer."""
        ...


# --- the worklist ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ItemChange:
    """A new state of an item, to be stored only if nothing newer is there; `cause` is the recorded reason for the change of rank."""

    item: WorklistItem
    cause: str
    event_id: str
    changed: bool = True
    """False: nothing a reader sees has moved; only the version is noted."""


class RankingTransaction(BatchTransaction, Protocol):
    """A batch of `assessments`."""

    async def items(self, studies: Sequence[str]) -> Mapping[str, WorklistItem]:
        """The stored items of these studies, closed ones too, locked until commit."""
        ...

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """Writes items and their rank history, and tells the page's listeners at commit. A claim held on an item stays."""
        ...


class RankingStore(Protocol):
    """The worklist as the ranking stage writes it."""

    def begin(self, group: str, topic: Topic, partition: int) -> AbstractAsyncContextManager[RankingTransaction]:
        """As OffsetStore.begin."""
        ...


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a reader asks of the list. `after`: the cursor of the last row seen, opaque; limit 1..500."""

    limit: int = 100
    after: str | None = None
    modality: str | None = None
    patient_class: str | None = None
    location: str | None = None
    state: str | None = None
    text: str | None = None
    overdue_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedItem:
    """An item with what the readers did to it. seq: grows with each change, for resuming a stream."""

    item: WorklistItem
    seq: int
    claimed_by: str | None = None
    claimed_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None


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


@dataclass(frozen=True, slots=True)
class RankChange:
    """One line of an item's history."""

    at: datetime
    due_at: datetime
    cause: str
    event_id: str
    why: str


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

    async def patient_events(self, patient: str, limit: int = 500) -> list[AnyEvent]:
        """The newest facts of a patient (and of those merged into it), for the timeline; newest first."""
        ...

    def changes(self, since: int | None) -> AsyncIterator[int]:
        """Yields the newest `seq` whenever the list changes, at once when `since` is older. One database connection serves all."""
        ...


class WorklistActions(Protocol):
    """What a reader does to an item. Each raises NotFound, or Conflict naming who was first."""

    async def claim(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """Atomic: of two readers one wins. Claiming one's own again is no error."""
        ...

    async def release(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """Gives a claim back."""
        ...

    async def acknowledge(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """Says: I have seen why this is urgent."""
        ...

    async def claim_next(self, reader: str, query: ListQuery, now: datetime) -> ListedItem:
        """Claims the most urgent open item that matches and that nobody has. Raises NotFound when there is none."""
        ...


# --- the edge --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Where an object's bytes are. outcome: "new", "same" (had these bytes), "conflict" (other bytes under this name; kept beside)."""

    uri: str
    sha256: str
    size: int
    outcome: str
    instances: int
    """distinct SOP instances of the study held now"""


class ObjectStore(Protocol):
    """Where DICOM objects rest."""

    async def put(self, study_uid: str, series_uid: str, sop_uid: str, chunks: Iterable[bytes]) -> StoredObject:
        """Returns when the bytes are on disk (fsync of file and folder). Raises Unavailable when they cannot be (disk full)."""
        ...

    async def get(self, uri: str) -> bytes:
        """Raises NotFound."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message at the edge. `identity`: what makes a resend the same message (MSH-10 and digest, SOP UID and digest)."""

    source: str
    kind: str
    identity: str
    outcome: str
    """accepted, ignored or refused"""
    reason: str | None
    event_ids: tuple[str, ...]
    received_at: datetime


class Receipts(Protocol):
    """The gateways' memory of what they acknowledged, so that a resend is known."""

    async def open(self, source: str, kind: str, identity: str) -> tuple[str, Receipt | None]:
        """Notes that the message is being worked on. ("new", None): never seen. ("pending", None): seen, but no outcome was noted (we died
        in between): its events may be in Kafka already, so send them marked `redelivery`. ("done", receipt): answer as then, do nothing."""
        ...

    async def close(self, receipt: Receipt) -> None:
        """Notes the outcome, after Kafka has the events and before the sender is answered."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The direct identifiers of a person, for the vault only."""

    pseudonym: str
    patient_id: str
    authority: str
    name: str | None = None
    birth_date: str | None = None
    sex: str | None = None


class IdentityVault(Protocol):
    """Pseudonym -> person, encrypted. Nothing else of Readfirst holds a direct identifier."""

    async def remember(self, identities: Sequence[Identity], numbers: Mapping[str, str] = {}) -> None:
        """Adds or updates; a None never overwrites what is known. `numbers`: pseudonym -> accession or order number."""
        ...

    async def reveal(self, pseudonyms: Sequence[str], reader: str, purpose: str) -> Mapping[str, Identity]:
        """The persons behind the pseudonyms, those known; leaves an audit entry with reader, purpose and time."""
        ...

    async def numbers(self, pseudonyms: Sequence[str], reader: str, purpose: str) -> Mapping[str, str]:
        """The accession and order numbers behind their pseudonyms, with an audit entry."""
        ...

    async def link(self, number: str, patient: str) -> None:
        """Remembers that the order or accession `number` belongs to `patient`: an image without PatientID finds its person by it."""
        ...

    async def patient_of(self, number: str) -> str | None:
        """The patient pseudonym last linked to an order or accession pseudonym."""
        ...


class DeadLetters(Protocol):
    """What the dlq topic holds, for people."""

    async def list(self, limit: int = 100) -> list[tuple[int, int, DeadLetter]]:
        """(partition, offset, letter), newest first."""
        ...
