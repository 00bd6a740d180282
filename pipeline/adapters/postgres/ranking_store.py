"""The worklist as the ranking stage writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipeline.adapters.postgres.batches import PostgresBatch, lock_places
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.rows import history_columns, item_columns, stored_item
from pipeline.adapters.postgres.values import by_key, key
from pipeline.ports import ItemChange, Place
from schemas.worklist import WorklistItem

_sql = Queries("worklist")


class PostgresRankingStore:
    """RankingStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def begin(self, group: str, places: Collection[Place]) -> AsyncIterator[PostgresRankingTransaction]:
        """As RankingStore.begin."""
        async with self._database.transaction() as connection:
            applied, _ = await lock_places(connection, group, places)
            yield PostgresRankingTransaction(connection, group, applied)


@dataclass(slots=True)
class _Plan:
    """What a list of changes comes to, against the versions stored now."""

    shown: dict[str, WorklistItem] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    history: list[ItemChange] = field(default_factory=list)


def _plan(changes: Sequence[ItemChange], versions: Mapping[str, int]) -> _Plan:
    plan, newest = _Plan(), dict(versions)
    for change in changes:
        uid, version = key(change.item.study.study_uid), change.item.context_version
        if newest.get(uid, version) > version:
            continue
        if change.changed or uid not in newest:
            plan.shown[uid] = change.item
        else:
            plan.noted[uid] = version
        if change.changed:
            plan.history.append(change)
        newest[uid] = version
    return plan


class PostgresRankingTransaction(PostgresBatch):
    """RankingTransaction."""

    async def items(self, studies: Sequence[str]) -> Mapping[str, WorklistItem]:
        """As RankingTransaction.items."""
        asked = by_key(studies)
        cursor = await self._connection.execute(_sql.lock_items, {"studies": list(asked)}, binary=True)
        return {asked[uid]: stored_item(document, version, claimed_by) for uid, version, claimed_by, document in await cursor.fetchall()}

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """As RankingTransaction.store."""
        if not changes:
            return
        studies = list({key(change.item.study.study_uid) for change in changes})
        cursor = await self._connection.execute(_sql.lock_items, {"studies": studies}, binary=True)
        plan = _plan(changes, {uid: version for uid, version, _, _ in await cursor.fetchall()})
        if plan.shown:
            await self._show(list(plan.shown.values()))
        if plan.noted:
            noted = {"study_uid": list(plan.noted), "context_version": list(plan.noted.values())}
            await self._connection.execute(_sql.note_versions, noted)
        if plan.history:
            await self._connection.execute(_sql.add_rank_changes, history_columns(plan.history))

    async def _show(self, items: Sequence[WorklistItem]) -> None:
        await self._connection.execute(_sql.lock_seq)
        cursor = await self._connection.execute(_sql.upsert, item_columns(items))
        written = [seq for (seq,) in await cursor.fetchall()]
        if written:
            await self._connection.execute(_sql.tell, {"seq": max(written)})
