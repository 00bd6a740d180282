"""Facts, merges and applied offsets in Postgres, in one transaction for the batches of several partitions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import MAXYEAR, datetime
from uuid import UUID

from pipeline.adapters.postgres.batches import PostgresBatch, lock_places
from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import by_key, event_bytes, event_uuid, key, storable
from pipeline.errors import InvalidMessage
from pipeline.ports import Fact, Ignored, Place
from schemas.codec import decode_event
from schemas.events import AnyEvent
from schemas.topics import IMAGING

_sql = Queries("context")
_FACT_TYPES = ("text", "bytea", "text", "timestamptz", "text", "int4", "int8", "bytea")
"""As they are sent: a binary COPY names no types, and a uuid is its 16 bytes. An object for each costs as much as decoding the event."""
_IGNORED_TYPES = ("uuid", "text", "text", "int4", "int8")


class PostgresContextStore:
    """ContextStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def begin(self, group: str, places: Collection[Place]) -> AsyncIterator[PostgresContextTransaction]:
        """As ContextStore.begin."""
        async with self._database.transaction() as connection:
            applied, version = await lock_places(connection, group, places)
            yield PostgresContextTransaction(connection, group, applied, version)


async def members(connection: Connection, patients: Sequence[str]) -> dict[str, list[str]]:
    """patient -> those who live on under it; only where there are any. Takes and gives keys as they are stored."""
    found: dict[str, list[str]] = {}
    for root, member in await (await connection.execute(_sql.members, {"patients": list(patients)})).fetchall():
        found.setdefault(root, []).append(member)
    return found


class PostgresContextTransaction(PostgresBatch):
    """ContextTransaction."""

    def __init__(self, connection: Connection, group: str, applied: Mapping[Place, int], version: int) -> None:
        super().__init__(connection, group, applied)
        self.version = version

    async def survivors(self, patients: Sequence[str]) -> Mapping[str, str]:
        """As ContextTransaction.survivors."""
        asked = by_key(patients)
        rows = await (await self._connection.execute(_sql.survivors, {"patients": list(asked)})).fetchall()
        return {asked[patient]: survivor for patient, survivor in rows}

    async def histories(self, patients: Sequence[str]) -> Mapping[str, list[AnyEvent]]:
        """As ContextTransaction.histories; every patient asked for has an entry."""
        asked = by_key(patients)
        under = await members(self._connection, list(asked))
        everyone = {*asked, *(member for group in under.values() for member in group)}
        facts: dict[str, list[AnyEvent]] = {patient: [] for patient in everyone}
        cursor = await self._connection.execute(_sql.facts, {"patients": list(everyone)}, binary=True)
        for patient, body in await cursor.fetchall():
            facts[patient].append(decode_event(body))
        return {asked[root]: [event for member in (root, *under.get(root, ())) for event in facts[member]] for root in asked}

    async def waiting(self, partitions: Collection[int], *, behind: bool = False) -> list[str]:
        """As ContextTransaction.waiting: those on the list."""
        asked = {"topic": IMAGING.name, "partitions": list(partitions), "behind": behind}
        rows = await self._connection.execute(_sql.waiting, asked)
        return [patient for (patient,) in await rows.fetchall()]

    async def known_events(self, event_ids: Sequence[str]) -> set[str]:
        """As ContextTransaction.known_events."""
        asked = {event_uuid(event_id): event_id for event_id in event_ids}
        rows = await self._connection.execute(_sql.known_events, {"event_ids": list(asked)})
        return {asked[event_id] for (event_id,) in await rows.fetchall()}

    async def lock_patients(self, patients: Sequence[str]) -> None:
        """As ContextTransaction.lock_patients."""
        await self._connection.execute(_sql.lock_patients, {"patients": sorted(by_key(patients))})

    async def set_survivor(self, retired: str, survivor: str | None, recorded_at: datetime, event_id: str) -> bool:
        """As ContextTransaction.set_survivor."""
        if retired == survivor:
            return False
        retired, survivor, said = key(retired), key(survivor) if survivor is not None else None, event_uuid(event_id)
        await self._connection.execute(_sql.lock_merges)
        known = await (await self._connection.execute(_sql.statement, {"retired": retired})).fetchone()
        if known is not None and _is_newer(known[1], known[2], recorded_at, said):
            return False
        if survivor is not None and await self._lives_on_under(survivor, retired):
            raise InvalidMessage("merge-cycle", "the surviving patient already lives on under the one to retire")
        statement = {"retired": retired, "survivor": survivor, "recorded_at": recorded_at, "event_id": said}
        await self._connection.execute(_sql.say, statement)
        return (known[0] if known is not None else None) != survivor

    async def append(self, facts: Sequence[Fact], ignored: Sequence[Ignored]) -> None:
        """As ContextTransaction.append."""
        if facts:
            await self._copy_facts(facts)
            self._note_newest(facts)
        if ignored:
            await self._copy_ignored(ignored)

    def _note_newest(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            at = fact.recorded_at
            known = self.newest.get(place := Place(fact.topic, fact.partition))
            if (known is None or at > known) and at.year < MAXYEAR:
                self.newest[place] = at

    async def _lives_on_under(self, patient: str, other: str) -> bool:
        row = await (await self._connection.execute(_sql.lives_on_under, {"patient": patient, "other": other})).fetchone()
        return row is not None and row[0]

    async def _copy_facts(self, facts: Sequence[Fact]) -> None:
        async with self._connection.cursor().copy(_sql.copy_facts) as copy:
            copy.set_types(_FACT_TYPES)
            for f in facts:
                await copy.write_row(
                    (key(f.patient), event_bytes(f.event_id), f.kind, f.recorded_at, f.topic, f.partition, f.offset, f.body)
                )

    async def _copy_ignored(self, ignored: Sequence[Ignored]) -> None:
        async with self._connection.cursor().copy(_sql.copy_ignored) as copy:
            copy.set_types(_IGNORED_TYPES)
            for i in ignored:
                await copy.write_row((event_uuid(i.event_id), storable(i.reason), i.topic, i.partition, i.offset))


def _is_newer(known_at: datetime, known_id: UUID, recorded_at: datetime, event_id: UUID) -> bool:
    return (known_at, str(known_id)) >= (recorded_at, str(event_id))
