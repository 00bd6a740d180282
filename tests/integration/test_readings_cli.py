"""How much single readings moved a risk, from a terminal: facts and item in a real Postgres, the model in the command's process."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.memory.event_log import MemoryEventLog
from pipeline.adapters.objects.local import LocalObjectStore
from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.adapters.onnx.versions import ModelVersions
from pipeline.adapters.pictures.decoding import prepared
from pipeline.adapters.pictures.films import KeptFilms
from pipeline.adapters.postgres.context_store import PostgresContextStore
from pipeline.adapters.postgres.database import Database
from pipeline.adapters.postgres.ranking_store import PostgresRankingStore
from pipeline.cli import build
from pipeline.domain import features
from pipeline.domain.window import derive
from pipeline.ports import Batch, Fact, Picture, Place, Received, Scorer
from pipeline.services.assessing import answer, request, view
from pipeline.services.ranking import RankingStage
from pipeline.settings import Postgres, Settings
from schemas import codec
from schemas.assessments import Risk
from schemas.events import AnyEvent, Demographics, FindingEvent, ImagingEvent, Observation, ObservationEvent
from schemas.findings import ImageAssessment
from schemas.identifiers import event_id
from schemas.time import Timestamp
from schemas.topics import ASSESSMENTS
from tests import small_version
from tests.unit.pictures.test_pictures import dicom, film

UID, PATIENT = "1.2.826.0.1.3680043.8.498.949960288", "0" * 32
NOW = datetime.now(UTC).replace(microsecond=0)


def level(hours: float, value: float, loinc: str = "2524-7") -> ObservationEvent:
    at = NOW - timedelta(hours=hours)
    seen = Observation(key=f"l{hours}", effective=Timestamp(at), loinc=loinc, value=value, unit="mmol/L")
    return ObservationEvent(event_id=event_id("t", f"l{hours}"), patient=PATIENT, source="LIS", recorded_at=at, observations=[seen])


IMAGES = ImagingEvent(
    event_id=event_id("t", "image"), patient=PATIENT, source="CT1", recorded_at=NOW - timedelta(hours=8), study_uid=UID,
    acquired=Timestamp(NOW - timedelta(hours=8)), modality="CT", demographics=Demographics(age=71.0, sex="F"),
)  # fmt: skip
EVENTS = (IMAGES, *(level(hours, 9.0 - hours) for hours in (7, 6, 5, 3, 2, 1)))


@pytest.fixture
def settings(migrated: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Of an empty site; the commands find it."""
    settings = Settings(postgres=Postgres(dsn=SecretStr(migrated())), data=tmp_path)
    monkeypatch.setattr("pipeline.cli.worklist.running_settings", lambda data: settings)
    return settings


async def fill(settings: Settings, events: Sequence[AnyEvent], scorer: Scorer) -> Risk:
    """One study, scored from these."""
    window = derive(events)
    asked = request(PATIENT, 1, view(window, window.open_studies, lambda *_: [], features.extract), NOW, None)
    (risk,) = await scorer.score([asked])
    facts = [Fact(PATIENT, one.event_id, "e", one.recorded_at, "labs", 0, at, codec.encode(one)) for at, one in enumerate(events)]
    told = answer(asked, event_id("t", "scored"), risk, False, NOW)
    async with Database.from_settings(settings.postgres) as database:
        async with PostgresContextStore(database).begin("context", [Place("labs", 0)]) as transaction:
            await transaction.append(facts, [])
        stage = RankingStage(PostgresRankingStore(database), MemoryEventLog(), SystemClock(), "ranking")
        await stage.handle([Batch(ASSESSMENTS, 0, [Received(ASSESSMENTS, 0, 0, PATIENT.encode(), codec.encode(told))])])
    return risk


def said(*words: str) -> str:
    return CliRunner().invoke(build(("worklist",)), ["explain", UID, *words], catch_exceptions=False, standalone_mode=False).output


def test_each_reading_is_told_in_a_terminal(settings: Settings) -> None:
    """Of the shipped model: four one by one, two together; nothing of it without being asked for."""
    filled = asyncio.run(fill(settings, EVENTS, OnnxScorer(SystemClock())))
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


def test_a_score_that_looked_at_a_film(settings: Settings, tmp_path: Path) -> None:
    """The site's version and the film are where the settings say: each reading is told beside it, and that it is gone when it is."""
    version = ModelVersions(settings.models_dir, settings.triton.model)
    folder = version.folder_of(version.install(small_version.write(tmp_path, "903")))

    body = dicom(film(200, 180))

    class Reader:
        """PictureReader of the one film."""

        async def read(self, uri: str, side: int) -> Picture:
            """As PictureReader.read."""
            return prepared(body, side)

    async def looked() -> tuple[Path, Risk]:
        objects = LocalObjectStore(settings.objects_dir)
        uri = (await objects.put(UID, "1.3", "1.4", [body])).uri
        said = ImageAssessment(head="chest_frontal", version="1", at=NOW, scorer="triton", unlikeness=0.2)
        about = {"patient": PATIENT, "source": "pictures", "recorded_at": NOW - timedelta(hours=6), "study_uid": UID, "uri": uri}
        events = [IMAGES, FindingEvent(event_id=event_id("t", "f"), image=said, **about), level(2, 4.0, "2823-3"), level(1, 7.0, "2823-3")]
        return objects.path(uri), await fill(settings, events, OnnxScorer(SystemClock(), lambda: folder, KeptFilms(Reader())))

    file, risk = asyncio.run(looked())
    told = json.loads(said("--readings", "--json"))["readings"]
    assert risk.inputs == ("image",)
    assert (told["film"], told["probability"], told["model_version"]) == (True, risk.probability, "903")
    assert risk.probability is not None
    newest, older = told["readings"]
    logit = math.log(risk.probability / (1 - risk.probability))
    without = 1 / (1 + math.exp(small_version.POTASSIUM * 3.0 - logit))
    assert (newest["value"], newest["change"]) == (7.0, pytest.approx(risk.probability - without, abs=1e-4))
    assert (older["value"], older["change"]) == (4.0, 0.0)
    assert "with the chest film that it looked at" in " ".join(said("--readings").split())

    file.unlink()
    assert "is not in the picture archive any more" in " ".join(said("--readings").split())
