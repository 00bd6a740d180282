"""What image models said of a study's pictures, and where in them."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from pipeline.domain.imaging import without_maps
from pipeline.ports import Fact
from schemas.assessments import Rejected
from schemas.codec import encode
from schemas.events import FindingEvent, ImagingEvent, Rejection
from schemas.findings import Activation, ImageAssessment, ImageFinding
from schemas.time import Timestamp
from tests.unit.worklist.web import NOW, Web, item

MAP = Activation(side=2, peak=4.0, levels=bytes([255, 128, 1, 128]))


def said(probability: float, minutes: int = 0) -> ImageAssessment:
    found = ImageFinding(code="pneumonia", label="pneumonia", probability=probability, prevalence=0.5, ranks=True, activation=MAP)
    return ImageAssessment(head="chest_frontal", version="1", at=NOW + timedelta(minutes=minutes), findings=(found,), scorer="triton")


def look(web: Web, number: int, picture: str, seen: ImageAssessment, event: str) -> None:
    """What the picture stage tells of one of a study's pictures."""
    finding = FindingEvent(
        event_id=event, patient=f"p{number}", source="pictures", recorded_at=seen.at, study_uid=f"1.2.{number}",
        uri=f"object:1.2.{number}/1/{picture}.dcm", image=seen,
    )  # fmt: skip
    web.context.add([Fact(finding.patient, event, "finding", seen.at, "findings", 0, int(event), encode(finding))], [])


@pytest.fixture
def web() -> Web:
    """Study 7 is ranked by the first of its two pictures; another study of the same patient has one too."""
    web = Web()
    web.put(item(7, study=msgspec.structs.replace(item(7).study, image=without_maps(said(0.9)))))
    look(web, 7, "1.2.7.1", said(0.4, -1), "1")
    look(web, 7, "1.2.7.1", said(0.9), "2")
    look(web, 7, "1.2.7.2", said(0.2, 1), "3")
    return web


async def test_each_picture_has_its_newest_word_and_maps(web: Web) -> None:
    """Newest first; the one that the study is ranked by is marked, and a map is plain numbers."""
    async with web.client() as client:
        pictures = (await client.get("/api/worklist/1.2.7/pictures")).json()["pictures"]

    assert [(one["picture"], one["stands"], one["findings"][0]["probability"]) for one in pictures] == [
        ("1.2.7.2", False, 0.2),
        ("1.2.7.1", True, 0.9),
    ]
    assert pictures[1]["findings"][0]["activation"] == {"side": 2, "peak": 4.0, "levels": [1.0, 0.0, -1.0, 0.0]}
    assert pictures[1]["findings"][0]["here"] == pytest.approx(0.5)


async def test_a_rejected_picture_is_told_as_such(web: Web) -> None:
    """By the note's own words; what was said of it stays to be read."""
    base = {"patient": "p7", "source": "DX1", "recorded_at": NOW, "study_uid": "1.2.7", "acquired": Timestamp(NOW)}
    film = ImagingEvent(event_id="8", sop_uid="1.2.7.1", uri="object:1.2.7/1/1.2.7.1.dcm", **base)  # type: ignore[arg-type]
    note = ImagingEvent(event_id="9", rejection=Rejection(code="113001", instances=("1.2.7.1",)), **base)  # type: ignore[arg-type]
    facts = [Fact("p7", one.event_id, "imaging", NOW, "imaging", 0, int(one.event_id), encode(one)) for one in (film, note)]
    web.context.add(facts, [])
    web.put(item(7, study=msgspec.structs.replace(item(7).study, rejected=(Rejected("113001", 1, NOW),))))
    async with web.client() as client:
        pictures = (await client.get("/api/worklist/1.2.7/pictures")).json()["pictures"]

    assert [(one["picture"], one["rejected"], one["stands"]) for one in pictures] == [("1.2.7.2", False, False), ("1.2.7.1", True, False)]


async def test_a_study_without_pictures(web: Web) -> None:
    """An empty list; an unknown study is none."""
    async with web.client() as client:
        assert (await client.get("/api/worklist/1.2.1/pictures")).json() == {"feedback": True, "pictures": []}
        assert (await client.get("/api/worklist/9.9/pictures")).status_code == 404


def word(**changes: object) -> dict[str, object]:
    return {"picture": "1.2.7.1", "finding": "pneumonia", "verdict": "agree", **changes}


async def test_a_reader_s_last_word_stands_beside_the_finding(web: Web) -> None:
    """Every reader has one; all of them are kept, with what the model had said."""
    async with web.client() as client:
        await client.post("/api/worklist/1.2.7/feedback", json=word())
        web.clock.time += timedelta(minutes=1)
        await client.post("/api/worklist/1.2.7/feedback", json=word(verdict="corrected", instead="  pleural   effusion "))
    async with web.client("Dr Ada") as client:
        pictures = (await client.post("/api/worklist/1.2.7/feedback", json=word(verdict="disagree"))).json()["pictures"]

    said = [(one["reader"], one["verdict"], one["instead"]) for one in pictures[1]["findings"][0]["said"]]
    assert said == [("Dr Weber", "corrected", "pleural effusion"), ("Dr Ada", "disagree", None)]
    assert pictures[0]["findings"][0]["said"] == []
    kept = await web.feedback.of_study("1.2.7")
    assert [(one.verdict, one.probability, one.head) for one in kept[:2]] == [
        ("agree", 0.9, "chest_frontal"),
        ("corrected", 0.9, "chest_frontal"),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (word(picture="1.2.7.9"), 400),
        (word(finding="nodule"), 400),
        (word(verdict="maybe"), 400),
        (word(instead="effusion"), 400),
        (word(verdict="corrected"), 400),
        (word(verdict="corrected", instead="x" * 121), 400),
        ({"picture": "1.2.7.1"}, 400),
    ],
)
async def test_what_cannot_be_meant_is_refused(web: Web, body: dict[str, object], status: int) -> None:
    """With words; nothing is kept."""
    async with web.client() as client:
        answer = await client.post("/api/worklist/1.2.7/feedback", json=body)

    assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)
    assert await web.feedback.of_study("1.2.7") == []


async def test_a_word_needs_a_name_and_a_study(web: Web) -> None:
    """401 and 404."""
    async with web.client(None) as client:
        assert (await client.post("/api/worklist/1.2.7/feedback", json=word())).status_code == 401
    async with web.client() as client:
        assert (await client.post("/api/worklist/9.9/feedback", json=word())).status_code == 404
