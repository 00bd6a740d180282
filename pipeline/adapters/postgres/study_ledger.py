"""Studies in progress, shared by all gateways."""

from __future__ import annotations

from datetime import datetime

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.queries import Queries
from pipeline.adapters.postgres.values import key, storable
from pipeline.ports import Step, Study

_sql = Queries("studies")


class PostgresStudyLedger:
    """StudyLedger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note_image(self, study: Study) -> Study:
        """As StudyLedger.note_image."""
        values = {
            "study": key(study.study_uid),
            "patient": key(study.patient),
            "source": storable(study.source),
            "last_image": study.last_image,
            "instances": study.instances,
        }
        async with self._database.connection() as connection:
            row = await (await connection.execute(_sql.note_image, values)).fetchone()
        assert row is not None  # RETURNING of an upsert
        return Study(*row)

    async def study(self, study_uid: str) -> Study | None:
        """As StudyLedger.study."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_sql.study, {"study": key(study_uid)})).fetchone()
        return Study(*row) if row is not None else None

    async def quiet(self, since: datetime, limit: int = 500) -> list[Study]:
        """As StudyLedger.quiet."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_sql.quiet, {"since": since, "limit": limit})).fetchall()
        return [Study(*row) for row in rows]

    async def note_told(self, study_uid: str, instances: int) -> None:
        """As StudyLedger.note_told."""
        async with self._database.connection() as connection:
            await connection.execute(_sql.note_told, {"study": key(study_uid), "instances": instances})

    async def step(self, step_uid: str) -> Step | None:
        """As StudyLedger.step."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(_sql.step, {"step": key(step_uid)})).fetchone()
        return Step(*row) if row is not None else None

    async def note_step(self, step: Step, now: datetime) -> None:
        """As StudyLedger.note_step."""
        values = {
            "step": key(step.step_uid),
            "study": key(step.study_uid),
            "patient": step.patient and key(step.patient),
            "source": storable(step.source),
            "state": step.state,
            "now": now,
        }
        async with self._database.connection() as connection:
            await connection.execute(_sql.note_step, values)
