"""Looks at the whole pipeline every two seconds from outside it: a stage that stopped cannot say so itself."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from pipeline.domain.stages import BEHIND_AFTER_S, STAGES, STANDSTILL_AFTER_S, PartitionLag, Stage, consequence, seconds_behind
from pipeline.errors import Unavailable
from pipeline.ports import Clock
from pipeline.ports.operations import LogEnds, Ranked, SettledLetters, Standing
from pipeline.services.conditions import Condition, Conditions, Operations, StageStanding
from pipeline.services.letters import unsettled
from pipeline.services.progress import Progress
from pipeline.services.sources import KEPT, Sources
from schemas.topics import DLQ

log = structlog.get_logger()

LOOK_EVERY_S = 2.0
FIGURES_EVERY = timedelta(seconds=10)
SETTLING = timedelta(seconds=2)
"""Receipts younger than this may still be in a transaction: they are counted at the next look."""
TRAIL = 450
"""Looks that a trail remembers: fifteen minutes."""

PartitionOf = Callable[[str], int]
"""Patient -> partition number, the same on all input topics."""


def _tell_nobody(ranked: Sequence[Ranked]) -> None:
    """Where nobody measures."""


def _none() -> Sequence[str]:
    """Where no models are."""
    return ()


class Monitor:
    """`now` is the last look (None before the first), `conditions` what is amiss, `trails` each stage's seconds behind, oldest first."""

    def __init__(
        self,
        standing: Standing,
        ends: LogEnds,
        settled: SettledLetters,
        clock: Clock,
        partition_of: PartitionOf,
        *,
        partitions: int,
        zone: ZoneInfo,
        letters_limit: int,
        on_ranked: Callable[[Sequence[Ranked]], None] = _tell_nobody,
        refused: Callable[[], Sequence[str]] = _none,
    ) -> None:
        """refused: as in Operations; it reads files, and is called in a thread."""
        self._standing = standing
        self._ends = ends
        self._settled = settled
        self._clock = clock
        self._partition_of = partition_of
        self._partitions = partitions
        self._limit = letters_limit
        self._on_ranked = on_ranked
        self._refused = refused
        self._progress = Progress(standing, ends)
        self._sources = Sources(zone)
        self._sources_until: datetime | None = None
        self._rank_mark: int | None = None
        self._figures_due: datetime | None = None
        self._conditions = Conditions()
        self.trails: dict[str, deque[float]] = {stage.name: deque(maxlen=TRAIL) for stage in STAGES}
        self.now: Operations | None = None
        self.conditions: list[Condition] = []

    async def watch(self) -> None:
        """Looks for ever, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # the watcher outlives whatever it looks at
                log.exception("monitor_look_failed")
            await asyncio.sleep(LOOK_EVERY_S)

    def age_s(self) -> float:
        """Seconds since the last look; infinite before the first. By the process's own clock: safe to ask from any thread."""
        return float("inf") if self.now is None else (self._clock.now() - self.now.at).total_seconds()

    async def look(self) -> Operations:
        """One look; a store that does not answer is a condition, not an error."""
        at = self._clock.now()
        seen = replace(self.now or Operations(at), at=at, letters_limit=self._limit, up={})
        seen = await self._answered("postgres", self._look_at_store, seen)
        if seen.up["postgres"]:
            seen = await self._answered("kafka", self._look_at_log, seen)
        seen = replace(seen, sources=self._sources.standing(at), good_at=at if all(seen.up.values()) else seen.good_at)
        self.now, self.conditions = seen, self._conditions.of(seen)
        return seen

    async def _answered(self, store: str, look: Callable[[Operations], object], seen: Operations) -> Operations:
        try:
            found = await look(seen)  # type: ignore[misc]
        except Unavailable:
            return replace(seen, up={**seen.up, store: False})
        assert isinstance(found, Operations)
        return replace(found, up={**seen.up, store: True})

    async def _look_at_store(self, seen: Operations) -> Operations:
        present = await self._standing.clock()
        seen = replace(seen, clock_offset_s=(self._clock.now() - present).total_seconds())
        if self._figures_due is None or seen.at >= self._figures_due:
            seen = replace(seen, figures=await self._standing.figures(seen.at))
            seen = replace(seen, refused=await asyncio.to_thread(self._refused))
            self._figures_due = seen.at + FIGURES_EVERY
        self._rank_mark, ranked = await self._standing.ranked_after(self._rank_mark)
        self._on_ranked(ranked)
        until = present - SETTLING
        self._sources.add(await self._standing.sources(self._sources_until or until - KEPT, until))
        self._sources_until = until
        return seen

    async def _look_at_log(self, seen: Operations) -> Operations:
        letters = unsettled(await self._ends.ends([DLQ]), (await self._settled.all()).keys())
        lags = await self._progress.look(seen.at)
        late = any(lag.seconds >= BEHIND_AFTER_S for lag in lags)
        studies = self._by_partition(await self._standing.open_studies()) if late else [0] * self._partitions
        stages = [_standing(stage, [lag for lag in lags if lag.stage == stage.name], studies) for stage in STAGES]
        for each in stages:
            self.trails[each.stage.name].append(each.seconds)
        return replace(seen, letters=letters, stages=stages)

    def _by_partition(self, studies: Mapping[str, int]) -> list[int]:
        counts = [0] * self._partitions
        for patient, count in studies.items():
            counts[self._partition_of(patient)] += count
        return counts


def _standing(stage: Stage, lags: Sequence[PartitionLag], studies: Sequence[int]) -> StageStanding:
    late = {lag.partition for lag in lags if lag.seconds >= BEHIND_AFTER_S}
    return StageStanding(
        stage,
        lags,
        records=sum(lag.records for lag in lags),
        seconds=seconds_behind(lags),
        standing_still=any(lag.standstill_s >= STANDSTILL_AFTER_S for lag in lags),
        studies=sum(studies[number] for number in late) if stage.by_patient else 0,
        sentence=consequence(stage, lags, studies),
    )
