"""The worklist as the review writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.rows import history_columns, item_columns, restated, stored_item
from pipeline.ports import ItemChange
from schemas.worklist import WorklistItem

_sql = Queries("worklist")


class PostgresReviewStore:
    """ReviewStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def begin_review(self) -> AsyncIterator[PostgresReview]:
        """As ReviewStore.begin_review."""
        async with self._database.transaction() as connection:
            yield PostgresReview(connection)

    async def ask_for_review(self, version: str, now: datetime) -> int:
        """As ReviewStore.ask_for_review."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(_sql.ask_for_review, {"version": version, "now": now})
            return cursor.rowcount


class PostgresReview:
    """ReviewTransaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def due(self, now: datetime, limit: int) -> Sequence[WorklistItem]:
        """As ReviewTransaction.due."""
        cursor = await self._connection.execute(_sql.take_due, {"now": now, "limit": limit}, binary=True)
        return [stored_item(document, version, claimed_by) for _, version, claimed_by, document in await cursor.fetchall()]

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """As ReviewTransaction.store."""
        quiet = [restated(change.item) for change in changes if not change.changed]
        moved = [change for change in changes if change.changed]
        if quiet:
            async with self._connection.cursor() as cursor:
                await cursor.executemany(_sql.restate, quiet)
        if moved:
            await self._connection.execute(_sql.lock_seq)
            await self._connection.execute(_sql.upsert, item_columns([change.item for change in moved]))
            await self._connection.execute(_sql.add_rank_changes, history_columns(moved))
