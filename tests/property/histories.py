"""Hypothesis strategies for the events of a patient: few keys, codes and times, so that they collide, supersede and evict one another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.codes import Coding
from schemas.events import (
    AdtEvent,
    AnyEvent,
    Appointment,
    Demographics,
    FindingEvent,
    ImagingEvent,
    Observation,
    ObservationEvent,
    OrderEvent,
    Rejection,
    ReportEvent,
)
from schemas.findings import ImageAssessment, ImageFinding
from schemas.time import Timestamp

START = datetime(2026, 3, 1, tzinfo=UTC)
PATIENT = "p" * 32
CODES = (("2823-3", "mmol/L", 4.0), ("8867-4", "/min", 80.0), ("99999-9", "mg/dL", 1.0), (None, "U", 2.0))
"""potassium, heart rate, one outside the catalogue, one without a code"""

REJECTIONS = (Rejection(code="113001", instances=("i1",)), Rejection(code="113037", instances=("i1", "i2")))

times = st.one_of(*[st.integers(0, 40)] * 3, st.integers(0, 150)).map(lambda step: START + timedelta(hours=2 * step))
ids = st.uuids(version=4).map(str)


@st.composite
def observations(draw: st.DrawFn, recorded_at: datetime) -> Observation:
    """A key names one code; only corrections and retractions leave it out, and only corrections change the time."""
    number = draw(st.integers(0, 27))
    loinc, unit, value = CODES[number % 4]
    status = draw(st.sampled_from(("final", "final", "final", "preliminary", "corrected", "deleted")))
    effective = START + timedelta(hours=3 * number)
    if status in ("corrected", "deleted") and draw(st.booleans()):
        loinc = None
    if status == "corrected" and draw(st.booleans()):
        effective = draw(times)
    misfit: dict[str, Any] = draw(st.sampled_from(({}, {}, {}, {"value": None}, {"unit": "furlong"}, {"value": 1e9})))
    fields = {
        "value": value + draw(st.integers(0, 5)),
        "unit": unit,
        "flag": draw(st.sampled_from((None, None, "H", "HH", "AA"))),
        **misfit,
    }
    return Observation(
        key=f"k{number}", effective=Timestamp(effective), status=status, loinc=loinc, local=Coding(f"local-{number % 4}"), **fields
    )


@st.composite
def observation_events(draw: st.DrawFn, patient: str = PATIENT) -> ObservationEvent:
    """One to four observations in a message."""
    recorded_at = draw(times)
    return ObservationEvent(
        event_id=draw(ids),
        patient=patient,
        source="lab",
        recorded_at=recorded_at,
        observations=draw(st.lists(observations(recorded_at), min_size=1, max_size=4)),
    )


def _maybe(*values: object) -> st.SearchStrategy[Any]:
    return st.sampled_from((None, *values))


demographics = st.builds(Demographics, age=_maybe(40.0, 41.0), sex=st.sampled_from(("U", "F", "M")))


def _common(patient: str) -> dict[str, st.SearchStrategy[Any]]:
    return {"event_id": ids, "patient": st.just(patient), "source": st.sampled_from(("a", "b")), "recorded_at": times}


def imaging_events(patient: str = PATIENT, prefix: str = "s", studies: int = 11) -> st.SearchStrategy[ImagingEvent]:
    """Images and completions of a few studies, and rejection notes on their images."""
    return st.builds(
        ImagingEvent,
        **_common(patient),
        kind=st.sampled_from(("instance", "instance", "complete")),
        study_uid=st.integers(1, studies).map(lambda number: f"{prefix}{number}"),
        acquired=times.map(Timestamp),
        modality=_maybe("CT", "DX", "SR"),
        body_part=_maybe("CHEST", "HEAD"),
        accession=_maybe("acc1", "acc2"),
        order=_maybe("o1", "o2"),
        priority=_maybe("stat", "routine"),
        instances=st.integers(0, 5),
        conflict=st.booleans(),
        demographics=demographics,
        sop_uid=_maybe("i1", "i2", "i3"),
        uri=_maybe("u1", "u2", "u3"),
        rejection=st.sampled_from((None,) * 8 + REJECTIONS),
    )


def finding_events(patient: str = PATIENT, prefix: str = "s") -> st.SearchStrategy[FindingEvent]:
    """What a head says of a picture, or that it refuses it."""
    found = ImageFinding(code="pneumonia", label="pneumonia", probability=0.9, prevalence=0.5, ranks=True)
    answers = [
        ImageAssessment(head="chest_frontal", version="1", at=START, findings=(found,)),
        ImageAssessment(head="chest_frontal", version="1", at=START, findings=(replace(found, probability=0.2),)),
        ImageAssessment(head="chest_frontal", version="1", at=START, refused="colour"),
        ImageAssessment(head="hand", version="1", at=START, findings=(replace(found, probability=0.5),)),
    ]
    return st.builds(
        FindingEvent,
        **_common(patient),
        study_uid=st.integers(1, 3).map(lambda number: f"{prefix}{number}"),
        uri=st.sampled_from(("u1", "u2", "u3", "u4")),
        image=st.sampled_from(answers),
    )


def order_events(patient: str = PATIENT, prefix: str = "s") -> st.SearchStrategy[OrderEvent]:
    """Orders placed, changed and cancelled."""
    return st.builds(
        OrderEvent,
        **_common(patient),
        control=st.sampled_from(("new", "change", "cancel", "complete")),
        order=st.sampled_from(("o1", "o2", "o3", "acc1")),
        accession=_maybe("acc1", "acc2"),
        study_uid=_maybe(f"{prefix}1", f"{prefix}2"),
        priority=_maybe("stat", "routine"),
        requested=_maybe(Timestamp(START), Timestamp(START + timedelta(days=9))),
        modality=_maybe("CT", "DX"),
        body_part=_maybe("chest", "HEAD"),
        patient_class=_maybe("E", "I"),
        demographics=demographics,
    )


def report_events(patient: str = PATIENT, prefix: str = "s") -> st.SearchStrategy[ReportEvent]:
    """Reports, preliminary to withdrawn."""
    return st.builds(
        ReportEvent,
        **_common(patient),
        report=st.sampled_from(("r1", "r2", "r3")),
        status=st.sampled_from(("preliminary", "final", "corrected", "addendum", "cancelled")),
        issued=times.map(Timestamp),
        study_uid=_maybe(f"{prefix}1", f"{prefix}3"),
        accession=_maybe("acc1", "acc2"),
        order=_maybe("o1", "o3"),
        text=_maybe("No pneumothorax.", "Pneumothorax.", "Possible pneumonia. No effusion.", "Normal.", "See images."),
    )


def adt_events(patient: str = PATIENT) -> st.SearchStrategy[AdtEvent]:
    """Admissions, transfers, discharges and their cancellation."""
    return st.builds(
        AdtEvent,
        **_common(patient),
        trigger=st.sampled_from(("A01", "A02", "A03", "A04", "A08", "A11", "A12", "A13")),
        occurred=times.map(Timestamp),
        patient_class=_maybe("E", "I"),
        location=_maybe("ICU", "ED"),
        discharged=st.booleans(),
        demographics=demographics,
        arrived=st.none() | times.map(Timestamp),
    )


def appointment_events(patient: str = PATIENT) -> st.SearchStrategy[AdtEvent]:
    """Clinic appointments booked, moved and taken back, more of them than a window keeps."""
    return st.builds(
        AdtEvent,
        **_common(patient),
        trigger=st.just("S14"),
        occurred=times.map(Timestamp),
        appointment=st.builds(
            Appointment,
            key=st.integers(1, 20).map(lambda number: f"visit{number}"),
            at=st.none() | times,
            order=_maybe("o1", "o9"),
            accession=_maybe("acc1", "acc2"),
        ),
    )


def events(patient: str = PATIENT, prefix: str = "s") -> st.SearchStrategy[AnyEvent]:
    """Any event of a patient, observations most often."""
    seen = observation_events(patient)
    told = (imaging_events(patient, prefix), order_events(patient, prefix), report_events(patient, prefix), finding_events(patient, prefix))
    return st.one_of(seen, seen, *told, adt_events(patient), appointment_events(patient))
