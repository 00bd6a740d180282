"""A patient's facts on one axis."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from pipeline.worklist.timeline import timeline
from schemas.codes import Coding, ObservationStatus
from schemas.events import AdtEvent, ImagingEvent, Observation, ObservationEvent, OrderEvent, Rejection, ReportEvent
from schemas.time import Timestamp
from tests.unit.worklist.web import NOW

POTASSIUM = "2823-3"


def at(minutes: int) -> Timestamp:
    """Minutes before now."""
    return Timestamp(NOW - timedelta(minutes=minutes))


def measured(
    key: str, value: float | None, taken: int, told: int, status: ObservationStatus = "final", loinc: str = POTASSIUM
) -> ObservationEvent:
    """One potassium, taken and told so many minutes ago."""
    observation = Observation(key=key, effective=at(taken), status=status, loinc=loinc, value=value, unit="mmol/L")
    return ObservationEvent(event_id=f"{key}{told}", patient="p", source="LIS", recorded_at=at(told).utc, observations=[observation])


def values(*events: ObservationEvent) -> list[float]:
    """The values on the axis, oldest first."""
    return [point["value"] for series in timeline(events)["series"] for point in series["points"]]


def test_points_stand_where_they_were_true() -> None:
    """Not where they were told: a late result goes into its place."""
    assert values(measured("a", 5.0, 10, 9), measured("b", 4.0, 60, 1)) == [4.0, 5.0]


def test_a_date_alone_is_said() -> None:
    """Its point stands at the start of the day; nobody measured at midnight."""
    event = measured("a", 5.0, 10, 9)
    told = msgspec.structs.replace(event.observations[0], effective=Timestamp(NOW, "20260301", "day"))
    ((point,),) = (series["points"] for series in timeline([msgspec.structs.replace(event, observations=[told])])["series"])

    assert point["when"] == "2026-03-01"


def test_a_correction_takes_the_place_of_what_it_corrects() -> None:
    """Whatever order the facts come in."""
    first, corrected = measured("a", 6.8, 30, 20), measured("a", 4.8, 30, 10, "corrected")
    assert values(first, corrected) == values(corrected, first) == [4.8]


def test_a_retracted_value_is_gone_and_counted() -> None:
    """It does not look like a measurement that was never made."""
    shown = timeline([measured("a", 6.8, 30, 20), measured("a", None, 30, 10, "deleted")])
    assert (shown["series"], shown["retracted"]) == ([], 1)


def test_what_is_not_in_the_catalogue_is_left_out() -> None:
    """Only what triage reads has a chart."""
    assert values(measured("a", 1.0, 1, 1, loinc="99999-9")) == []


def test_everything_else_is_a_mark() -> None:
    """Orders, images (one mark a study, at its first), reports, movements; oldest first."""
    base = {"patient": "p", "source": "s", "recorded_at": NOW}
    shown = timeline(
        [
            ReportEvent(event_id="4", report="r", status="final", issued=at(1), **base),
            ImagingEvent(event_id="2", study_uid="1.2", acquired=at(20), modality="CT", study_description="CT Head", **base),
            ImagingEvent(event_id="3", study_uid="1.2", acquired=at(25), modality="CT", study_description="CT Head", **base),
            OrderEvent(event_id="1", control="new", order="o", requested=at(60), procedure=Coding("X", None, "CT Head"), **base),
            AdtEvent(event_id="0", trigger="A01", occurred=at(90), location="ED", **base),
        ]
    )
    assert [(mark["kind"], mark["label"]) for mark in shown["marks"]] == [
        ("adt", "admitted ED"),
        ("order", "order new: CT Head"),
        ("image", "CT Head"),
        ("report", "final report"),
    ]
    assert shown["marks"][2]["at"] == at(25).utc


def test_a_rejection_note_is_no_image_of_its_study() -> None:
    """A mark of its own, when it came; the study's own stands where its images do. A note on other studies says nothing of this one."""
    base = {"patient": "p", "source": "s", "study_uid": "1.2"}
    notes = (Rejection(code="113001", instances=("1.2.3", "1.2.4")), Rejection(code="113001"))
    told = [ImagingEvent(event_id=str(n), recorded_at=at(5).utc, acquired=at(50), rejection=note, **base) for n, note in enumerate(notes)]
    shown = timeline([*told, ImagingEvent(event_id="i", recorded_at=NOW, acquired=at(20), modality="DX", **base)])

    assert [(mark["at"], mark["label"]) for mark in shown["marks"]] == [
        (at(20).utc, "DX"),
        (at(5).utc, "2 images rejected for quality reasons"),
    ]
