"""What the monitor reads to say how the pipeline stands: applied offsets and figures from the store, ends of topics from the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from pipeline.ports.batches import Place
from schemas.dead_letter import DeadLetter
from schemas.topics import Topic


class Crowd(NamedTuple):
    """Open studies of one patient class and priority ("" where none is known)."""

    patient_class: str
    priority: str
    open: int
    overdue: int


@dataclass(frozen=True, slots=True)
class ListFigures:
    """The open list in numbers. oldest_score: when the oldest of the 100 most urgent studies' model scores was made."""

    crowds: Sequence[Crowd] = ()
    degraded: int = 0
    provisional: int = 0
    unmatched: int = 0
    oldest_ready_at: datetime | None = None
    oldest_score: datetime | None = None
    escalations: Mapping[str, int] = field(default_factory=dict)
    """state -> alerts whose reason holds"""
    escalation_due_at: datetime | None = None
    """when the next escalation step is, or was, due"""
    site_faults: int = 0
    """of the newest site file, where it was refused"""

    @property
    def open(self) -> int:
        """All of them."""
        return sum(crowd.open for crowd in self.crowds)

    @property
    def overdue(self) -> int:
        """Those past their deadline."""
        return sum(crowd.overdue for crowd in self.crowds)


class Ranked(NamedTuple):
    """An event that has just led to a committed rank: when it was true, when a gateway had it, when the rank was stored."""

    event_id: str
    true_at: datetime | None
    received_at: datetime
    ranked_at: datetime


class SourceHour(NamedTuple):
    """Messages of a source in one hour (its beginning, UTC), and the first and last moment of them."""

    source: str
    hour: datetime
    messages: int
    first: datetime
    last: datetime


class Standing(Protocol):
    """How the pipeline stands, as the store knows it. Every method raises Unavailable."""

    async def applied(self) -> Mapping[tuple[str, Place], int]:
        """(consumer group, place) -> offset of the last record that has taken effect."""
        ...

    async def open_studies(self) -> Mapping[str, int]:
        """Patient -> how many open studies there are of that patient."""
        ...

    async def figures(self, now: datetime) -> ListFigures:
        """The open list in numbers."""
        ...

    async def ranked_after(self, mark: int | None) -> tuple[int, Sequence[Ranked]]:
        """Events that led to a rank since `mark`, and the next mark. None: from now on."""
        ...

    async def sources(self, since: datetime, until: datetime) -> Sequence[SourceHour]:
        """Messages of each source by hour, of those that came from `since` to just before `until`, by the store's clock."""
        ...

    async def clock(self) -> datetime:
        """The store's own present."""
        ...


class LogEnds(Protocol):
    """Where the topics begin and end. Every method raises Unavailable."""

    async def ends(self, topics: Sequence[Topic]) -> Mapping[Place, tuple[int, int]]:
        """Place -> offset of its first record, and that of the record that would come next."""
        ...

    async def times(self, offsets: Mapping[Place, int]) -> Mapping[Place, datetime]:
        """The timestamps of these records; a place whose record could not be read in time is left out."""
        ...


class LetterPlace(NamedTuple):
    """Where a dead letter stands on its topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True)
class Settled:
    """What a person did about a dead letter."""

    place: LetterPlace
    outcome: Literal["redriven", "purged"]
    reason: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class HeldLetter:
    """A dead letter as people see it."""

    place: LetterPlace
    letter: DeadLetter
    settled: Settled | None = None

    @property
    def returned(self) -> int:
        """How often it was sent again and came back."""
        told = self.letter.headers.get("redrives", "0")
        return int(told) if told.isdigit() else 0


class SettledLetters(Protocol):
    """The record of what was done about dead letters; kept as an audit. Every method raises Unavailable."""

    async def all(self) -> Mapping[LetterPlace, Settled]:
        """Everything that was done, by place."""
        ...

    async def settle(self, settled: Settled) -> bool:
        """Notes it. False: somebody was first, and nothing is changed."""
        ...


class LetterTopic(Protocol):
    """The topic dlq. Every method raises Unavailable."""

    async def read(self) -> Sequence[tuple[LetterPlace, DeadLetter]]:
        """All letters that the topic holds, oldest first within a partition."""
        ...

    async def get(self, place: LetterPlace) -> DeadLetter:
        """Raises NotFound."""
        ...
