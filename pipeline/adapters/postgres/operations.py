"""How the pipeline stands, as Postgres knows it, and what people did about dead letters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import event_uuid, storable
from pipeline.domain.moments import true_at
from pipeline.ports import Place
from pipeline.ports.operations import Crowd, LetterPlace, ListFigures, Ranked, Settled, SourceHour
from schemas.codec import decode_event

_sql = Queries("operations")
RANKS_MAX = 2_000
"""Rank changes read at a look; what is more waits for the next."""
REMEMBERED = 20_000
"""Events whose first rank is known: the model's answer ranks the same event again."""


class PostgresStanding:
    """Standing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ranked: OrderedDict[str, None] = OrderedDict()

    async def applied(self) -> Mapping[tuple[str, Place], int]:
        """As Standing.applied."""
        return {(group, Place(topic, part)): offset for group, topic, part, offset in await self._rows(_sql.applied)}

    async def open_studies(self) -> Mapping[str, int]:
        """As Standing.open_studies."""
        return dict(await self._rows(_sql.open_studies))

    async def figures(self, now: datetime) -> ListFigures:
        """As Standing.figures."""
        crowds = [Crowd(*row) for row in await self._rows(_sql.crowds, now=now)]
        ((degraded, provisional, unmatched, oldest_ready_at),) = await self._rows(_sql.marks)
        ((oldest_score,),) = await self._rows(_sql.oldest_score)
        escalations = dict(await self._rows(_sql.escalations))
        ((due_at,),) = await self._rows(_sql.next_step)
        ((faults,),) = await self._rows(_sql.site_faults)
        return ListFigures(crowds, degraded, provisional, unmatched, oldest_ready_at, oldest_score, escalations, due_at, faults)

    async def ranked_after(self, mark: int | None) -> tuple[int, Sequence[Ranked]]:
        """As Standing.ranked_after. An event counts once, at its first rank."""
        ((newest,),) = await self._rows(_sql.newest_rank)
        if mark is None or newest == mark:
            return newest, []
        end = min(newest, mark + RANKS_MAX)
        first = {event_id: stored_at for event_id, stored_at, _ in await self._rows(_sql.ranked_after, mark=mark, end=end)}
        fresh = [event_id for event_id in first if event_id not in self._ranked]
        self._remember(fresh)
        facts = await self._rows(_sql.facts_of, event_ids=[event_uuid(event_id) for event_id in fresh])
        return end, [
            Ranked(str(event_id), true_at(decode_event(body)), received_at, first[str(event_id)])
            for event_id, received_at, body in facts
            if str(event_id) in first
        ]

    async def sources(self, since: datetime, until: datetime) -> Sequence[SourceHour]:
        """As Standing.sources."""
        return [SourceHour(*row) for row in await self._rows(_sql.sources, since=since, until=until)]

    async def clock(self) -> datetime:
        """As Standing.clock."""
        ((now,),) = await self._rows(_sql.clock)
        return now  # type: ignore[no-any-return]

    def _remember(self, event_ids: Sequence[str]) -> None:
        self._ranked.update(dict.fromkeys(event_ids))
        while len(self._ranked) > REMEMBERED:
            self._ranked.popitem(last=False)

    async def _rows(self, query: LiteralString, **parameters: object) -> list[tuple[Any, ...]]:
        async with self._database.connection() as connection:
            return await (await connection.execute(query, parameters, binary=True)).fetchall()


class PostgresSettledLetters:
    """SettledLetters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[LetterPlace, Settled]:
        """As SettledLetters.all."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.settled, binary=True)).fetchall()
        return {(place := LetterPlace(part, off)): Settled(place, outcome, reason, by, at) for part, off, outcome, reason, by, at in rows}

    async def settle(self, settled: Settled) -> bool:
        """As SettledLetters.settle."""
        partition, offset = settled.place
        parameters = {
            "partition": partition,
            "offset": offset,
            "outcome": settled.outcome,
            "reason": storable(settled.reason),
            "by": storable(settled.by),
            "at": settled.at,
        }
        async with self._database.connection() as connection:
            return await (await connection.execute(_sql.settle, parameters)).fetchone() is not None
