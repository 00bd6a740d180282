"""Whose event it is: merges and unmerges read from ADT events, and events readdressed to the patient that lives on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import msgspec

from schemas.events import AdtEvent, AnyEvent

_documents = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Statement:
    """`retired` is now part of `survivor`; after an unmerge (`parted`) no longer."""

    retired: str
    survivor: str | None
    parted: bool

    @property
    def named(self) -> set[str]:
        """Both sides."""
        return {self.retired} if self.survivor is None else {self.retired, self.survivor}

    @property
    def empty(self) -> bool:
        """A patient merged into itself: it happens, and means nothing."""
        return self.retired == self.survivor


def is_statement(event: AnyEvent) -> TypeGuard[AdtEvent]:
    """Whether the event says who a patient is."""
    return isinstance(event, AdtEvent) and event.kind in ("merge", "unmerge")


def statement(event: AdtEvent) -> Statement | None:
    """None when it lacks a side that it needs."""
    parted = event.kind == "unmerge"
    if event.retired is None or (event.survivor is None and not parted):
        return None
    return Statement(event.retired, event.survivor, parted)


def readdress(body: bytes, patient: str, named: str) -> bytes:
    """The same document under another patient's key; it remembers the one it named. Fields that this version does not know stay."""
    document = _documents.decode(body)
    document["patient"] = patient
    document.pop("subject", None)
    if named != patient:
        document["subject"] = named
    return msgspec.json.encode(document)
