"""The monitor's and the dead letters' ports in memory: a test says how the pipeline stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.errors import NotFound, Unavailable
from pipeline.ports import Clock, Place
from pipeline.ports.operations import LetterPlace, ListFigures, Ranked, Settled, SourceHour
from schemas import codec
from schemas.dead_letter import DeadLetter
from schemas.topics import DLQ, Topic


@dataclass
class MemoryStanding:
    """Standing, as the test sets it. messages: (source, when), oldest first."""

    present: Clock
    offsets: dict[tuple[str, Place], int] = field(default_factory=dict)
    studies: dict[str, int] = field(default_factory=dict)
    numbers: ListFigures = field(default_factory=ListFigures)
    ranked: list[Ranked] = field(default_factory=list)
    messages: list[tuple[str, datetime]] = field(default_factory=list)
    down: bool = False

    async def applied(self) -> Mapping[tuple[str, Place], int]:
        """As Standing.applied."""
        self._answer()
        return dict(self.offsets)

    async def open_studies(self) -> Mapping[str, int]:
        """As Standing.open_studies."""
        self._answer()
        return dict(self.studies)

    async def figures(self, now: datetime) -> ListFigures:
        """As Standing.figures."""
        self._answer()
        return self.numbers

    async def ranked_after(self, mark: int | None) -> tuple[int, Sequence[Ranked]]:
        """As Standing.ranked_after."""
        self._answer()
        return len(self.ranked), [] if mark is None else self.ranked[mark:]

    async def sources(self, since: datetime, until: datetime) -> Sequence[SourceHour]:
        """As Standing.sources."""
        self._answer()
        within = [(source, at) for source, at in self.messages if since <= at < until]
        counts = Counter((source, at.replace(minute=0, second=0, microsecond=0)) for source, at in within)
        return [
            SourceHour(source, hour, count, min(times), max(times))
            for (source, hour), count in counts.items()
            if (times := [at for name, at in within if name == source and at.replace(minute=0, second=0, microsecond=0) == hour])
        ]

    async def clock(self) -> datetime:
        """As Standing.clock."""
        self._answer()
        return self.present.now()

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("the store does not answer (ordered by the test)")


class MemoryEnds:
    """LogEnds over a memory log; `stamp` gives the records' times."""

    def __init__(self, log: MemoryEventLog) -> None:
        self._log = log
        self.stamps: dict[tuple[Place, int], datetime] = {}
        self.begins: dict[Place, int] = {}
        self.down = False
        self.reads = 0

    def stamp(self, topic: Topic, partition: int, offset: int, at: datetime) -> None:
        """Says when a record was made."""
        self.stamps[Place(topic.name, partition), offset] = at

    async def ends(self, topics: Sequence[Topic]) -> Mapping[Place, tuple[int, int]]:
        """As LogEnds.ends."""
        self._answer()
        places = [(topic, Place(topic.name, number)) for topic in topics for number in range(self._log.partitions)]
        return {place: (self.begins.get(place, 0), len(self._log.received(topic, place.partition))) for topic, place in places}

    async def times(self, offsets: Mapping[Place, int]) -> Mapping[Place, datetime]:
        """As LogEnds.times."""
        self._answer()
        self.reads += len(offsets)
        return {place: self.stamps[place, offset] for place, offset in offsets.items() if (place, offset) in self.stamps}

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("the log does not answer (ordered by the test)")


class MemoryLetters:
    """LetterTopic over a memory log."""

    def __init__(self, log: MemoryEventLog) -> None:
        self._log = log

    async def read(self) -> Sequence[tuple[LetterPlace, DeadLetter]]:
        """As LetterTopic.read."""
        return [
            (LetterPlace(number, record.offset), codec.decode(DLQ, record.body))
            for number in range(self._log.partitions)
            for record in self._log.received(DLQ, number)
        ]

    async def get(self, place: LetterPlace) -> DeadLetter:
        """As LetterTopic.get."""
        for found, letter in await self.read():
            if found == place:
                return letter
        raise NotFound(f"there is no dead letter {place}")


class MemorySettledLetters:
    """SettledLetters."""

    def __init__(self) -> None:
        self.rows: dict[LetterPlace, Settled] = {}

    async def all(self) -> Mapping[LetterPlace, Settled]:
        """As SettledLetters.all."""
        return dict(self.rows)

    async def settle(self, settled: Settled) -> bool:
        """As SettledLetters.settle."""
        return self.rows.setdefault(settled.place, settled) is settled
