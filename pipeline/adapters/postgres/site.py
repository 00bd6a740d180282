"""The record of the site's rules, and the figures that they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pipeline.adapters.postgres.database import Connection, Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.ports import ChurnHour, OrderingSource, SiteRules, SiteVersion

_sql = Queries("site")


class PostgresSiteRegister:
    """SiteRegister and SiteFigures."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, rules: SiteRules, at: datetime) -> bool:
        """As SiteRegister.accept."""
        version = SiteVersion(rules.policy.version, rules.digest, rules.text, at)
        async with self._database.transaction() as connection:
            await connection.execute(_sql.lock)
            known = await _one(connection, _sql.newest)
            if known is not None and (known.version, known.digest, known.faults) == (version.version, version.digest, None):
                return False
            await _add(connection, version)
            return True

    async def refuse(self, digest: str, text: str, faults: Sequence[str], at: datetime) -> None:
        """As SiteRegister.refuse."""
        async with self._database.transaction() as connection:
            await connection.execute(_sql.lock)
            known = await _one(connection, _sql.newest)
            if known is None or known.digest != digest:
                await _add(connection, SiteVersion("", digest, text, at, tuple(faults)))

    async def in_force(self) -> SiteVersion | None:
        """As SiteRegister.in_force."""
        async with self._database.connection() as connection:
            return await _one(connection, _sql.in_force)

    async def versions(self, limit: int = 20) -> Sequence[SiteVersion]:
        """As SiteRegister.versions."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.versions, {"limit": limit})).fetchall()
        return [_version(row) for row in rows]

    async def churn(self, since: datetime) -> Sequence[ChurnHour]:
        """As SiteFigures.churn."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.churn, {"since": since})).fetchall()
        return [ChurnHour(*row) for row in rows]

    async def lately(self, since: datetime) -> ChurnHour:
        """As SiteFigures.lately."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_sql.lately, {"since": since})).fetchone()
        assert row is not None  # aggregates always give a row
        return ChurnHour(*row)

    async def sources(self, limit: int = 50) -> Sequence[OrderingSource]:
        """As SiteFigures.sources."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.sources, {"limit": limit})).fetchall()
        return [OrderingSource(*row) for row in rows]


async def _one(connection: Connection, query: object) -> SiteVersion | None:
    row = await (await connection.execute(query)).fetchone()  # type: ignore[call-overload]
    return None if row is None else _version(row)


async def _add(connection: Connection, version: SiteVersion) -> None:
    faults = None if version.faults is None else list(version.faults)
    row = {"version": version.version, "digest": version.digest, "body": version.text, "at": version.at, "faults": faults}
    await connection.execute(_sql.add, row)


def _version(row: Sequence[object]) -> SiteVersion:
    version, digest, text, at, faults = row
    return SiteVersion(version, digest, text, at, None if faults is None else tuple(faults))  # type: ignore[arg-type]
