"""What a window keeps, lets go and shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from pipeline.domain.window import PICTURES_FOLDED, Window, derive
from schemas.codes import Coding
from schemas.events import AdtEvent, AnyEvent, Appointment, Demographics, FindingEvent, ImagingEvent, Observation, ObservationEvent
from schemas.findings import ImageAssessment, ImageFinding
from schemas.time import Timestamp

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def seen(key: str, value: float | None, hours: float, known: float | None = None, **fields: Any) -> ObservationEvent:
    """A potassium, unless told otherwise; known: when it was learned, at once if not given."""
    fields = {"loinc": "2823-3", "unit": "mmol/L", **fields}
    recorded_at = at(hours if known is None else known)
    observation = Observation(key=key, effective=Timestamp(at(hours)), value=value, **fields)
    return ObservationEvent(
        event_id=f"{key}-{known}-{value}", patient="p", source="lab", recorded_at=recorded_at, observations=[observation]
    )


def moved(trigger: str, hours: float, known: float | None = None, **fields: Any) -> AdtEvent:
    recorded_at = at(hours if known is None else known)
    return AdtEvent(
        event_id=f"{trigger}{hours}",
        patient="p",
        source="adt",
        recorded_at=recorded_at,
        trigger=trigger,
        occurred=Timestamp(at(hours)),
        **fields,
    )


def image(number: int, hours: float) -> ImagingEvent:
    return ImagingEvent(
        event_id=f"i{number}", patient="p", source="ct", recorded_at=at(hours), study_uid=f"1.{number:03}", acquired=Timestamp(at(hours))
    )


def potassium(*events: AnyEvent) -> list[float]:
    return [reading.value for reading in derive(events).readings.get("potassium", [])]


def test_the_newest_by_specimen_time_stay() -> None:
    """Four laboratory values, in the order in which they were true, whenever they became known."""
    events = [seen(f"k{n}", float(n), n, known=20 - n) for n in range(1, 7)]

    assert potassium(*events) == [3.0, 4.0, 5.0, 6.0]


def test_a_correction_takes_the_place_of_the_value() -> None:
    """In place, with the corrected value; an older statement that comes late changes nothing."""
    first, corrected = seen("k", 6.8, 1), seen("k", 4.1, 1, known=2, status="corrected")

    assert potassium(first, corrected) == potassium(corrected, first) == [4.1]


def test_a_retraction_brings_back_what_had_made_way() -> None:
    """The window is as if the retracted value had never come; one event at a time it says that it has to be derived anew."""
    events = [seen(f"k{n}", float(n), n) for n in range(1, 6)]
    retraction = seen("k5", None, 5, known=9, status="deleted")
    window = Window.derive(events)

    assert window.apply(retraction) is False
    assert potassium(*events, retraction) == [1.0, 2.0, 3.0, 4.0]


def test_a_retraction_that_comes_first_holds() -> None:
    """The late original does not come back to life."""
    window = Window()
    assert window.apply(seen("k", None, 1, known=2, status="deleted", loinc=None))
    assert window.apply(seen("k", 6.8, 1))

    assert window.readings == {}


def test_a_plain_value_in_order_never_needs_a_rebuild() -> None:
    """A thousand vital signs, one after the other."""
    window = Window()

    assert all(window.apply(seen(f"k{n}", 4.0, n / 60)) for n in range(1000))
    assert len(window.readings["potassium"]) == 4


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"loinc": None}, "no-code"),
        ({"loinc": "99999-9"}, "not-in-catalogue"),
        ({"value": None}, "no-value"),
        ({"unit": "mg/dL"}, "other-unit"),
        ({"value": 400.0}, "out-of-range"),
        ({"status": "deleted"}, "retracted"),
        ({"hours": 49.0}, "future-time"),
    ],
)
def test_what_is_no_reading_is_counted(fields: dict[str, Any], reason: str) -> None:
    """With its reason; it is not in the window, and does not move the window's time."""
    window = derive([seen(**{"key": "k", "value": 4.0, "hours": 0.0, "known": 0.0, **fields})])

    assert (window.readings, window.as_of, dict(window.unmapped)) == ({}, at(0), {reason: 1})


def test_old_values_expire() -> None:
    """Seven days before the newest time that the events know of."""
    assert potassium(seen("a", 4.0, 0), seen("b", 5.0, 24 * 7)) == [4.0, 5.0]
    assert potassium(seen("a", 4.0, 0), seen("b", 5.0, 24 * 7 + 1)) == [5.0]


def test_a_clock_that_is_a_little_ahead_is_believed() -> None:
    """A reading later than its own receipt moves the window's time, so that it counts."""
    assert derive([seen("a", 4.0, 1, known=0)]).as_of == at(1)


def test_critical_marks_outside_the_catalogue_are_kept() -> None:
    """With the source's own words; the retracted one goes."""
    marked = {"loinc": None, "local": Coding("AMY", display="Amylase"), "unit": None, "unit_text": "U/L", "flag": "HH"}
    window = derive([seen("a", 900.0, 1, **marked), seen("b", 800.0, 2, **marked), seen("b", None, 2, known=3, status="deleted", **marked)])

    assert [(flag.code, flag.label, flag.value, flag.flag) for flag in window.flags] == [("AMY", "Amylase", "900 U/L", "HH")]


def test_a_critical_mark_is_taken_back_by_a_newer_result_without_one() -> None:
    """Of the same code, outside the catalogue or, once its unit is right, inside it; not of another code."""
    amylase = {"loinc": None, "local": Coding("AMY"), "unit": None}
    marked = seen("a", 900.0, 1, **amylase, flag="HH")
    other = seen("x", 1.0, 2, **{**amylase, "local": Coding("CK")})

    assert len(derive([marked, other]).flags) == 1
    assert derive([marked, other, seen("b", 80.0, 2, **amylase)]).flags == []
    strange = seen("k", 6.9, 1, unit="meq", flag="HH")
    assert (len(derive([strange]).flags), derive([strange, seen("k2", 4.0, 2)]).flags) == (1, [])


def test_the_encounter_follows_occurrence_and_cancellations() -> None:
    """A transfer that is cancelled did not happen; words that are missing stay as they were."""
    admitted = moved("A01", 0, patient_class="E", location="ED")
    transferred = moved("A02", 2, location="ICU")
    late = moved("A08", 1, known=5, patient_class="I")

    assert derive([admitted, transferred, late]).encounter.location == "ICU"
    assert derive([admitted, transferred, late]).encounter.patient_class == "I"
    assert derive([admitted, transferred, moved("A12", 3, kind="cancel")]).encounter.location == "ED"


def door(*events: AnyEvent) -> datetime | None:
    found = derive(events).encounter.door
    return found.at if found else None


def test_the_door_is_that_of_the_emergency_department() -> None:
    """When the patient came, as PV1-44 or the registration says; through transfers, until the patient has left and comes again."""
    came = moved("A04", 0, known=0.2, patient_class="E", arrived=Timestamp(at(-0.5)))
    to_ward, left = moved("A02", 3, patient_class="I"), moved("A03", 5, discharged=True)

    assert door(moved("A04", 0, patient_class="E")) == at(0)
    assert door(came, to_ward, left) == at(-0.5)
    assert derive([came, moved("A08", 1, patient_class="E", arrived=Timestamp(at(-0.5)))]).encounter.door.event_id == came.event_id  # type: ignore[union-attr]
    assert door(came, left, moved("A01", 40, patient_class="I")) is None
    assert door(came, left, moved("A04", 40, patient_class="E")) == at(40)
    assert door(moved("A01", 0, patient_class="I")) is None
    assert door(came, moved("A11", 1, kind="cancel")) is None, "A11 takes back an A04 too"


@pytest.mark.parametrize("said", [Timestamp(at(-3), precision="day"), Timestamp(at(30))])
def test_a_day_or_a_future_is_no_time_of_arrival(said: Timestamp) -> None:
    """Midnight would press where nobody knows the hour."""
    assert door(moved("A08", 0, patient_class="E", arrived=said)) is None


def visit(name: str, hours: float | None, known: float, **fields: Any) -> AdtEvent:
    booked = Appointment(key=name, at=None if hours is None else at(hours), **fields)
    return moved("S12", known, appointment=booked)


def appointment(*events: AnyEvent) -> datetime | None:
    [study] = derive([image(1, 0), *events]).studies
    return study.appointment.at if study.appointment else None


def test_the_next_appointment_after_the_images_counts() -> None:
    """Booked, moved, taken back, whatever comes first; one before the images was perhaps for them."""
    assert appointment(visit("a", 4, 1), visit("b", 2, 1.5), visit("c", -1, 1.7)) == at(2)
    assert appointment(visit("a", 4, 1), visit("a", 9, 2)) == appointment(visit("a", 9, 2), visit("a", 4, 1)) == at(9)
    assert appointment(visit("a", None, 2), visit("a", 4, 1)) is None


def test_an_appointment_about_an_order_concerns_its_study_alone() -> None:
    """One about an order that is none of these studies' is a visit like any other."""
    events = [image(1, 0), image(2, 0)]
    ordered = [msgspec.structs.replace(event, order=f"o{number}") for number, event in enumerate(events, 1)]

    def told(order: str) -> list[bool]:
        return [study.appointment is not None for study in derive([*ordered, visit("a", 4, 1, order=order)]).studies]

    assert (told("o2"), told("o9")) == ([False, True], [True, True])


def test_a_settled_window_takes_appointments_and_arrivals() -> None:
    """Without deriving anew, as the other movements."""
    window = derive([image(n, n) for n in range(20)])

    assert window.apply(visit("a", 90, 21)) and window.apply(moved("A04", 21.5, patient_class="E"))
    assert all(study.appointment and study.door for study in window.studies)


def test_age_and_sex_are_the_newest_that_are_known() -> None:
    """An unknown sex or age does not overwrite."""
    window = derive([moved("A01", 0, demographics=Demographics(70.0, "F")), moved("A02", 1, demographics=Demographics(71.0))])

    assert (window.age, window.sex) == (71.0, "F")


def test_a_study_shows_the_patients_place_where_nothing_nearer_names_one() -> None:
    """Class and location come from the encounter as it is now."""
    [study] = derive([image(1, 0), moved("A01", -1, patient_class="E", location="ED")]).studies

    assert (study.patient_class, study.location) == ("E", "ED")


def test_open_studies_are_bounded_and_news_of_them_means_deriving_anew() -> None:
    """Of many studies the newest stay; vital signs go on one by one."""
    window = derive([image(n, n) for n in range(40)])

    assert [study.study_uid for study in window.studies] == [f"1.{n:03}" for n in range(28, 40)]
    assert window.apply(seen("k", 4.0, 50))
    assert window.apply(image(50, 51)) is False


def test_a_merge_is_no_content() -> None:
    """It says who the patient is, not how."""
    assert derive([moved("A40", 0, kind="merge", retired="a", survivor="p")]).as_of is None


def looked_at(picture: int, probability: float, hours: float) -> FindingEvent:
    """A head's word on one picture of the study 1.001."""
    found = ImageFinding(code="pneumonia", label="pneumonia", probability=probability, prevalence=0.5, ranks=True)
    said = ImageAssessment(head="chest_frontal", version="1", at=at(hours), findings=(found,))
    return FindingEvent(
        event_id=f"f{picture}-{hours}",
        patient="p",
        source="pictures",
        recorded_at=at(hours),
        study_uid="1.001",
        uri=str(picture),
        image=said,
    )


def test_more_pictures_than_a_window_carries_are_derived_anew() -> None:
    """Their outcome stays; what is said of one of them later asks for the history, and comes out as from the whole of it."""
    pictures = [image(1, 0), *(looked_at(n, 0.9 - 0.05 * n, n) for n in range(PICTURES_FOLDED))]
    window = derive(pictures)
    assert window.apply(looked_at(0, 0.1, 20)) and window.studies[0].image.findings[0].probability == pytest.approx(0.85)  # type: ignore[union-attr]
    one_more = looked_at(99, 0.2, 21)
    assert not window.apply(one_more)
    again = derive([*pictures, looked_at(0, 0.1, 20), one_more])
    assert again.settled and again.studies == window.studies
    assert not again.apply(looked_at(1, 0.1, 22))


def test_the_newest_film_whatever_the_order() -> None:
    """Of the newest study by its time of acquisition, the one that came last; none refused, none older than a week."""
    studies = [image(1, 0), image(2, 1), image(3, -24 * 8)]
    told = [(1, "a", 3.0, None), (2, "b", 1.0, None), (2, "c", 2.0, None), (2, "d", 4.0, "colour"), (3, "e", 5.0, None)]
    films = [
        FindingEvent(
            event_id=uri,
            patient="p",
            source="pictures",
            recorded_at=at(hours),
            study_uid=f"1.{number:03}",
            uri=uri,
            image=ImageAssessment(head="chest_frontal", version="1", at=at(hours), refused=refused),
        )
        for number, uri, hours, refused in told
    ]
    events: list[AnyEvent] = [*studies, *films]
    for turn in range(len(events)):
        window = derive(())
        for event in (*events[turn:], *reversed(events[:turn])):
            assert window.apply(event)
        assert window.picture == "c"
    assert derive([*studies, films[-1]]).picture is None, "too old"
