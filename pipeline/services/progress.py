"""How far each stage is behind: applied offsets against the ends of the topics, and the age of what waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pipeline.domain.stages import STAGES, PartitionLag, Stage
from pipeline.ports import Place
from pipeline.ports.operations import LogEnds, Standing

Watched = tuple[str, Place]
"""Consumer group and place."""


class Progress:
    """Remembers what it saw last, to tell a partition that stands still, and to read each waiting record's time once only."""

    def __init__(self, standing: Standing, ends: LogEnds, stages: Sequence[Stage] = STAGES) -> None:
        self._standing = standing
        self._ends = ends
        self._stages = stages
        self._still: dict[Watched, tuple[int, datetime]] = {}
        self._times: dict[tuple[Place, int], datetime] = {}

    async def look(self, now: datetime) -> list[PartitionLag]:
        """Every partition of every stage. Raises Unavailable. The applied offsets are read first: a lag may be too long by a moment, never
        negative."""
        applied = await self._standing.applied()
        ends = await self._ends.ends([topic for stage in self._stages for topic in stage.topics])
        nexts = {
            (stage.name, place): max(applied.get((stage.group, place), -1) + 1, ends[place][0])
            for stage in self._stages
            for place in _places(stage, ends)
        }
        await self._read_times({place: offset for (_, place), offset in nexts.items() if offset < ends[place][1]})
        self._note_movement(nexts, ends, now)
        return [self._lag(stage, place, offset, ends[place][1], now) for (stage, place), offset in nexts.items()]

    async def _read_times(self, waiting: Mapping[Place, int]) -> None:
        wanted = set(waiting.items())
        self._times = {key: at for key, at in self._times.items() if key in wanted}
        unknown = {place: offset for place, offset in waiting.items() if (place, offset) not in self._times}
        if unknown:
            found = await self._ends.times(unknown)
            self._times |= {(place, unknown[place]): at for place, at in found.items()}

    def _note_movement(self, nexts: Mapping[Watched, int], ends: Mapping[Place, tuple[int, int]], now: datetime) -> None:
        before, self._still = self._still, {}
        for watched, offset in nexts.items():
            if offset >= ends[watched[1]][1]:
                continue
            known = before.get(watched)
            self._still[watched] = known if known is not None and known[0] == offset else (offset, now)

    def _lag(self, stage: str, place: Place, offset: int, end: int, now: datetime) -> PartitionLag:
        if offset >= end:
            return PartitionLag(stage, place.topic, place.partition, 0, 0.0, 0.0)
        still = (now - self._still[stage, place][1]).total_seconds()
        at = self._times.get((place, offset))
        age = max((now - at).total_seconds(), 0.0) if at is not None else still
        return PartitionLag(stage, place.topic, place.partition, end - offset, age, still)


def _places(stage: Stage, ends: Mapping[Place, object]) -> list[Place]:
    names = {topic.name for topic in stage.topics}
    return sorted(place for place in ends if place.topic in names)
