"""Deadlines: what the order asks for, and how evidence shortens it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from pipeline.domain.deadlines import allowed, decide, of_risk, target
from pipeline.domain.site import DEFAULT, Pull
from pipeline.domain.urgency import severity_of
from schemas.assessments import Evidence, Risk, Stated, StudyState

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


def test_a_finding_in_the_study_is_trusted_sooner_than_a_risk_of_the_patient():
    """What three of five times is there pulls in full; each model has its own floor."""
    finding = Evidence(kind="image", code="pneumothorax", label="", severity=DEFAULT.image.of(0.6))
    site = replace(DEFAULT, image=Pull(0.05, 0.6, 10))

    assert allowed(finding, 1440) == pytest.approx(15) and allowed(risk(0.6), 1440) > 60
    assert (allowed(finding, 1440, site), allowed(risk(0.95), 1440, site)) == (pytest.approx(10), pytest.approx(15))


@pytest.mark.parametrize("bad", [None, -0.1, 1.1, float("nan"), float("inf")])
def test_what_is_no_probability_is_no_evidence(bad):
    """A score out of range pulls nothing."""
    assert risk(bad) is None


def test_pull_is_continuous():
    """No step in the pull is larger than its slope allows."""
    for model in (DEFAULT.risk, DEFAULT.image):
        values = [model.of(index / 1000) for index in range(1001)]
        assert values == sorted(values) and (values[0], values[-1]) == (0, 1)
        assert max(b - a for a, b in pairwise(values)) < 1.01 * 0.001 / (model.full_from - model.none_below)


def minutes_of_reasons(found):
    return {reason.evidence.kind: reason.minutes for reason in found.reasons}


def test_a_study_is_due_before_the_clinic_appointment():
    """Half an hour before by default, with the minutes it moved and the message it is from; one that leaves more time says nothing."""
    at = NOON + timedelta(hours=3)
    outpatient = study(priority="routine", patient_class="O", appointment=Stated(at, "e7"))
    found = decide(outpatient, [])

    assert found.due_at == at - timedelta(minutes=30)
    assert found.target_at == NOON + timedelta(days=3)
    [reason] = [one for one in found.reasons if one.binding]
    assert (reason.evidence.kind, reason.minutes, reason.evidence.event_id) == ("appointment", 4320 - 150, "e7")
    assert decide(outpatient, [], replace(DEFAULT, appointment_lead=0.0)).due_at == at
    late = study(priority="stat", patient_class="E", appointment=Stated(at))
    assert minutes_of_reasons(decide(late, [])) == {"order": 0.0}
    soon = study(priority="stat", patient_class="E", appointment=Stated(NOON + timedelta(minutes=20)))
    assert decide(soon, []).due_at == NOON + timedelta(minutes=5), "there is time to open it"


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({}, 10),
        ({"modality": None}, 10),
        ({"modality": "DX"}, 60),
        ({"indication": "headache"}, 60),
        ({"indication": None, "description": "CT stroke protocol"}, 10),
        ({"door": Stated(NOON - timedelta(minutes=90))}, 5),
        ({"door": Stated(NOON - timedelta(hours=25))}, 60),
        ({"door": Stated(NOON + timedelta(minutes=1))}, 60),
        ({"door": None}, 60),
    ],
)
def test_a_stroke_is_read_within_45_minutes_of_the_door(fields, due):
    """Images 35 minutes after the door leave ten; other examinations, other indications and other visits have no such clock."""
    stroke = {"modality": "CT", "indication": "stroke?", "door": Stated(NOON - timedelta(minutes=35), "a1")}
    found = decide(study(priority="asap", patient_class="E", **{**stroke, **fields}), [])

    assert found.due_at == NOON + timedelta(minutes=due)


def test_the_clock_of_a_stroke_is_the_sites():
    """Its reason names the door, the minutes it moved, and the message."""
    found = decide(
        study(modality="CT", indication="stroke?", door=Stated(NOON - timedelta(minutes=35), "a1")), [], replace(DEFAULT, stroke_door=60)
    )
    [reason] = [one for one in found.reasons if one.evidence.kind == "stroke-clock"]

    assert (reason.binding, reason.minutes, reason.evidence.event_id) == (True, 215.0, "a1")
    assert reason.evidence.label == "stroke, at the door 2026-03-01 11:25Z: read within 60 min of that"


def test_a_risk_that_pulls_at_nothing_has_nothing_to_fall_back_to():
    """What would have to be different is said of what counts."""
    assert risk(DEFAULT.risk.none_below).reverts_when is None
    assert risk(0.3).reverts_when == f"risk {DEFAULT.risk.none_below:.2f} or below"
