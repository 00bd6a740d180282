"""Scores to be made again when the model is back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import key, storable
from pipeline.ports import DegradedScore
from schemas import codec
from schemas.topics import ASSESS

_sql = Queries("scoring")


class PostgresDegradedScores:
    """DegradedScores."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[DegradedScore]:
        """As DegradedScores.all."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.all, binary=True)).fetchall()
        return [DegradedScore(codec.decode(ASSESS, bytes(request)), trace_id, choice) for request, trace_id, choice in rows]

    async def note(self, scores: Sequence[DegradedScore]) -> None:
        """As DegradedScores.note."""
        ordered = sorted(scores, key=lambda score: score.request.patient)
        columns = {
            "patients": [key(score.request.patient) for score in ordered],
            "versions": [score.request.context_version for score in ordered],
            "choices": [score.choice for score in ordered],
            "traces": [storable(score.trace_id) for score in ordered],
            "requests": [codec.encode(score.request) for score in ordered],
        }
        async with self._database.connection() as connection:
            await connection.execute(_sql.note, columns)

    async def clear(self, versions: Mapping[str, int]) -> None:
        """As DegradedScores.clear."""
        columns = {"patients": [key(patient) for patient in versions], "versions": list(versions.values())}
        async with self._database.connection() as connection:
            await connection.execute(_sql.clear, columns)
