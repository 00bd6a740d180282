"""The ledger's days, and the reads behind them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from psycopg.types.json import Jsonb

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.rows import stored_item
from pipeline.domain.ledger import Day, Raised, Read, of_item

_sql = Queries("ledger")


class PostgresLedger:
    """LedgerStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reads(self, since: datetime, until: datetime) -> list[Read]:
        """As LedgerStore.reads."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.reads, {"since": since, "until": until}, binary=True)).fetchall()
        items = [(stored_item(bytes(document), version, claimed_by), *rest) for document, version, claimed_by, *rest in rows]
        return [of_item(item, begun_at, overridden) for item, begun_at, overridden in items if item.study.closed == "reported"]

    async def raised(self, since: datetime, until: datetime) -> list[Raised]:
        """As LedgerStore.raised."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.raised, {"since": since, "until": until})).fetchall()
        return [Raised(*row) for row in rows]

    async def store(self, days: Sequence[Day]) -> None:
        """As LedgerStore.store."""
        values = {"days": [day.day for day in days], "documents": [Jsonb(msgspec.to_builtins(day)) for day in days]}
        async with self._database.connection() as connection:
            await connection.execute(_sql.store, values)

    async def days(self, limit: int = 30) -> list[Day]:
        """As LedgerStore.days."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.days, {"limit": limit})).fetchall()
        return [msgspec.convert(document, Day) for (document,) in rows]
