"""The worklist as pages and commands read it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg import sql

from pipeline.adapters.postgres.changes import ChangeFeed
from pipeline.adapters.postgres.context_store import members
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.rows import listed
from pipeline.adapters.postgres.values import key, storable_or_none
from pipeline.adapters.worklist_rules import check_query, encode_cursor
from pipeline.domain.site import SubList
from pipeline.errors import NotFound
from pipeline.ports import ListedItem, ListQuery, Page, RankChange, Summary
from schemas.codec import decode_event
from schemas.events import AnyEvent

_sql = Queries("worklist")
_context = Queries("context")

STANDING: dict[str | None, LiteralString] = {
    None: "not closed",
    "open": "not closed and claimed_by is null and held_until is null",
    "claimed": "not closed and claimed_by is not null",
    "held": "not closed and held_until is not null",
    "closed": "closed",
}
NEXT: LiteralString = "not closed and claimed_by is null and (held_until is null or held_until <= %(now)s)"
"""What may be somebody's next case."""


def page_query(standing: LiteralString, locking: LiteralString = "") -> sql.Composed:
    """The query `page` for items that stand so."""
    return sql.SQL(_sql.page).format(standing=sql.SQL(standing), locking=sql.SQL(locking))


def page_parameters(query: ListQuery, limit: int) -> dict[str, Any]:
    """Raises InvalidMessage("invalid", …) as check_query does."""
    after = check_query(query)
    return {
        "after_due_at": after.due_at.isoformat() if after else "-infinity",
        "after_study_uid": key(after.study_uid) if after else "",
        "modality": storable_or_none(query.modality),
        "patient_class": storable_or_none(query.patient_class),
        "location": storable_or_none(query.location),
        "overdue_at": query.overdue_at,
        "patient": storable_or_none(query.patient),
        **_part(query.part),
        "text": storable_or_none(query.text.lower()) if query.text is not None else None,
        "limit": limit,
    }


def _part(part: SubList | None) -> dict[str, list[str] | None]:
    """A sub-list's filters; an empty one lets everything through."""
    if part is None:
        return dict.fromkeys(("modalities", "body_parts", "patient_classes", "locations"))
    return {
        "modalities": list(part.modalities) or None,
        "body_parts": [name.upper() for name in part.body_parts] or None,
        "patient_classes": list(part.patient_classes) or None,
        "locations": [_like(pattern) for pattern in part.locations] or None,
    }


def _like(pattern: str) -> str:
    """A pattern with * and ? as SQL's LIKE has it."""
    return re.sub(r"([\\%_])", r"\\\1", pattern).replace("*", "%").replace("?", "_")


class PostgresWorklist:
    """WorklistReader. Close it to end its watchers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._feed = ChangeFeed(database.dsn)

    async def close(self) -> None:
        """Ends the LISTEN connection; the pool belongs to whoever opened it."""
        await self._feed.close()

    async def page(self, query: ListQuery) -> Page:
        """As WorklistReader.page."""
        parameters = page_parameters(query, query.limit + 1)
        async with self._database.connection() as connection:
            cursor = await connection.execute(page_query(STANDING[query.state]), parameters, binary=True)
            rows = await cursor.fetchall()
        items = [listed(row) for row in rows[: query.limit]]
        return Page(items, encode_cursor(items[-1].item) if len(rows) > query.limit else None)

    async def get(self, study_uid: str) -> ListedItem:
        """As WorklistReader.get."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_sql.item, {"study_uid": key(study_uid)}, binary=True)
            row = await cursor.fetchone()
        if row is None:
            raise NotFound("no such study on the worklist")
        return listed(row)

    async def history(self, study_uid: str, limit: int = 100) -> list[RankChange]:
        """As WorklistReader.history."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_sql.history, {"study_uid": key(study_uid), "limit": limit}, binary=True)
            return [RankChange(*row) for row in await cursor.fetchall()]

    async def summary(self, now: datetime) -> Summary:
        """As WorklistReader.summary, all from one snapshot."""
        async with self._database.transaction() as connection:
            await connection.execute("set transaction isolation level repeatable read, read only")
            counts = await (await connection.execute(_sql.summary, {"now": now}, binary=True)).fetchone()
            feeds = await (await connection.execute(_sql.feeds, binary=True)).fetchall()
            seq = await (await connection.execute(_sql.newest_seq, binary=True)).fetchone()
        assert counts is not None and seq is not None  # aggregates always give a row
        total, overdue, degraded, unmatched, oldest, held = counts
        return Summary(total, overdue, degraded, unmatched, oldest, seq[0], dict(feeds), held)

    async def patient_events(self, patient: str, limit: int = 500, topics: Sequence[str] = ()) -> list[AnyEvent]:
        """As WorklistReader.patient_events."""
        async with self._database.connection() as connection:
            root = key(patient)
            patients = [root, *(await members(connection, [root])).get(root, ())]
            parameters = {"patients": patients, "topics": list(topics) or None, "limit": limit}
            cursor = await connection.execute(_context.newest_facts, parameters, binary=True)
            facts = await cursor.fetchall()
        # In a thread: of a long history it takes a third of a second, for which nobody's page would be answered.
        return await asyncio.to_thread(lambda: [decode_event(body) for (body,) in facts])

    def changes(self, since: int | None) -> AsyncIterator[int]:
        """As WorklistReader.changes."""
        return self._feed.watch(since)
