"""Deadlines: what the order asks for, and how evidence shortens it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from pipeline.domain.deadlines import allowed, decide, of_risk, pull, target
from pipeline.domain.site import DEFAULT
from pipeline.domain.urgency import severity_of
from schemas.assessments import Evidence, Risk, StudyState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def study(**fields):
    return StudyState(study_uid="1.2.3", ready_at=NOON, **fields)


def evidence(kind="critical-lab", code="potassium", minutes=30.0):
    return Evidence(kind=kind, code=code, label=code, severity=severity_of(minutes))


def risk(probability):
    return of_risk(Risk(scorer="triton", outcome="in-hospital death", probability=probability, model="clinical"))


@pytest.mark.parametrize(
    ("fields", "minutes"),
    [
        ({"priority": "stat", "patient_class": "E"}, 45),
        ({"priority": "routine", "patient_class": "I"}, 1440),
        ({"priority": "routine", "patient_class": "O"}, 4320),
        ({"priority": "urgent", "patient_class": "I"}, 720),
        ({"patient_class": "E"}, 120),
        ({"priority": "stat"}, 60),
        ({"modality": "CT"}, 240),
        ({"modality": "DX", "patient_class": "U"}, 480),
        ({}, 720),
    ],
)
def test_target_of_the_order(fields, minutes):
    """Priority and patient class make the target; without them the class's or the modality's default, never the slowest."""
    assert target(study(**fields)).minutes == minutes


@pytest.mark.parametrize("level", ["stat", "asap", "urgent", "routine"])
def test_sicker_settings_and_priorities_are_sooner(level):
    """In the default table emergency comes before inpatient before outpatient."""
    row = [DEFAULT.targets[level, setting] for setting in ("emergency", "inpatient", "outpatient")]

    assert row == sorted(row)


def test_explicit_deadline():
    """A deadline takes the place of the usual minutes, sooner or later, save where stat asks for it sooner."""
    soon, late = NOON + timedelta(minutes=30), NOON + timedelta(hours=5)

    assert target(study(priority="urgent", patient_class="E", deadline=soon)).minutes == 30
    assert target(study(priority="urgent", patient_class="E", deadline=late)).minutes == 300
    assert target(study(priority="stat", patient_class="E", deadline=late)).minutes == 45
    assert target(study(priority="stat", patient_class="E", deadline=soon)).minutes == 30


def test_deadline_in_the_past():
    """A deadline that has passed before the images came leaves five minutes."""
    late = decide(study(deadline=NOON - timedelta(hours=1)), [])

    assert late.due_at == late.target_at == NOON + timedelta(minutes=5)


def test_shortest_reason_binds():
    """Each reason states the minutes that it alone moves; the shortest sets the deadline."""
    found = decide(study(priority="routine", patient_class="I"), [evidence(minutes=30), evidence("news2", "news2", 60)])

    assert found.due_at == NOON + timedelta(minutes=30)
    assert found.target_at == NOON + timedelta(days=1)
    assert [(reason.minutes, reason.binding) for reason in found.reasons] == [(0, False), (1410, True), (1380, False)]


def test_evidence_never_lengthens():
    """A reason that allows more than the order's own target moves nothing."""
    found = decide(study(priority="stat", patient_class="E"), [evidence(minutes=60)])

    assert found.due_at == found.target_at
    assert [(reason.minutes, reason.binding) for reason in found.reasons] == [(0, True), (0, False)]


def test_risk_shortens_in_proportion():
    """Full risk asks for the site's floor, a low one for nothing, one between for something between."""
    assert allowed(risk(0.05), 1440) == 1440
    assert allowed(risk(0.95), 1440) == pytest.approx(15)
    assert 15 < allowed(risk(0.5), 1440) < 240
    assert allowed(risk(0.95), 10) == 10


@pytest.mark.parametrize("bad", [None, -0.1, 1.1, float("nan"), float("inf")])
def test_what_is_no_probability_is_no_evidence(bad):
    """A score out of range pulls nothing."""
    assert risk(bad) is None


def test_pull_is_continuous():
    """No step in the pull is larger than its slope allows."""
    values = [pull(index / 1000) for index in range(1001)]

    assert max(b - a for a, b in pairwise(values)) < 0.0013
