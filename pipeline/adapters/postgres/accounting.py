"""The sums: what was acknowledged, what it became, what is missing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import event_uuid

_sql = Queries("accounting")


@dataclass(frozen=True, slots=True)
class ReceiptCount:
    """Messages of one source and kind with one outcome; outcome None: still being worked on. repeats: how often they came again."""

    source: str
    kind: str
    outcome: str | None
    reason: str | None
    count: int
    repeats: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The worklist in numbers. model_scored: by Triton or in-process, not by the rules alone. degraded: open ones."""

    studies: int
    open: int
    model_scored: int
    degraded: int


class PostgresAccounting:
    """Every method counts from `since` on: by the gateway's time of receipt where there is one, else by the database's clock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def applied_events(self, since: datetime) -> int:
        """Distinct events that are facts."""
        return int((await self._rows(_sql.applied_events, since))[0][0])

    async def facts_by_kind(self, since: datetime) -> dict[str, int]:
        """kind -> facts."""
        return dict(await self._rows(_sql.facts_by_kind, since))

    async def ignored_by_reason(self, since: datetime) -> dict[str, int]:
        """reason -> records that were read and have no effect."""
        return dict(await self._rows(_sql.ignored, since))

    async def receipts(self, since: datetime) -> list[ReceiptCount]:
        """What the gateways answered."""
        return [ReceiptCount(*row) for row in await self._rows(_sql.receipts, since)]

    async def unaccounted_events(self, since: datetime, dead_lettered: Collection[str] = ()) -> set[str]:
        """Events that a gateway acknowledged and that are neither fact nor ignored nor among the dead letters' ids."""
        dead = [event_uuid(event_id) for event_id in dead_lettered]
        return {str(event_id) for (event_id,) in await self._rows(_sql.unaccounted, since, dead_lettered=dead)}

    async def standing(self, since: datetime) -> Standing:
        """Items ranked since then."""
        return Standing(*(await self._rows(_sql.standing, since))[0])

    async def latencies(self, since: datetime) -> list[float]:
        """Seconds from a gateway's receipt to the committed rank, for each event that a rank change names as its cause."""
        return [seconds for (seconds,) in await self._rows(_sql.latencies, since)]

    async def _rows(self, query: LiteralString, since: datetime, **parameters: object) -> list[tuple[Any, ...]]:
        async with self._database.connection() as connection:
            return await (await connection.execute(query, {"since": since, **parameters}, binary=True)).fetchall()
