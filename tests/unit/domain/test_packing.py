"""How large a window gets."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.domain.catalogue import OBSERVABLES, Observable
from pipeline.domain.packing import SIZE_TARGET, pack, unpack
from pipeline.domain.window import derive
from schemas.codes import Coding
from schemas.events import AnyEvent, Demographics, ImagingEvent, Observation, ObservationEvent, OrderEvent, ReportEvent
from schemas.time import Timestamp

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
VITALS = [observable for observable in OBSERVABLES.values() if observable.kind == "vital"]
LABS = [observable for observable in OBSERVABLES.values() if observable.kind == "lab"]
WORST = 24 * 1024

_random = random.Random(1)


def unique() -> str:
    return str(uuid.UUID(int=_random.getrandbits(128), version=4))


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
    accession, order, report, uid = pseudonym(), pseudonym(), pseudonym(), f"1.2.826.0.1.3680043.8.498.{_random.getrandbits(90)}"
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


@pytest.mark.parametrize("stay", [intensive_care, two_days])
def test_a_patient_in_intensive_care_fits_the_target(stay: Callable[[], list[AnyEvent]]) -> None:
    """All observables filled to the brim, tallies too, and two studies with order and report: at most 8 KiB."""
    history = [*stay(), *study(1, "worsening gas exchange, pneumothorax?"), *study(2, "line position")]

    assert len(pack(derive(history))) <= SIZE_TARGET


def test_no_patient_is_beyond_the_bound() -> None:
    """Every value in a message of its own, forty studies with long indications: the size does not grow with the history."""
    studies = [event for n in range(40) for event in study(n, "x" * 400)]
    few, many = derive([*one_by_one(), *studies[: 3 * 8]]), derive([*one_by_one(), *one_by_one(), *studies])

    assert max(len(pack(few)), len(pack(many))) <= WORST


def test_what_is_unpacked_shows_the_same() -> None:
    """Readings, studies, encounter and person."""
    window = derive([*intensive_care(), *study(1, "fall"), *study(2, "fall")])
    again = unpack(pack(window))

    assert (again.readings, again.studies, again.as_of) == (window.readings, window.studies, window.as_of)
    assert again.tallies == window.tallies != {}
    assert (again.encounter, again.age, again.sex) == (window.encounter, window.age, window.sex)
