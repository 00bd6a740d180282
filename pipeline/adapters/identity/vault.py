"""The identity vault in a Postgres schema of its own: sealed values, and an audit entry for each look at them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from pipeline.adapters.identity.records import AuditEntry, merged
from pipeline.adapters.identity.sealing import Sealer
from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import key, storable
from pipeline.ports import Clock, Identity

_sql = Queries("vault")
KEPT_MAX, KEPT_FOR = 20_000, timedelta(minutes=5)
"""Another gateway may store another spelling in between; after so long the last word counts again."""


class PostgresVault:
    """IdentityVault."""

    def __init__(self, database: Database, site_key: bytes, clock: Clock) -> None:
        self._database = database
        self._sealer = Sealer(site_key)
        self._clock = clock
        self._kept: OrderedDict[str, tuple[Identity | str, datetime]] = OrderedDict()

    async def remember(self, identities: Sequence[Identity], numbers: Mapping[str, str] = {}) -> None:
        """As IdentityVault.remember."""
        told = {pseudonym: identity for pseudonym, identity in _by_pseudonym(identities).items() if not self._is_kept(pseudonym, identity)}
        numbers = {pseudonym: number for pseudonym, number in numbers.items() if not self._is_kept(pseudonym, number)}
        if not told and not numbers:
            return
        async with self._database.transaction() as connection:
            known = await self._known(connection, list(told))
            news = {
                pseudonym: identity
                for pseudonym, identity in told.items()
                if merged(known.get(pseudonym), identity) != known.get(pseudonym)
            }
            if news:
                await self._store(connection, news)
            if numbers:
                sealed = [self._sealer.seal_number(pseudonym, number) for pseudonym, number in numbers.items()]
                await connection.execute(_sql.seal_numbers, {"pseudonyms": list(numbers), "sealed": sealed})
        self._keep({**told, **numbers})

    async def reveal(self, pseudonyms: Sequence[str], reader: str, purpose: str) -> Mapping[str, Identity]:
        """As IdentityVault.reveal; the entry is there even when nobody was found."""
        async with self._database.transaction() as connection:
            await self._note(connection, pseudonyms, reader, purpose, "identity")
            return await self._known(connection, [key(pseudonym) for pseudonym in pseudonyms])

    async def numbers(self, pseudonyms: Sequence[str], reader: str, purpose: str) -> Mapping[str, str]:
        """As IdentityVault.numbers."""
        async with self._database.transaction() as connection:
            await self._note(connection, pseudonyms, reader, purpose, "number")
            cursor = await connection.execute(_sql.numbers, {"pseudonyms": [key(pseudonym) for pseudonym in pseudonyms]}, binary=True)
            return {pseudonym: self._sealer.unseal_number(pseudonym, sealed) for pseudonym, sealed in await cursor.fetchall()}

    async def link(self, number: str, meaning: str, instead_of: str | None = None) -> bool:
        """As IdentityVault.link."""
        async with self._database.connection() as connection:
            cursor = await connection.execute(_sql.link, {"number": number, "meaning": meaning, "instead_of": instead_of})
            return cursor.rowcount == 1

    async def linked(self, numbers: Collection[str]) -> Mapping[str, str]:
        """As IdentityVault.linked."""
        if not numbers:
            return {}
        async with self._database.connection() as connection:
            return dict(await (await connection.execute(_sql.linked, {"numbers": list(numbers)})).fetchall())

    async def audit_entries(self, limit: int = 100) -> list[AuditEntry]:
        """Newest first."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.audit, {"limit": limit}, binary=True)).fetchall()
            return [AuditEntry(reader, purpose, at, what, tuple(pseudonyms)) for reader, purpose, at, what, pseudonyms in rows]

    def _is_kept(self, pseudonym: str, value: Identity | str) -> bool:
        """Most messages tell nothing new of their patient: what this process stored lately needs no way to the database."""
        kept, at = self._kept.get(pseudonym, (None, None))
        return kept == value and at is not None and self._clock.now() - at < KEPT_FOR

    def _keep(self, stored: Mapping[str, Identity | str]) -> None:
        now = self._clock.now()
        self._kept.update((pseudonym, (value, now)) for pseudonym, value in stored.items())
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    async def _known(self, connection: Connection, pseudonyms: Sequence[str]) -> dict[str, Identity]:
        cursor = await connection.execute(_sql.identities, {"pseudonyms": list(pseudonyms)}, binary=True)
        return {pseudonym: self._sealer.unseal_identity(pseudonym, sealed) for pseudonym, sealed in await cursor.fetchall()}

    async def _store(self, connection: Connection, told: Mapping[str, Identity]) -> None:
        """Merges under lock: what two gateways learn of one person at once is all kept."""
        pseudonyms = sorted(told)
        await connection.execute(_sql.reserve, {"pseudonyms": pseudonyms})
        rows = await (await connection.execute(_sql.lock_identities, {"pseudonyms": pseudonyms}, binary=True)).fetchall()
        known = {pseudonym: self._sealer.unseal_identity(pseudonym, sealed) for pseudonym, sealed in rows if sealed is not None}
        sealed = [self._sealer.seal_identity(merged(known.get(pseudonym), told[pseudonym])) for pseudonym in pseudonyms]
        await connection.execute(_sql.seal_identities, {"pseudonyms": pseudonyms, "sealed": sealed})

    async def _note(self, connection: Connection, pseudonyms: Sequence[str], reader: str, purpose: str, what: str) -> None:
        if pseudonyms:
            entry = {"at": self._clock.now(), "reader": storable(reader), "purpose": storable(purpose), "what": what}
            await connection.execute(_sql.note_access, {**entry, "pseudonyms": [key(pseudonym) for pseudonym in pseudonyms]})


def _by_pseudonym(identities: Sequence[Identity]) -> dict[str, Identity]:
    told: dict[str, Identity] = {}
    for identity in identities:
        told[identity.pseudonym] = merged(told.get(identity.pseudonym), identity)
    return told
