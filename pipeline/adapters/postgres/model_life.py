"""A candidate's scores, and what a model was asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import key, storable
from pipeline.domain.shadow import ShadowScore

if TYPE_CHECKING:  # as in the port
    from pipeline.domain.drift import Counts

_sql = Queries("models")


class PostgresShadowScores:
    """ShadowScores."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, scores: Sequence[ShadowScore]) -> None:
        """As ShadowScores.add."""
        columns = {
            "patients": [key(score.patient) for score in scores],
            "versions": [score.context_version for score in scores],
            "times": [score.scored_at for score in scores],
            "served_versions": [storable(score.served_version) for score in scores],
            "served": [score.served for score in scores],
            "shadow_versions": [storable(score.shadow_version) for score in scores],
            "shadow": [score.shadow for score in scores],
        }
        async with self._database.connection() as connection:
            await connection.execute(_sql.add_shadow, columns)

    async def since(self, moment: datetime, limit: int = 100_000) -> list[ShadowScore]:
        """As ShadowScores.since."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.shadow_since, {"moment": moment, "limit": limit})).fetchall()
        return [ShadowScore(*row) for row in rows]


class PostgresDriftCounts:
    """DriftCounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, day: date, version: str, counts: Counts) -> None:
        """As DriftCounts.add."""
        columns = {
            "day": day,
            "version": storable(version),
            "inputs": [name for name, _ in counts],
            "bins": [place for _, place in counts],
            "rows": list(counts.values()),
        }
        async with self._database.connection() as connection:
            await connection.execute(_sql.add_counts, columns)

    async def of(self, day: date, version: str) -> Counts:
        """As DriftCounts.of."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.counts_of, {"day": day, "version": storable(version)})).fetchall()
        return {(name, place): count for name, place, count in rows}
