"""How much each single reading moved the risk, as a reader meets it. The shipped model answers, or a small one that looks at a film."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Locator, expect

from pipeline.adapters.onnx.scorer import OnnxScorer
from pipeline.adapters.onnx.versions import in_process
from pipeline.adapters.pictures.films import KeptFilms
from pipeline.domain import features
from pipeline.domain.window import derive
from pipeline.services.assessing import request, view
from pipeline.services.attribution import RiskAttribution
from schemas.events import Demographics, FindingEvent, ImagingEvent, Observation, ObservationEvent
from schemas.findings import ImageAssessment
from schemas.time import Timestamp
from tests import small_version
from tests.e2e.department import Department, pseudonym, study_uid
from tests.e2e.live_server import LiveServer, SteeredClock
from tests.e2e.reading import Read, Reading, Serve
from tests.e2e.test_page_access import violations
from tests.unit.services.test_attribution_films import BRIGHT, Archive


@pytest.fixture
def scored(serve: Serve, clock: SteeredClock) -> LiveServer:
    """A page whose study 3 the shipped model has scored; the other scores are invented."""
    department = Department.busy(clock, 6)
    department.score(3)
    return serve(department)


def unfolded(reading: Reading, number: int) -> Locator:
    """Opens a study and asks for its single readings."""
    reading.row(number).click()
    risk = reading.page.locator("section[aria-label=Risk]")
    expect(risk.locator("table")).to_have_count(0)
    risk.get_by_text("Each reading").focus()
    reading.press("Enter")
    return risk


def test_each_reading_is_told_when_it_is_asked_for(read: Read, scored: LiveServer) -> None:
    """Nobody works it out before. Strongest first, with value, unit, time and age; drawn anew it stands."""
    reading = read(scored)
    asked = [path for path, _ in scored.faults.seen if path.endswith("/readings")]
    risk = unfolded(reading, 3)
    rows = risk.locator("table.readings tbody tr")
    expect(rows.first).to_be_visible()
    assert asked == []

    points = [float(text.replace("−", "-")) for text in rows.locator("td.num").all_inner_texts()]
    assert len(points) > 5
    assert [abs(one) for one in points] == sorted((abs(one) for one in points), reverse=True)
    expect(rows.first).to_contain_text(re.compile(r"RR\s18\.4\s/min\s*11:24 2 min old\s*−0\.7"))
    expect(rows.filter(has_text="older, together").first).to_contain_text("since")
    expect(risk).to_contain_text("so these need not add up")
    expect(risk).to_contain_text(re.compile(r"\d+ further readings moved it by less than 0.1"))
    assert violations(reading) == []
    assert reading.sideways() == 0

    reading.press("a")  # draws the study anew
    expect(reading.page.get_by_role("button", name="Acknowledged")).to_be_disabled()
    expect(rows.first).to_be_visible()
    assert len([path for path, _ in scored.faults.seen if path.endswith("/readings")]) == 1
    reading.press("j")  # another study has none of it
    expect(reading.page.locator("#detail h2").first).not_to_contain_text("Berger")
    expect(risk.locator("table")).to_have_count(0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_version": "904"}, "version of the model that gave this score is not on this server"),
        ({"model_version": "2"}, "cannot be reproduced from the facts that are kept"),
    ],
)
def test_what_cannot_be_told_is_said(read: Read, scored: LiveServer, changes: dict[str, Any], words: str) -> None:
    """In a sentence, where the readings would stand."""
    known = scored.department.worklist.rows[study_uid(1)].listed.item.risk
    assert known is not None
    scored.happen(lambda: scored.department.change(1, "scored", risk=msgspec.structs.replace(known, **changes)))
    reading = read(scored)
    risk = unfolded(reading, 1)

    expect(risk).to_contain_text(words)
    expect(risk.locator("table")).to_have_count(0)
    assert violations(reading) == []


def test_age_alone_is_no_reading(read: Read, serve: Serve, clock: SteeredClock) -> None:
    """A patient of whom nothing was measured: a sentence stands where the list would."""
    department = Department.empty(clock)
    made = department.arrive(3, facts=False)
    person = Demographics(age=71.0, sex="F")
    image = ImagingEvent(
        event_id="i", patient=made.patient, source="CT1", recorded_at=clock.now(), study_uid=study_uid(3), acquired=Timestamp(clock.now()),
        modality="DX", demographics=person,
    )  # fmt: skip
    department.learn([image])
    department.score(3)
    risk = unfolded(read(serve(department)), 3)

    expect(risk).to_contain_text("None of what moved it is a reading.")
    expect(risk.locator("table")).to_have_count(0)


def test_values_that_came_since_are_counted(read: Read, scored: LiveServer) -> None:
    """The score stays what it was until the model has answered again."""
    department, now = scored.department, scored.department.clock.now()
    lactate = Observation(key="new", effective=Timestamp(now), loinc="2524-7", value=9.0, unit="mmol/L")
    event = ObservationEvent(event_id="new", patient=pseudonym(3), source="LIS", recorded_at=now, observations=[lactate])
    scored.happen(lambda: department.learn([event]))
    risk = unfolded(read(scored), 3)

    expect(risk).to_contain_text("1 value came since this score.")
    expect(risk.locator("table.readings")).not_to_contain_text("Lactate\u00a09")


@pytest.fixture
def archive() -> Archive:
    """Of the page's films."""
    return Archive()


@pytest.fixture
def looked(clock: SteeredClock, tmp_path: Path, archive: Archive) -> Iterator[LiveServer]:
    """Study 3 was scored by a version that looked at its film, and reads a potassium."""
    department, version = Department.empty(clock), small_version.write(tmp_path, "903")
    made, now = department.arrive(3, facts=False), clock.now()
    said = ImageAssessment(head="chest_frontal", version="1", at=now, scorer="triton", unlikeness=0.2)
    told: dict[str, Any] = {"patient": made.patient, "recorded_at": now}
    measured = Observation(key="k", effective=Timestamp(now), loinc="2823-3", value=7.2, unit="mmol/L")
    events = [
        ImagingEvent(event_id="i", source="DX1", study_uid=study_uid(3), acquired=Timestamp(now), modality="DX", **told),
        FindingEvent(event_id="f", source="pictures", study_uid=study_uid(3), uri=BRIGHT, image=said, **told),
        ObservationEvent(event_id="o", source="LIS", observations=[measured], **told),
    ]
    department.learn(events)
    window = derive(events)
    asked = request(made.patient, 1, view(window, window.open_studies, lambda *_: [], features.extract), now, None)
    scorer_of = in_process({"903": version}.__getitem__, clock, KeptFilms(archive), within_s=0.2)
    with LiveServer(department, attribution=RiskAttribution(department.worklist, scorer_of)).running() as server:
        (risk,) = server.ask(OnnxScorer(clock, lambda: version, KeptFilms(Archive())).score([asked]))
        server.happen(lambda: department.change(3, "scored", risk=risk, as_of=window.as_of))
        yield server


def test_readings_beside_a_film(looked: LiveServer, read: Read, archive: Archive) -> None:
    """Asked before the film is read again, it says so, and tells them when one asks anew."""
    archive.open.clear()
    reading = read(looked)
    risk = unfolded(reading, 3)
    expect(risk).to_contain_text("has not been read again yet; try again in a moment")
    expect(risk).to_contain_text("chest film")

    looked.happen(archive.open.set)
    fold = risk.get_by_text("Each reading")
    fold.click()
    fold.click()
    expect(risk.locator("table.readings tbody tr")).to_have_count(1)
    expect(risk.locator("table.readings")).to_contain_text("K\u00a07.2\u00a0mmol/L")
    expect(risk).to_contain_text("and so does the chest film")
    expect(risk).to_contain_text("That it was measured at all counts too")
    assert violations(reading) == []


def test_a_film_that_is_gone_from_the_archive_is_said(looked: LiveServer, read: Read, archive: Archive) -> None:
    """In a sentence, where the readings would stand; what the film itself did stands above as before."""
    archive.refused[BRIGHT] = "gone"
    risk = unfolded(read(looked), 3)

    expect(risk).to_contain_text("is not in the picture archive any more")
    expect(risk.locator("table")).to_have_count(0)
    expect(risk.locator(".contrib")).to_contain_text("chest film")
