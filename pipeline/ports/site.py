"""The site's rules: where they come from, and the record of which held when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pipeline.domain.site import Policy


@dataclass(frozen=True, slots=True)
class SiteRules:
    """One state of the site file, understood. digest: SHA-256 of `text`, hexadecimal."""

    policy: Policy
    digest: str
    text: str


@dataclass(frozen=True, slots=True)
class SiteVersion:
    """One line of the record. faults: why the file was refused; None: it was accepted."""

    version: str
    digest: str
    text: str
    at: datetime
    faults: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ChurnHour:
    """How restless the list was in one hour. moves: changes of a deadline, not of words alone; top_moves: among the first 20."""

    hour: datetime
    changes: int
    moves: int
    top_moves: int
    studies: int
    overrides: int
    holds: int


@dataclass(frozen=True, slots=True)
class OrderingSource:
    """How much a source orders as stat or asap, in 28 days. inflation: its share over the department's; None where nobody does."""

    source: str
    place: str
    orders: int
    pressing: int
    share: float
    department: float
    inflation: float | None


class SiteSource(Protocol):
    """Where the rules are written."""

    def poll(self) -> SiteRules | None:
        """The rules, where they have changed since they were last asked for; None: nothing is new. Raises SiteFileRefused, once a state."""
        ...

    def read(self, text: str) -> SiteRules:
        """Rules that were accepted once. Raises SiteFileRefused: by this version's measure they are not good."""
        ...


class SiteRegister(Protocol):
    """The record, kept for ever. Every method raises Unavailable."""

    async def accept(self, rules: SiteRules, at: datetime) -> bool:
        """Notes that these rules are in force from now on. False: they were already."""
        ...

    async def refuse(self, digest: str, text: str, faults: Sequence[str], at: datetime) -> None:
        """Notes a refusal; one of the same file again is not noted twice in a row."""
        ...

    async def in_force(self) -> SiteVersion | None:
        """The newest accepted."""
        ...

    async def versions(self, limit: int = 20) -> Sequence[SiteVersion]:
        """Newest first, refused ones too."""
        ...


class SiteFigures(Protocol):
    """What the rules lead to, for people. Every method raises Unavailable."""

    async def churn(self, since: datetime) -> Sequence[ChurnHour]:
        """The hours since then in which anything changed, oldest first."""
        ...

    async def lately(self, since: datetime) -> ChurnHour:
        """All that has happened since then, as one; its `hour` is `since`."""
        ...

    async def sources(self, limit: int = 50) -> Sequence[OrderingSource]:
        """The most inflated first."""
        ...
