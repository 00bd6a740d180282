"""Fixtures of databases with our schema, and builders of the documents that stores keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.schema import migrate
from pipeline.ports import Batch, Fact, ItemChange, Place, Received
from schemas import codec
from schemas.assessments import StudyState
from schemas.events import Observation, ObservationEvent
from schemas.time import Timestamp
from schemas.topics import LABS, Topic
from schemas.worklist import WorklistItem

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


@pytest.fixture(scope="session")
def migrated(postgres: Callable[..., str]) -> Callable[[], str]:
    """A function that makes a fresh database at the newest revision and returns its DSN."""
    template = postgres()
    migrate(template)
    name = template.rpartition("/")[2].partition("?")[0]
    return lambda: postgres(name)


@pytest.fixture
async def database(migrated: Callable[[], str]) -> AsyncIterator[Database]:
    """An open pool on a fresh database."""
    async with Database(migrated(), max_size=16) as opened:
        yield opened


def event_id(number: int) -> str:
    """A readable UUID."""
    return str(UUID(int=number))


def place(topic: Topic, partition: int = 0) -> Place:
    """A topic's partition, as stores name it."""
    return Place(topic.name, partition)


def batch(records: Sequence[Received]) -> Batch:
    """Records of one partition, as stages get them."""
    return Batch(records[0].topic, records[0].partition, records)


def fact(number: int, patient: str = "p1", *, topic: Topic = LABS, partition: int = 0, at: datetime | None = None) -> Fact:
    """A laboratory result with offset and event id `number`, `number` seconds after START."""
    recorded_at = at or START + timedelta(seconds=number)
    observation = Observation(key=f"k{number}", effective=Timestamp(recorded_at), loinc="2823-3", value=float(number), unit="mmol/L")
    event = ObservationEvent(event_id=event_id(number), patient=patient, source="lab", recorded_at=recorded_at, observations=[observation])
    return Fact(patient, event.event_id, "observation", recorded_at, topic.name, partition, number, codec.encode(event))


def item(study_uid: str = "1.2.3", *, due: float = 60, version: int = 1, **fields: Any) -> WorklistItem:
    """An item due `due` minutes after START. Fields of the study may be given among the others."""
    state = {name: fields.pop(name) for name in list(fields) if name in StudyState.__struct_fields__}
    due_at = START + timedelta(minutes=due)
    defaults: dict[str, Any] = {
        "patient": "p1",
        "target_at": max(due_at, START + timedelta(hours=4)),
        "reasons": [],
        "why": "ordered urgent",
        "as_of": START,
        "ranked_at": START,
    }
    study = StudyState(study_uid=study_uid, **{"ready_at": START, **state})
    return WorklistItem(study=study, due_at=due_at, context_version=version, **{**defaults, **fields})


def change(worklist_item: WorklistItem, number: int = 1, *, cause: str = "new study", changed: bool = True) -> ItemChange:
    """A change caused by event `number`."""
    return ItemChange(worklist_item, cause, event_id(number), changed)
