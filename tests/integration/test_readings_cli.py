"""How much single readings moved a risk, from a terminal: facts and item in a real Postgres, the shipped model in the command's process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.adapters.postgres.context_store import PostgresContextStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.cli import build
from pipeline.domain import features
from pipeline.domain.window import derive
from pipeline.ports import Batch, Fact, Place, Received
from pipeline.services.assessing import answer, request, view
from pipeline.services.ranking import RankingStage
from pipeline.settings import Postgres, Settings
from schemas import codec
from schemas.assessments import Risk
from schemas.events import Demographics, ImagingEvent, Observation, ObservationEvent
from schemas.identifiers import event_id
from schemas.time import Timestamp
from schemas.topics import ASSESSMENTS

UID, PATIENT = "1.2.826.0.1.3680043.8.498.949960288", "0" * 32
NOW = datetime.now(UTC).replace(microsecond=0)


def lactate(hours: float, value: float) -> ObservationEvent:
    at = NOW - timedelta(hours=hours)
    seen = Observation(key=f"l{hours}", effective=Timestamp(at), loinc="2524-7", value=value, unit="mmol/L")
    return ObservationEvent(event_id=event_id("t", f"l{hours}"), patient=PATIENT, source="LIS", recorded_at=at, observations=[seen])


IMAGES = ImagingEvent(
    event_id=event_id("t", "image"), patient=PATIENT, source="CT1", recorded_at=NOW - timedelta(hours=8), study_uid=UID,
    acquired=Timestamp(NOW - timedelta(hours=8)), modality="CT", demographics=Demographics(age=71.0, sex="F"),
)  # fmt: skip
EVENTS = (IMAGES, *(lactate(hours, 9.0 - hours) for hours in (7, 6, 5, 3, 2, 1)))


@pytest.fixture
def filled(migrated: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Risk:
    """One study, scored by the shipped model from six readings; the commands find it."""
    dsn = migrated()

    async def fill() -> Risk:
        window = derive(EVENTS)
        asked = request(PATIENT, 1, view(window, window.open_studies, lambda *_: [], features.extract), NOW, None)
        (risk,) = await OnnxScorer(SystemClock()).score([asked])
        facts = [Fact(PATIENT, one.event_id, "e", one.recorded_at, "labs", 0, at, codec.encode(one)) for at, one in enumerate(EVENTS)]
        told = answer(asked, event_id("t", "scored"), risk, False, NOW)
        async with Database(dsn) as database:
            async with PostgresContextStore(database).begin("context", [Place("labs", 0)]) as transaction:
                await transaction.append(facts, [])
            stage = RankingStage(PostgresRankingStore(database), MemoryEventLog(), SystemClock(), "ranking")
            await stage.handle([Batch(ASSESSMENTS, 0, [Received(ASSESSMENTS, 0, 0, PATIENT.encode(), codec.encode(told))])])
        return risk

    risk = asyncio.run(fill())
    monkeypatch.setattr("pipeline.cli.worklist.running_settings", lambda data: Settings(postgres=Postgres(dsn=SecretStr(dsn))))
    return risk


def said(*words: str) -> str:
    return CliRunner().invoke(build(("worklist",)), ["explain", UID, *words], catch_exceptions=False, standalone_mode=False).output


def test_each_reading_is_told_in_a_terminal(filled: Risk) -> None:
    """Four one by one, two together; nothing of it without being asked for."""
    told: dict[str, Any] = json.loads(said("--readings", "--json"))["readings"]

    assert told["why_not"] is None
    assert told["probability"] == filled.probability
    assert sorted(reading["value"] for reading in told["readings"] if reading["value"]) == [4.0, 6.0, 7.0, 8.0]
    assert [(one["older"]["count"], one["older"]["low"]) for one in told["readings"] if one["older"]] == [(2, 2.0)]
    shown = said("--readings")
    assert "Lactate 8 mmol/L" in shown
    assert f"risk {filled.probability:.1%}" in shown
    assert "readings" not in json.loads(said("--json"))
    assert "Lactate 8" not in said()
