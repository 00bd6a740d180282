"""The worklist as the ranking stage writes it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.adapters.postgres.batches import PostgresBatch, lock_places
from pipeline.adapters.postgres.database import Connection, Database
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


def _plan(changes: Sequence[ItemChange], versions: dict[str, int]) -> _Plan:
    """versions: of the studies that are stored; moved on."""
    plan = _Plan()
    for change in changes:
        uid, version = key(change.item.study.study_uid), change.item.context_version
        if versions.get(uid, version) > version:
            continue
        if change.changed or uid not in versions:
            plan.shown[uid] = change.item
        else:
            plan.noted[uid] = version
        if change.changed:
            plan.history.append(change)
        versions[uid] = version
    return plan


class PostgresRankingTransaction(PostgresBatch):
    """RankingTransaction."""

    def __init__(self, connection: Connection, group: str, applied: Mapping[Place, int]) -> None:
        super().__init__(connection, group, applied)
        self._asked: set[str] = set()
        self._versions: dict[str, int] = {}

    async def items(self, studies: Sequence[str]) -> Mapping[str, WorklistItem]:
        """As RankingTransaction.items."""
        asked = by_key(studies)
        return {asked[uid]: stored_item(document, version, claimed_by) for uid, version, claimed_by, document in await self._lock(asked)}

    async def store(self, changes: Sequence[ItemChange]) -> None:
        """As RankingTransaction.store. What `items` has told is locked; what it did not find may be there by now, and newer."""
        if unknown := {key(change.item.study.study_uid) for change in changes} - self._asked:
            await self._lock(unknown)
        plan = _plan(changes, self._versions)
        if plan.shown:
            await self._connection.execute(_sql.lock_seq)
            cursor = await self._connection.execute(_sql.upsert, item_columns(list(plan.shown.values())))
            written = {uid for uid, _ in await cursor.fetchall()}
            plan.history = [change for change in plan.history if key(change.item.study.study_uid) in written]
        if plan.noted:
            noted = {"study_uid": list(plan.noted), "context_version": list(plan.noted.values())}
            await self._connection.execute(_sql.note_versions, noted)
        if plan.history:
            await self._connection.execute(_sql.add_rank_changes, history_columns(plan.history))

    async def _lock(self, studies: Collection[str]) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(_sql.lock_items, {"studies": list(studies)}, binary=True)
        rows = await cursor.fetchall()
        self._asked.update(studies)
        self._versions.update((uid, version) for uid, version, _, _ in rows)
        return rows
