"""A batch transaction: the applied offset locked from begin to commit; and the store that has nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.errors import Fenced
from schemas.topics import Topic

_sql = Queries("context")


class PostgresBatch:
    """BatchTransaction."""

    def __init__(self, connection: Connection, group: str, topic: Topic, partition: int, applied: int) -> None:
        self._connection = connection
        self._place = {"group": group, "topic": topic.name, "partition": partition}
        self._newest: datetime | None = None
        self.applied = applied

    async def advance(self, offset: int) -> None:
        """As BatchTransaction.advance."""
        if offset < self.applied:
            raise Fenced(f"{self._place}: cannot go back from {self.applied} to {offset}")
        await self._connection.execute(_sql.advance, {**self._place, "offset": offset, "newest": self._newest})


async def lock_place(connection: Connection, group: str, topic: Topic, partition: int) -> tuple[int, int]:
    """(applied offset, a new context version); the row is locked until the transaction ends."""
    place = {"group": group, "topic": topic.name, "partition": partition}
    row = await (await connection.execute(_sql.lock_place, place)).fetchone()
    if row is None:
        await connection.execute(_sql.open_place, place)
        row = await (await connection.execute(_sql.lock_place, place)).fetchone()
    if row is None:
        raise Fenced(f"{place}: the applied offset vanished")
    return row[0], row[1]


class PostgresOffsets:
    """OffsetStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def begin(self, group: str, topic: Topic, partition: int) -> AsyncIterator[PostgresBatch]:
        """As OffsetStore.begin."""
        async with self._database.transaction() as connection:
            applied, _ = await lock_place(connection, group, topic, partition)
            yield PostgresBatch(connection, group, topic, partition, applied)
