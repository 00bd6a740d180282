"""A batch transaction: the applied offsets of its places locked from begin to commit; and the store that has nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.errors import Fenced
from pipeline.ports import Place

_sql = Queries("context")


class PostgresBatch:
    """BatchTransaction. newest: when the newest fact of a place was recorded, where this transaction adds any."""

    def __init__(self, connection: Connection, group: str, applied: Mapping[Place, int]) -> None:
        self._connection = connection
        self._group = group
        self.applied = applied
        self.newest: dict[Place, datetime] = {}

    async def advance(self, offsets: Mapping[Place, int]) -> None:
        """As BatchTransaction.advance."""
        for place, offset in offsets.items():
            if offset < self.applied[place]:
                raise Fenced(f"{place}: cannot go back from {self.applied[place]} to {offset}")
        reached = {"offsets": list(offsets.values()), "newest": [self.newest.get(place) for place in offsets]}
        await self._connection.execute(_sql.advance, {**_columns(self._group, list(offsets)), **reached})


async def lock_places(connection: Connection, group: str, places: Collection[Place]) -> tuple[dict[Place, int], int]:
    """(applied offsets, a new context version); the rows are locked until the transaction ends."""
    asked = _columns(group, sorted(places))
    applied, version = await _lock(connection, asked)
    if len(applied) < len(places):
        await connection.execute(_sql.open_places, asked)
        applied, version = await _lock(connection, asked)
    if missing := set(places) - applied.keys():
        raise Fenced(f"the applied offsets of {sorted(missing)} vanished")
    return applied, version


async def _lock(connection: Connection, asked: Mapping[str, Any]) -> tuple[dict[Place, int], int]:
    row = await (await connection.execute(_sql.lock_places, asked)).fetchone()
    assert row is not None  # an aggregate without groups is one row
    *columns, version = row
    rows = zip(*columns, strict=True) if columns[0] else ()
    return {Place(topic, partition): offset for topic, partition, offset in rows}, version


def _columns(group: str, places: Sequence[Place]) -> dict[str, Any]:
    return {"group": group, "topics": [place.topic for place in places], "partitions": [place.partition for place in places]}


class PostgresOffsets:
    """OffsetStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def begin(self, group: str, places: Collection[Place]) -> AsyncIterator[PostgresBatch]:
        """As OffsetStore.begin."""
        async with self._database.transaction() as connection:
            applied, _ = await lock_places(connection, group, places)
            yield PostgresBatch(connection, group, applied)
