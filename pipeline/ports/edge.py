"""What a gateway needs: object store, receipts, identity vault."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


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

    async def link(self, number: str, meaning: str, instead_of: str | None = None) -> bool:
        """Remembers what a number means: an image without PatientID finds its person by its accession, a FHIR reference what it refers to.

        number: pseudonym of an order or accession number, a study UID or a FHIR reference. meaning: pseudonym of a patient or order, or a
        study UID. False, and nothing has changed, where it means something else by now than `instead_of` (None: nothing yet).
        """
        ...

    async def linked(self, numbers: Collection[str]) -> Mapping[str, str]:
        """What these numbers mean, of those that mean something."""
        ...
