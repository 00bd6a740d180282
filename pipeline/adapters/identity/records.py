"""What every vault keeps: audit entries, and how new particulars of a person join the known ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.ports import Identity


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who looked at whom, when and why. what: "identity" or "number"."""

    reader: str
    purpose: str
    at: datetime
    what: str
    pseudonyms: tuple[str, ...]


def merged(known: Identity | None, told: Identity) -> Identity:
    """`told` over `known`, where it says something."""
    if known is None:
        return told
    return replace(
        told,
        name=known.name if told.name is None else told.name,
        birth_date=known.birth_date if told.birth_date is None else told.birth_date,
        sex=known.sex if told.sex is None else told.sex,
    )
