"""What readers do to an item, each in one transaction on its locked row."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import LiteralString

import msgspec
from psycopg import errors

from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.escalation import PostgresAlertTransaction
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.rows import history_columns, listed, restated
from pipeline.adapters.postgres.values import key, storable
from pipeline.adapters.postgres.worklist import NEXT, page_parameters, page_query
from pipeline.adapters.worklist_rules import SETTING_ASIDE, Action, acknowledging, refusal
from pipeline.errors import NotFound
from pipeline.ports import Act, ItemChange, ListedItem, ListQuery

_sql = Queries("worklist")


class PostgresActions:
    """WorklistActions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """As WorklistActions.claim."""
        async with self._database.transaction() as connection:
            item = await _allowed(connection, study_uid, reader, "claim")
            return item if item.claimed_by else await _mark(connection, replace(item, claimed_by=storable(reader), claimed_at=now), now)

    async def release(self, study_uid: str, reader: str, now: datetime) -> ListedItem:
        """As WorklistActions.release."""
        async with self._database.transaction() as connection:
            item = await _allowed(connection, study_uid, reader, "release")
            return await _mark(connection, replace(item, claimed_by=None, claimed_at=None), now) if item.claimed_by else item

    async def acknowledge(self, study_uid: str, reader: str, now: datetime, *, method: str = "page", take_over: bool = False) -> ListedItem:
        """As WorklistActions.acknowledge. Locks the item, then its alerts."""
        async with self._database.transaction() as connection:
            item = await _locked(connection, study_uid)
            alerts = PostgresAlertTransaction(self._database, connection)
            changes = acknowledging(await alerts.of([study_uid], []), storable(reader), now, method, take_over)
            if not changes and (conflict := refusal(item, storable(reader), "acknowledge")) is not None:
                raise conflict
            await alerts.store(changes)
            if item.acknowledged_by and not changes:
                return item
            return await _mark(connection, replace(item, acknowledged_by=storable(reader), acknowledged_at=now), now)

    async def adjust(self, study_uid: str, reader: str, now: datetime, act: Act) -> ListedItem:
        """As WorklistActions.adjust."""
        async with self._database.transaction() as connection:
            item = await _allowed(connection, study_uid, reader, act.kind)
            after = act.change(item.item)
            if after is item.item:
                return item
            after = msgspec.structs.replace(after, ranked_at=now)
            await connection.execute(_sql.restate, restated(after))
            if act.kind in SETTING_ASIDE:
                item = replace(item, claimed_by=None, claimed_at=None)
            marked = await _mark(connection, item, now)
            change = ItemChange(after, act.cause, f"reader:{act.kind}", kind=act.kind)
            await connection.execute(_sql.add_rank_changes, history_columns([change]))
            return marked

    async def claim_next(self, reader: str, query: ListQuery, now: datetime) -> ListedItem:
        """As WorklistActions.claim_next. Where the first row is held by a batch that takes long, the next free one is given."""
        try:
            return await self._claim_first(reader, query, now, "for update", "300ms")
        except _Held:
            return await self._claim_first(reader, query, now, "for update skip locked", "0")

    async def _claim_first(self, reader: str, query: ListQuery, now: datetime, locking: LiteralString, patience: str) -> ListedItem:
        parameters = {**page_parameters(query, 1), "now": now}
        if query.state not in (None, "open"):
            raise NotFound("only open studies can be claimed")
        async with self._database.transaction() as connection:
            await connection.execute("select set_config('lock_timeout', %s, true)", (patience,))
            try:
                cursor = await connection.execute(page_query(NEXT, locking), parameters, binary=True)
            except errors.LockNotAvailable as error:
                raise _Held from error
            row = await cursor.fetchone()
            if row is None:
                raise NotFound("no open study matches that nobody has claimed")
            await connection.execute("select set_config('lock_timeout', '15s', true)")
            return await _mark(connection, replace(listed(row), claimed_by=storable(reader), claimed_at=now), now)


class _Held(Exception):
    """Another transaction holds the first row."""


async def _locked(connection: Connection, study_uid: str) -> ListedItem:
    cursor = await connection.execute(_sql.item_for_update, {"study_uid": key(study_uid)}, binary=True)
    row = await cursor.fetchone()
    if row is None:
        raise NotFound("no such study on the worklist")
    return listed(row)


async def _allowed(connection: Connection, study_uid: str, reader: str, action: Action) -> ListedItem:
    item = await _locked(connection, study_uid)
    if (conflict := refusal(item, storable(reader), action)) is not None:
        raise conflict
    return item


async def _mark(connection: Connection, item: ListedItem, now: datetime) -> ListedItem:
    await connection.execute(_sql.lock_seq)
    marks = {
        "study_uid": key(item.item.study.study_uid),
        "claimed_by": item.claimed_by,
        "claimed_at": item.claimed_at,
        "acknowledged_by": item.acknowledged_by,
        "acknowledged_at": item.acknowledged_at,
        "now": now,
    }
    row = await (await connection.execute(_sql.mark, marks, binary=True)).fetchone()
    assert row is not None  # the row is locked by this transaction
    marked = listed(row)
    await connection.execute(_sql.tell, {"seq": marked.seq})
    return marked
