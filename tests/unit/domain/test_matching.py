"""Studies, orders and reports find each other whichever came first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from pipeline.domain.window import derive
from schemas.assessments import StudyState
from schemas.events import AnyEvent, ImagingEvent, OrderEvent, ReportEvent
from schemas.findings import Reported
from schemas.time import Timestamp

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


def at(hours: float) -> datetime:
    return T0 + timedelta(hours=hours)


def image(hours: float = 1, study: str = "1.1", **fields: Any) -> ImagingEvent:
    fields = {"modality": "CT", **fields}
    when = at(hours)
    return ImagingEvent(
        event_id=f"i{study}{hours}", patient="p", source="s", recorded_at=when, study_uid=study, acquired=Timestamp(when), **fields
    )


def order(hours: float = 0, key: str = "o", control: Any = "new", **fields: Any) -> OrderEvent:
    return OrderEvent(
        event_id=f"{key}{control}{hours}", patient="p", source="s", recorded_at=at(hours), control=control, order=key, **fields
    )


def report(hours: float = 2, status: Any = "final", key: str = "r", **fields: Any) -> ReportEvent:
    when = at(hours)
    return ReportEvent(
        event_id=f"{key}{status}{hours}",
        patient="p",
        source="s",
        recorded_at=when,
        report=key,
        status=status,
        issued=Timestamp(when),
        **fields,
    )


def studies(*events: AnyEvent) -> dict[str, StudyState]:
    """The same for every order of arrival, or the test fails here."""
    found = [derive(order).studies for order in permutations(events)]
    assert all(other == found[0] for other in found)
    return {study.study_uid: study for study in found[0]}


@pytest.mark.parametrize(
    ("ordered", "imaged", "tie"),
    [
        ({"study_uid": "1.1"}, {}, "study-uid"),
        ({"accession": "a"}, {"accession": "a"}, "accession"),
        ({"key": "a"}, {"accession": "a"}, "accession"),
        ({"key": "n"}, {"order": "n"}, "order"),
        ({"modality": "CT"}, {}, "patient-and-modality"),
        ({"modality": "CT", "body_part": "chest"}, {"body_part": "CHEST"}, "patient-and-modality"),
        ({"modality": "CT", "body_part": "HEAD"}, {"body_part": "CHEST"}, None),
        ({"modality": "MR"}, {}, None),
        ({"modality": "CT", "accession": "b"}, {"accession": "a"}, None),
        ({"modality": "CT", "study_uid": "9.9"}, {}, None),
        ({}, {}, None),
    ],
)
def test_the_surest_tie_decides(ordered: dict[str, Any], imaged: dict[str, Any], tie: str | None) -> None:
    """Study UID, accession, order number, then patient and modality, unless something contradicts."""
    study = studies(order(priority="stat", **ordered), image(**imaged))["1.1"]

    assert study.matched_by == tie
    assert study.priority == ("stat" if tie else None)


def test_two_candidates_are_no_match() -> None:
    """Nothing is guessed when two orders qualify."""
    assert studies(order(key="o1", modality="CT"), order(key="o2", modality="CT"), image())["1.1"].matched_by is None


def test_the_earlier_of_two_studies_takes_the_only_order() -> None:
    """An order belongs to one study."""
    found = studies(order(modality="CT"), image(1, "1.1"), image(2, "2.2"))

    assert (found["1.1"].matched_by, found["2.2"].matched_by) == ("patient-and-modality", None)


def test_orders_too_far_away_are_no_candidates() -> None:
    """Seven days, either way."""
    assert studies(order(0, modality="CT"), image(24 * 7 + 1))["1.1"].matched_by is None


def test_an_order_that_says_nothing_changes_nothing() -> None:
    """A field that is None leaves what was known; a newer word replaces it."""
    found = studies(
        order(0, accession="a", priority="routine", indication="fall"), order(1, control="change", priority="stat"), image(accession="a")
    )["1.1"]

    assert (found.priority, found.indication, found.accession) == ("stat", "fall", "a")


def test_a_cancelled_order_closes_its_study() -> None:
    """By number; and a new order under the same accession opens it again."""
    gone = (order(0, accession="a"), order(2, control="cancel"), image(accession="a"))

    assert studies(*gone)["1.1"].closed == "cancelled"
    assert studies(*gone, order(3, key="o2", accession="a"))["1.1"].closed is None


def test_a_cancelled_order_is_never_guessed() -> None:
    """An old cancellation must not take an unrelated study off the list."""
    assert studies(order(0, modality="CT"), order(0.5, control="cancel"), image())["1.1"].closed is None


@pytest.mark.parametrize("fields", [{"study_uid": "1.1"}, {"accession": "a"}, {"order": "o"}])
@pytest.mark.parametrize("status", ["final", "corrected", "addendum"])
def test_reports_close_by_any_number(fields: dict[str, Any], status: str) -> None:
    """Whichever number the report has, before or after study and order."""
    known = (order(accession="a"), image(accession="a"))

    assert studies(*known, report(2, status, **fields))["1.1"].closed == "reported"
    assert studies(*known, report(-2, status, **fields))["1.1"].closed == "reported"


def test_a_preliminary_report_only_marks_and_a_cancelled_one_reopens() -> None:
    """The study stays on the list."""
    marked = studies(image(accession="a"), report(2, "preliminary", accession="a"))["1.1"]
    reopened = studies(image(accession="a"), report(2, accession="a"), report(3, "cancelled"))["1.1"]

    assert (marked.closed, marked.preliminary_report) == (None, True)
    assert (reopened.closed, reopened.preliminary_report) == (None, False)


def test_a_report_that_names_another_study_does_not_close_this_one() -> None:
    """Two studies of one accession: the report's study UID decides."""
    found = studies(image(1, "1.1", accession="a"), image(1, "2.2", accession="a"), report(study_uid="2.2", accession="a"))

    assert (found["1.1"].closed, found["2.2"].closed) == (None, "reported")


def test_yesterdays_reported_order_is_not_todays() -> None:
    """A guess does not close a study on a report that came before its images; one that came after does."""
    assert studies(order(0, modality="CT"), report(1, order="o"), image(20))["1.1"].closed is None
    assert studies(order(0, modality="CT"), report(30, order="o"), image(20))["1.1"].closed == "reported"


def test_what_accompanies_images_does_not_name_the_modality() -> None:
    """A dose report that came first leaves the study a CT."""
    assert studies(image(1, modality="SR"), image(2, modality="CT"))["1.1"].modality == "CT"
    assert studies(image(1, modality="SR"))["1.1"].modality == "SR"


def test_a_study_is_ready_with_its_first_image() -> None:
    """Its completion alone is nothing to read; counts are the largest, conflicts stay."""
    assert studies(image(0, kind="complete")) == {}
    found = studies(image(3, instances=2, conflict=True), image(1, instances=1), image(4, kind="complete", instances=2))["1.1"]

    assert (found.ready_at, found.acquired_at, found.instances) == (at(1), at(1), 2)
    assert (found.complete, found.conflict) == (True, True)


def test_what_a_final_report_contradicts_in_the_preliminary_one() -> None:
    """Under one number or two, in any order of arrival; of two preliminary reports the newer counts."""
    first, final = report(2, "preliminary", accession="a", text="No pneumothorax. Fracture."), {"accession": "a", "text": "Pneumothorax."}
    for key in ("r", "other"):
        assert studies(image(accession="a"), first, report(3, key=key, **final))["1.1"].revised == (Reported("pneumothorax", "denied"),)
    assert studies(image(accession="a"), first)["1.1"].revised == ()
    newer = report(2.5, "preliminary", accession="a", text="Pneumothorax.")
    assert studies(image(accession="a"), first, newer, report(3, **final))["1.1"].revised == ()
