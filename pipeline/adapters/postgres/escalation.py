"""Alerts in Postgres: rows taken FOR UPDATE SKIP LOCKED, a mark for each message before it goes out, an outbox for the topic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, LiteralString

import msgspec

from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.rows import stored_item
from pipeline.adapters.postgres.values import key
from pipeline.domain.escalation import Alert
from pipeline.domain.triggers import Usage
from pipeline.errors import NotFound
from pipeline.ports.escalation import AlertChange, AlertCounts, Try
from schemas import alerts, codec
from schemas.topics import ALERTS
from schemas.worklist import WorklistItem

_sql = Queries("escalation")
_worklist = Queries("worklist")
_alert = msgspec.json.Decoder(Alert)
_encode = msgspec.json.Encoder().encode


class PostgresAlertTransaction:
    """AlertTransaction and DueTransaction on one connection."""

    def __init__(self, database: Database, connection: Connection, due: Sequence[Alert] = ()) -> None:
        self._database = database
        self._connection = connection
        self.due = [*due]

    async def of(self, studies: Collection[str], patients: Collection[str]) -> list[Alert]:
        """As AlertTransaction.of."""
        mine = {"studies": [key(study) for study in studies], "patients": [key(patient) for patient in patients]}
        await self._connection.execute(_sql.take_turns, {"patients": mine["patients"]})
        return await _alerts(self._connection, _sql.of, mine)

    async def of_subject(self, subject: str) -> list[Alert]:
        """As AlertTransaction.of_subject."""
        return await _alerts(self._connection, _sql.of_subject, {"subject": key(subject)})

    async def get(self, alert_id: str) -> Alert:
        """As AlertTransaction.get."""
        return _one(await _alerts(self._connection, _sql.locked, {"id": key(alert_id)}))

    async def usage(self, since: datetime) -> Usage:
        """As AlertTransaction.usage."""
        row = await (await self._connection.execute(_sql.usage, {"since": since})).fetchone()
        assert row is not None  # aggregates always give a row
        return Usage(*row)

    async def store(self, changes: Sequence[AlertChange]) -> None:
        """As AlertTransaction.store."""
        last = {change.alert.id: change.alert for change in changes}
        if not last:
            return
        await self._connection.execute(_sql.upsert, _columns(list(last.values())))
        entries = [change.entry for change in changes if change.entry is not None]
        if entries:
            history = {"alert_id": [entry.alert_id for entry in entries], "document": [codec.encode(entry) for entry in entries]}
            await self._connection.execute(_sql.add_history, history)

    async def mark(self, keys: Collection[str]) -> Mapping[str, Try]:
        """As DueTransaction.mark, on a connection of its own, so that it stands whatever becomes of this one."""
        async with self._database.connection() as apart:
            rows = await (await apart.execute(_sql.mark, {"keys": list(keys)})).fetchall()
        return {step: Try(number, repeat, told) for step, number, repeat, told in rows}

    async def told(self, keys: Collection[str]) -> None:
        """As DueTransaction.told."""
        async with self._database.connection() as apart:
            await apart.execute(_sql.told, {"keys": list(keys)})

    async def refused(self, keys: Collection[str]) -> None:
        """As DueTransaction.refused."""
        async with self._database.connection() as apart:
            await apart.execute(_sql.refused, {"keys": list(keys)})


class PostgresAlerts:
    """AlertStore and AlertReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PostgresAlertTransaction]:
        """As AlertStore.begin."""
        async with self._database.transaction() as connection:
            yield PostgresAlertTransaction(self._database, connection)

    @asynccontextmanager
    async def due(self, before: datetime, limit: int) -> AsyncIterator[PostgresAlertTransaction]:
        """As AlertStore.due."""
        async with self._database.transaction() as connection:
            found = await _alerts(connection, _sql.due, {"before": before, "limit": limit})
            yield PostgresAlertTransaction(self._database, connection, found)

    @asynccontextmanager
    async def unpublished(self, limit: int) -> AsyncIterator[Sequence[alerts.Alert]]:
        """As AlertStore.unpublished."""
        async with self._database.transaction() as connection:
            alone = await (await connection.execute(_sql.lock_outbox)).fetchone()
            rows: list[tuple[Any, ...]] = []
            if alone == (True,):
                rows = await (await connection.execute(_sql.unpublished, {"limit": limit}, binary=True)).fetchall()
            yield [codec.decode(ALERTS, document) for _, document in rows]
            if rows:
                await connection.execute(_sql.published, {"ids": [number for number, _ in rows]})

    async def to_judge(self, now: datetime, since: int, limit: int) -> tuple[list[WorklistItem], int]:
        """As AlertStore.to_judge."""
        found: dict[str, WorklistItem] = {}
        reached = since
        async with self._database.connection() as connection:
            for query in (_sql.changed_items, _sql.overdue_items, _sql.unsettled_items):
                cursor = await connection.execute(query, {"now": now, "since": since, "limit": limit}, binary=True)
                for document, version, claimed_by, seq in await cursor.fetchall():
                    item = stored_item(document, version, claimed_by)
                    found[item.study.study_uid] = item
                    reached = max(reached, seq) if query is _sql.changed_items else reached
        return list(found.values()), reached

    async def ahead_of(self, now: datetime) -> list[str]:
        """As AlertStore.ahead_of."""
        async with self._database.connection() as connection:
            return [one for (one,) in await (await connection.execute(_sql.ahead_of, {"now": now})).fetchall()]

    async def touch(self, studies: Collection[str]) -> None:
        """As AlertStore.touch. Locks in the order of all who write items: rows, then the seq.

        A row that comes in between is not locked and must not be waited for under the seq's lock; its own seq is later than the alert.
        """
        if not studies:
            return
        async with self._database.transaction() as connection:
            rows = await connection.execute(_sql.lock_items, {"studies": [key(study) for study in studies]})
            locked = [study for (study,) in await rows.fetchall()]
            if locked:
                await connection.execute(_worklist.lock_seq)
                await connection.execute(_sql.touch, {"studies": locked})

    # --- the reader

    async def in_states(self, states: Collection[str], limit: int = 200) -> list[Alert]:
        """As AlertReader.in_states."""
        async with self._database.connection() as connection:
            return await _alerts(connection, _sql.in_states, {"states": [*states], "limit": limit})

    async def get(self, alert_id: str) -> Alert:
        """As AlertReader.get."""
        async with self._database.connection() as connection:
            return _one(await _alerts(connection, _sql.one, {"id": key(alert_id)}))

    async def history(self, alert_id: str) -> list[alerts.Alert]:
        """As AlertReader.history."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_sql.history, {"id": key(alert_id)}, binary=True)
            return [codec.decode(ALERTS, document) for (document,) in await cursor.fetchall()]

    async def of_studies(self, studies: Collection[str]) -> Mapping[str, list[Alert]]:
        """As AlertReader.of_studies."""
        async with self._database.connection() as connection:
            rows = await _alerts(connection, _sql.of_studies, {"studies": [key(study) for study in studies]})
        found: defaultdict[str, list[Alert]] = defaultdict(list)
        for alert in rows:
            found[alert.subject].append(alert)
        return dict(found)

    async def counts(self) -> AlertCounts:
        """As AlertReader.counts."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_sql.counts)).fetchone()
        assert row is not None  # aggregates always give a row
        return AlertCounts(*row)


async def _alerts(connection: Connection, query: LiteralString, parameters: dict[str, Any]) -> list[Alert]:
    cursor = await connection.execute(query, parameters, binary=True)
    return [_alert.decode(document) for (document,) in await cursor.fetchall()]


def _one(found: Sequence[Alert]) -> Alert:
    if not found:
        raise NotFound("no such alert")
    return found[0]


def _columns(changed: Sequence[Alert]) -> dict[str, list[Any]]:
    rows = sorted(changed, key=lambda alert: alert.id)
    return {
        "id": [alert.id for alert in rows],
        "subject": [key(alert.subject) for alert in rows],
        "study_uid": [None if alert.study_uid is None else key(alert.study_uid) for alert in rows],
        "patient": [None if alert.patient is None else key(alert.patient) for alert in rows],
        "trigger": [alert.trigger for alert in rows],
        "category": [alert.category for alert in rows],
        "state": [alert.state for alert in rows],
        "muted": [alert.muted for alert in rows],
        "raised_at": [alert.raised_at for alert in rows],
        "changed_at": [alert.changed_at for alert in rows],
        "next_at": [alert.next_at for alert in rows],
        "confirmed": [alert.confirmed for alert in rows],
        "context_version": [alert.context_version for alert in rows],
        "document": [_encode(alert) for alert in rows],
    }
