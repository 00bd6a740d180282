"""How much single readings moved a risk, as the API tells it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from pipeline.domain.attribution import Effect
from pipeline.errors import NotFound
from pipeline.ports import Fact, Scorer
from pipeline.services.attribution import WORDS, Attribution, RiskAttribution, WhyNot
from pipeline.worklist.app import create_app
from pipeline.worklist.attribution import told
from schemas.assessments import AssessRequest, Contribution, Risk
from schemas.codec import encode
from schemas.events import Observation, ObservationEvent
from schemas.time import Timestamp
from tests.unit.worklist.web import NOW, Web, item


class ByPotassium:
    """A model of one input: 0.1 for each mmol/L of the newest potassium."""

    async def score(self, requests: Sequence[AssessRequest], *, look: bool = True) -> Sequence[Risk]:
        """As Scorer.score."""
        return [self.answer(one.features.values.get("potassium.last", 1.0)) for one in requests]

    def answer(self, value: float) -> Risk:
        named = Contribution("potassium", f"K {value}", 0.1 * value - 0.1, value)
        return Risk(scorer="onnxruntime", probability=0.1 * value, model="m", model_version="1", scored_at=NOW, contributions=[named])


def scorer_of(version: str) -> Scorer:
    if version != "1":
        raise NotFound(version)
    return ByPotassium()


def potassium(hours: float, value: float, when: str | None = None) -> ObservationEvent:
    at = NOW - timedelta(hours=hours)
    effective = Timestamp(at, when, "day") if when else Timestamp(at)
    seen = Observation(key=f"k{hours}", effective=effective, loinc="2823-3", value=value, unit="mmol/L")
    return ObservationEvent(event_id=f"e{hours}", patient="p7", source="LAB|HOSP", recorded_at=at, observations=[seen])


@pytest.fixture
def web() -> Web:
    """Study 7 was scored by two readings of potassium."""
    web = Web()
    events = [potassium(5, 4.0, "20260303"), potassium(1, 6.5)]
    web.context.add([Fact("p7", one.event_id, "lab", one.recorded_at, "labs", 0, at, encode(one)) for at, one in enumerate(events)], [])
    web.put(item(7, risk=ByPotassium().answer(6.5)))
    service = RiskAttribution(web.worklist, scorer_of)
    web.app = create_app(web.worklist, web.worklist, web.vault, web.clock, time_zone="Europe/Berlin", attribution=service)
    return web


async def test_the_readings_and_what_each_did(web: Web) -> None:
    """With unit and source, as people write them; an older one that says nothing by itself is there too."""
    async with web.client() as client:
        response = await client.get("/api/worklist/1.2.7/readings")
    body = response.json()

    assert response.headers["cache-control"] == "private, no-cache"
    assert {name: body[name] for name in ("why_not", "probability", "model_version", "newer", "film")} == {
        "why_not": None,
        "probability": 0.65,
        "model_version": "1",
        "newer": 0,
        "film": False,
    }
    assert datetime.fromisoformat(body["as_of"]) == NOW - timedelta(hours=1)
    newest, first = body["readings"]
    assert newest == {
        "code": "potassium",
        "label": "K",
        "unit": "mmol/L",
        "change": 0.25,
        "value": 6.5,
        "at": "2026-03-03T09:30:00Z",
        "when": None,
        "source": "LAB|HOSP",
        "older": None,
    }
    assert (first["value"], first["change"], first["when"]) == (4.0, 0.0, "2026-03-03")


async def test_nobody_is_revealed(web: Web) -> None:
    """Readers without a name see values as on the timeline, and the vault is not asked."""
    async with web.client(reader=None) as client:
        response = await client.get("/api/worklist/1.2.7/readings")

    assert response.status_code == 200
    assert "p7" not in response.text
    assert web.vault.audit == []


async def test_an_unknown_study_is_not_found(web: Web) -> None:
    """A problem document, as everywhere."""
    async with web.client() as client:
        response = await client.get("/api/worklist/9.9/readings")

    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(("version", "code"), [("2", "version"), ("1", "not-reproduced"), (None, "no-score")])
async def test_why_there_are_none(web: Web, version: str | None, code: WhyNot) -> None:
    """In words for a person; the study itself is shown all the same."""
    risk = Risk(scorer="triton", probability=0.3, model="m", model_version=version)
    web.put(item(7, risk=risk if version else None))
    async with web.client() as client:
        body = (await client.get("/api/worklist/1.2.7/readings")).json()

    assert (body["why_not"], body["readings"], body["as_of"]) == (WORDS[code], [], None)


class Failing(RiskAttribution):
    """Tells always the same."""

    why_not: WhyNot

    async def of_study(self, study_uid: str) -> Attribution:
        """As RiskAttribution.of_study."""
        return Attribution(why_not=self.why_not)


@pytest.mark.parametrize("why_not", ["busy", "film-late"])
async def test_what_may_be_asked_again_in_a_moment_is_refused(web: Web, why_not: WhyNot) -> None:
    """A problem document that says it, and when to come again; so the page may ask anew."""
    failing = Failing(web.worklist, scorer_of)
    failing.why_not = why_not
    web.app = create_app(web.worklist, web.worklist, web.vault, web.clock, time_zone="Europe/Berlin", attribution=failing)
    async with web.client() as client:
        refused = await client.get("/api/worklist/1.2.7/readings")

    assert (refused.status_code, refused.json()["detail"], refused.headers["retry-after"]) == (429, WORDS[why_not], "2")


def test_older_ones_are_told_together() -> None:
    """As a range, with their number."""
    found = Attribution([Effect(observable="gcs", change=-0.1, older=3, low=7.0, high=13.0, since=NOW)], 0.5, "1", NOW)
    (reading,) = told(found)["readings"]

    assert reading["older"] == {"count": 3, "low": 7.0, "high": 13.0, "since": NOW}
    assert (reading["label"], reading["unit"], reading["value"], reading["at"]) == ("GCS", "", None, None)
