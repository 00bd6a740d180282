"""How large a window gets."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.domain.catalogue import OBSERVABLES, Observable
from pipeline.domain.evidence import gather
from pipeline.domain.explanation import why
from pipeline.domain.packing import SIZE_TARGET, pack, unpack
from pipeline.domain.window import derive
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
    ReportEvent,
)
from schemas.findings import Activation, ImageAssessment, ImageFinding
from schemas.time import Timestamp
from schemas.worklist import Reason

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
VITALS = [observable for observable in OBSERVABLES.values() if observable.kind == "vital"]
LABS = [observable for observable in OBSERVABLES.values() if observable.kind == "lab"]
WORST = 24 * 1024
MAP = Activation(side=7, peak=6.401, levels=bytes(range(49)))

_random = random.Random(1)


def unique() -> str:
    return str(uuid.UUID(int=_random.getrandbits(128), version=4))


def made_uid() -> str:
    return f"1.2.826.0.1.3680043.8.498.{_random.getrandbits(90)}"


def pseudonym() -> str:
    return f"{_random.getrandbits(128):032x}"


def message(observables: Iterable[Observable], at: datetime, learned: datetime) -> ObservationEvent:
    observations = [
        Observation(
            key=f"{pseudonym()}|{o.loinc}|{at}",
            effective=Timestamp(at),
            loinc=o.loinc,
            unit=o.unit,
            value=round(_random.uniform(o.low, o.high), 2),
            flag="H",
        )
        for o in observables
    ]
    return ObservationEvent(event_id=unique(), patient="p", source="LAB", recorded_at=learned, observations=observations)


def intensive_care() -> list[AnyEvent]:
    """Every vital sign of the catalogue each quarter of an hour, every laboratory value each hour in four panels."""
    rounds = [message(VITALS, T0 + timedelta(minutes=15 * n), T0 + timedelta(minutes=15 * n, seconds=3)) for n in range(24)]
    panels = [message(LABS[k::4], T0 + timedelta(hours=n), T0 + timedelta(hours=n, minutes=40)) for n in range(6) for k in range(4)]
    return [*rounds, *panels]


def two_days() -> list[AnyEvent]:
    """Every vital sign each hour, every laboratory value each six hours."""
    rounds = [message(VITALS, T0 + timedelta(hours=n), T0 + timedelta(hours=n, seconds=3)) for n in range(48)]
    panels = [message(LABS[k::4], T0 + timedelta(hours=6 * n), T0 + timedelta(hours=6 * n, minutes=40)) for n in range(8) for k in range(4)]
    return [*rounds, *panels]


def one_by_one() -> list[AnyEvent]:
    """The same values, each in a message of its own, with microseconds everywhere."""
    moments = [T0 + timedelta(minutes=15 * n, microseconds=_random.randrange(10**6)) for n in range(24)]
    return [message([o], at, at + timedelta(microseconds=1)) for at in moments for o in OBSERVABLES.values()]


def study(number: int, indication: str) -> list[AnyEvent]:
    accession, order, report, uid = pseudonym(), pseudonym(), pseudonym(), made_uid()
    at = T0 + timedelta(hours=number)
    ordered = OrderEvent(
        event_id=unique(),
        patient="p",
        source="RIS",
        recorded_at=at,
        control="new",
        order=order,
        accession=accession,
        priority="urgent",
        priority_code="A",
        requested=Timestamp(at),
        procedure=Coding("CTCH", display="CT chest with contrast"),
        modality="CT",
        body_part="CHEST",
        indication=indication,
        patient_class="I",
        location="ICU-12",
        demographics=Demographics(70, "F"),
    )
    imaged = ImagingEvent(
        event_id=unique(),
        patient="p",
        source="CT1",
        recorded_at=at,
        study_uid=uid,
        acquired=Timestamp(at),
        modality="CT",
        study_description="CT CHEST W CONTRAST",
        accession=accession,
        order=order,
    )
    read = ReportEvent(
        event_id=unique(), patient="p", source="RIS", recorded_at=at, report=report, status="preliminary", issued=Timestamp(at), order=order
    )
    return [ordered, imaged, read]


def looked_at(imaged: ImagingEvent, activation: Activation | None) -> FindingEvent:
    """What the largest head says."""
    findings = tuple(
        ImageFinding(
            code=name,
            label="intensive care now or within 7 days (COVID-19)",
            probability=0.71234,
            prevalence=0.6337,
            activation=activation,
        )
        for name in ("pneumonia", "intensive-care-7d")
    )
    said = ImageAssessment(head="chest_frontal", version="1", at=T0, scorer="triton", findings=findings, unlikeness=0.812)
    return FindingEvent(
        event_id=unique(),
        patient="p",
        source="pictures",
        recorded_at=T0,
        study_uid=imaged.study_uid,
        uri=f"object:{imaged.study_uid}/{made_uid()}/{made_uid()}.dcm",
        image=said,
    )


@pytest.mark.parametrize("stay", [intensive_care, two_days])
def test_a_patient_in_intensive_care_fits_the_target(stay: Callable[[], list[AnyEvent]]) -> None:
    """All observables filled to the brim, tallies too, and two studies with order, report and image findings: at most 8 KiB."""
    studies = [*study(1, "worsening gas exchange, pneumothorax?"), *study(2, "line position")]
    history = [*stay(), *studies, *(looked_at(event, MAP) for event in studies if isinstance(event, ImagingEvent))]

    assert len(pack(derive(history))) <= SIZE_TARGET


def moves(number: int) -> list[AnyEvent]:
    """A transfer, and a clinic appointment of its own."""
    at = T0 + timedelta(hours=number)
    told: dict[str, Any] = {"patient": "p", "source": "ADT", "recorded_at": at, "occurred": Timestamp(at)}
    booked = Appointment(key=pseudonym(), at=at, order=pseudonym(), accession=pseudonym())
    return [
        AdtEvent(event_id=unique(), trigger="A02", patient_class="I", location=f"ICU {number}", arrived=Timestamp(T0), **told),
        AdtEvent(event_id=unique(), trigger="S12", appointment=booked, **told),
    ]


def test_movements_and_appointments_are_bounded() -> None:
    """A patient in intensive care with the most of them that a window keeps still fits."""
    history = [*intensive_care(), *study(1, "worsening gas exchange, pneumothorax?")]
    most, more = ([event for n in range(count) for event in moves(n)] for count in (8, 80))

    assert max(len(pack(derive([*history, *told]))) for told in (most, more)) <= SIZE_TARGET


def test_no_patient_is_beyond_the_bound() -> None:
    """Every value in a message of its own, forty studies with long indications: the size does not grow with the history."""
    studies = [event for n in range(40) for event in [*study(n, "x" * 400), *moves(n)]]
    few, many = derive([*one_by_one(), *studies[: 5 * 8]]), derive([*one_by_one(), *one_by_one(), *studies])

    assert max(len(pack(few)), len(pack(many))) <= WORST


def test_a_map_takes_no_room() -> None:
    """Where in the picture a finding comes from stays with its event."""
    imaged = [event for event in study(1, "fall") if isinstance(event, ImagingEvent)]
    bare, mapped = (derive([*imaged, *(looked_at(event, seen) for event in imaged)]) for seen in (None, MAP))

    assert len(pack(bare)) == len(pack(mapped)) < 1024
    assert mapped.studies[0].image is not None


def test_what_is_unpacked_shows_the_same() -> None:
    """Readings, studies, encounter and person."""
    fell = study(1, "fall")
    window = derive(
        [*intensive_care(), *fell, *(looked_at(event, MAP) for event in fell if isinstance(event, ImagingEvent)), *study(2, "fall")]
    )
    again = unpack(pack(window))

    assert (again.readings, again.studies, again.as_of) == (window.readings, window.studies, window.as_of)
    assert again.picture == window.picture is not None
    assert again.tallies == window.tallies != {}
    assert (again.encounter, again.age, again.sex) == (window.encounter, window.age, window.sex)


def test_a_settled_window_knows_its_film() -> None:
    """Too many studies to carry along as they were folded: packed or not, the newest film is known."""
    many = [event for number in range(12) for event in study(number, "fall")]
    looked = [looked_at(event, None) for event in many if isinstance(event, ImagingEvent)]
    window = derive([*many, *looked])
    assert window.settled
    assert window.picture == unpack(pack(window)).picture == looked[-1].uri


@pytest.mark.parametrize(
    ("uid", "uri"),
    [
        *(
            ("1.2.3", uri)
            for uri in ("object:1.2.3/1.2.4/1.2.5.dcm", "object:1.2.3/7/1.2.5~0a1b2c3d.dcm", "s3://films/1.dcm", "object:9/1/2.dcm")
        ),
        *((uid, f"object:{uid}/1.2.4/1.2.5.dcm") for uid in ("1.2/3", "1./2.3", "local-7", "7")),
    ],
)
def test_any_claim_check_comes_back(uid: str, uri: str) -> None:
    """As the store here gives it, a second version's, another store's, another study's; of a study whose UID is none, too."""
    imaged = next(event for event in study(1, "fall") if isinstance(event, ImagingEvent))
    window = derive([replace(imaged, study_uid=uid), replace(looked_at(imaged, None), study_uid=uid, uri=uri)])
    again = unpack(pack(window))
    assert (again.picture, again.studies) == (uri, window.studies)


def test_a_date_without_a_time_stays_one() -> None:
    """In the window, packed and unpacked, and in what a reader is told: no clock reading that nobody made."""
    day = Timestamp(T0 - timedelta(hours=12), "20260301", "day")
    potassium = Observation(key="k", effective=day, loinc="2823-3", value=6.8, unit="mmol/L")
    odd = Observation(key="x", effective=day, local=Coding("XYZ"), value_text="seen", flag="AA")
    event = ObservationEvent(event_id=unique(), patient="p", source="lab", recorded_at=T0, observations=[potassium, odd])
    window = derive([event])
    again = unpack(pack(window))

    assert (again.readings, again.flags) == (window.readings, window.flags)
    found = {one.kind: one for one in gather(window.readings, [], window.flags, T0, 60)}
    assert found["critical-lab"].label.startswith("K 6.8 mmol/L of 2026-03-01, critical")
    assert found["lab-flag"].label == "XYZ seen of 2026-03-01, very abnormal"
    reasons = [Reason(evidence=found["critical-lab"], minutes=30, binding=True)]
    assert why(reasons, T0, None) == "K 6.8 of 2026-03-01"
