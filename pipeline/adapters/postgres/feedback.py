"""Readers' words on findings."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import key, storable, storable_or_none
from pipeline.domain.feedback import Feedback

_sql = Queries("feedback")


class PostgresFeedback:
    """FeedbackStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, said: Feedback) -> None:
        """As FeedbackStore.add."""
        places = {name: key(value) for name, value in zip(("study_uid", "picture", "finding"), said.place, strict=True)}
        words = {"reader": storable(said.reader), "instead": storable_or_none(said.instead)}
        async with self._database.connection() as connection:
            await connection.execute(_sql.add, {**asdict(said), **places, **words})

    async def of_study(self, study_uid: str) -> list[Feedback]:
        """As FeedbackStore.of_study."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.of_study, {"study_uid": key(study_uid)})).fetchall()
        return [Feedback(*row) for row in rows]

    async def of_finding(self, finding: str) -> list[Feedback]:
        """As FeedbackStore.of_finding."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.of_finding, {"finding": key(finding)})).fetchall()
        return [Feedback(*row) for row in rows]
