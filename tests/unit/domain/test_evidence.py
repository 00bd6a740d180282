"""Evidence: each rule's finding, with words for a person and the message it came from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.domain.evidence import gather, of_study
from pipeline.domain.readings import FlaggedResult, Reading
from pipeline.domain.urgency import minutes_of, severity_of
from schemas.assessments import StudyState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STUDY = StudyState(study_uid="1.2.3", ready_at=NOON)


def at(hours, value, **fields):
    return Reading(NOON - timedelta(hours=hours), value, **fields)


def by_kind(found):
    return {(one.kind, one.code): one for one in found}


def test_critical_potassium():
    """A critical potassium says value, unit, time, limit, its message, and the way back."""
    readings = {"potassium": [at(2.8, 6.8, event_id="e1", source="lis")]}
    found = by_kind(gather(readings, [STUDY], [], NOON, 60))[("critical-lab", "potassium")]

    assert found.label == "K 6.8 mmol/L at 09:12Z, critical above 6.1"
    assert (found.event_id, found.source, found.reverts_when, found.stale) == ("e1", "lis", "K back to 6.1 or below", False)


def test_laboratorys_own_mark():
    """Where the laboratory marked the value, its word is given."""
    found = gather({"potassium": [at(1, 6.8, flag="HH")]}, [], [], NOON, 60)[0]

    assert found.label == "K 6.8 mmol/L at 11:00Z, above the laboratory's panic limit"


def test_partial_news2():
    """A partial score names how many parameters it knows and which it lacks."""
    readings = {"heart_rate": [at(1, 135)], "respiratory_rate": [at(1, 26, event_id="e2")], "spo2": [at(0.5, 90, event_id="e3")]}
    found = by_kind(gather(readings, [STUDY], [], NOON, 60))[("news2", "news2")]

    assert found.label == "NEWS2 9 (3 of 7; no air or oxygen, blood pressure, consciousness, temperature)"
    assert (found.event_id, found.value) == ("e3", 9.0)


def test_emergency_department_ages_vitals_sooner():
    """Three hours old, a pulse is current on a ward and unknown in the emergency department."""
    readings = {"heart_rate": [at(3, 135)]}
    emergency = StudyState(study_uid="1", ready_at=NOON, patient_class="E")

    assert ("news2", "news2") in by_kind(gather(readings, [STUDY], [], NOON, 60))
    assert ("news2", "news2") not in by_kind(gather(readings, [emergency], [], NOON, 60))


def test_missing_is_said_and_moves_nothing():
    """What is not known is named, with no pull."""
    found = gather({}, [STUDY], [], NOON, None)

    assert {("missing", "vitals"), ("missing", "labs")} == set(by_kind(found))
    assert {0.0} == {one.severity for one in found}


def test_flagged_result_outside_the_catalogue():
    """A result that only its laboratory understands counts by its mark, the newest of its code."""
    flags = [
        FlaggedResult(NOON - timedelta(hours=hours), flag, "NH3", "Ammonia", value)
        for hours, flag, value in ((5, "HH", "310"), (1, "H", "90"))
    ]

    assert ("lab-flag", "NH3") in by_kind(gather({}, [], flags[:1], NOON, 50))
    assert ("lab-flag", "NH3") not in by_kind(gather({}, [], flags, NOON, 50))


def test_indication_belongs_to_its_study():
    """An order's words are evidence for its own study, with the minutes of the bundle."""
    found = of_study(StudyState(study_uid="1", ready_at=NOON, indication="V.a. Schlaganfall", event_id="o1"))

    assert [(one.kind, one.code, one.event_id) for one in found] == [("indication", "stroke", "o1")]
    assert pytest.approx(minutes_of(found[0].severity), abs=0.01) == 20


@pytest.mark.parametrize("minutes", [5, 10, 30, 60, 1440, 10080])
def test_severity_and_minutes_are_one_currency(minutes):
    """Minutes to severity and back is the same within a thousandth."""
    assert minutes == pytest.approx(minutes_of(severity_of(minutes)), rel=1e-3)
