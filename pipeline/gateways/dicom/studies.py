"""What the gateway must not forget about studies in progress: a small SQLite file, pseudonyms and UIDs only."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

StepState = Literal["IN PROGRESS", "COMPLETED", "DISCONTINUED"]
"""Performed Procedure Step Status (0040,0252), PS3.4 F.7."""

_KEPT = timedelta(days=14)
_TABLES = """
CREATE TABLE IF NOT EXISTS studies (
    study_uid TEXT PRIMARY KEY, patient TEXT NOT NULL, source TEXT NOT NULL,
    last_image REAL NOT NULL, instances INTEGER NOT NULL, told INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS waiting ON studies (last_image) WHERE told < instances;
CREATE TABLE IF NOT EXISTS steps (
    step_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, patient TEXT, source TEXT NOT NULL, state TEXT NOT NULL, changed REAL NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Study:
    """A study that is arriving. told: how many instances it had when it was last said to be complete (0: never said)."""

    study_uid: str
    patient: str
    source: str
    last_image: datetime
    instances: int
    told: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A Modality Performed Procedure Step. patient None: the step named nobody."""

    step_uid: str
    study_uid: str
    patient: str | None
    source: str
    state: StepState


class StudyLedger:
    """Safe from any thread; several processes may share the file. Survives a killed process, not (the last moment of) a power cut."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_TABLES)

    def close(self) -> None:
        """Ends the use of the file."""
        with self._lock:
            self._database.close()

    def note_image(self, study: Study) -> Study:
        """Remembers that an image came; returns the study as it now stands. A smaller count or an earlier time changes nothing."""
        self._run(
            "INSERT INTO studies (study_uid, patient, source, last_image, instances) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (study_uid) DO UPDATE SET patient = excluded.patient, source = excluded.source, "
            "last_image = max(last_image, excluded.last_image), "
            "instances = max(instances, excluded.instances)",
            (study.study_uid, study.patient, study.source, study.last_image.timestamp(), study.instances),
        )
        return self.study(study.study_uid) or study

    def study(self, study_uid: str) -> Study | None:
        """None: not seen in the last fortnight."""
        rows = self._run("SELECT study_uid, patient, source, last_image, instances, told FROM studies WHERE study_uid = ?", (study_uid,))
        return _study(rows[0]) if rows else None

    def quiet(self, since: datetime, limit: int = 500) -> list[Study]:
        """Studies that got no image after `since` and were not said to be complete as they stand."""
        rows = self._run(
            "SELECT study_uid, patient, source, last_image, instances, told FROM studies "
            "WHERE told < instances AND last_image <= ? ORDER BY last_image LIMIT ?",
            (since.timestamp(), limit),
        )
        return [_study(row) for row in rows]

    def note_told(self, study_uid: str, instances: int) -> None:
        """Remembers that the study was said to be complete with so many instances."""
        self._run("UPDATE studies SET told = max(told, ?) WHERE study_uid = ?", (instances, study_uid))

    def step(self, step_uid: str) -> Step | None:
        """The performed procedure step of that SOP Instance UID."""
        rows = self._run("SELECT step_uid, study_uid, patient, source, state FROM steps WHERE step_uid = ?", (step_uid,))
        return Step(*rows[0]) if rows else None

    def note_step(self, step: Step, now: datetime) -> None:
        """Creates or changes a step."""
        self._run(
            "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (step_uid) DO UPDATE SET state = excluded.state, changed = excluded.changed",
            (step.step_uid, step.study_uid, step.patient, step.source, step.state, now.timestamp()),
        )

    def forget_old(self, now: datetime) -> None:
        """Drops what a fortnight has not touched."""
        before = (now - _KEPT).timestamp()
        self._run("DELETE FROM studies WHERE last_image < ? AND told >= instances", (before,))
        self._run("DELETE FROM steps WHERE changed < ?", (before,))

    def _run(self, statement: str, values: Sequence[Any]) -> list[Any]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def _study(row: Sequence[Any]) -> Study:
    return Study(row[0], row[1], row[2], datetime.fromtimestamp(row[3], UTC), row[4], row[5])
