"""Ranking: what becomes of an item as assessments come in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from pipeline.domain.explanation import cause
from pipeline.domain.image_heads import evidence
from pipeline.domain.ranking import each_once, is_outdated, oddities, rank, same_to_a_reader
from pipeline.domain.site import DEFAULT
from pipeline.domain.urgency import severity_of
from schemas.assessments import Assessment, Contribution, Evidence, Risk, StudyState
from schemas.findings import ImageAssessment, ImageFinding

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STUDY = StudyState(study_uid="1.2.3", ready_at=NOON, order="o", priority="routine", patient_class="I", indication="cough", complete=True)
POTASSIUM = Evidence(
    kind="critical-lab",
    code="potassium",
    label="K 6.8 mmol/L at 09:12Z, critical above 6.1",
    severity=severity_of(30),
    value=6.8,
    at=NOON - timedelta(minutes=168),
    event_id="e1",
)
NEWS2 = Evidence(kind="news2", code="news2", label="NEWS2 9 (7 of 7)", severity=severity_of(22), value=9)


def risk(probability=0.81, scorer="triton"):
    moved = [Contribution("potassium", "K", 0.2), Contribution("heart_rate", "HR", 0.1), Contribution("age", "age", 0.1)]
    return Risk(
        scorer=scorer, outcome="in-hospital death", probability=probability, model="clinical", model_version="1", contributions=moved
    )


def assessment(version=1, evidence=(), risk=None, study=STUDY, patient="p", **fields):
    return Assessment(
        event_id=f"a{version}",
        patient=patient,
        context_version=version,
        as_of=NOON,
        recorded_at=NOON,
        studies=[study],
        evidence=list(evidence),
        risk=risk,
        age=60,
        **fields,
    )


def follow(*assessments):
    item = None
    for one in assessments:
        item = rank(item, one, one.studies[0], NOON)
    return item


def test_why_is_one_line_strongest_first():
    """The line names what pulls, the binding reason first, with the inputs that moved the model."""
    item = follow(assessment(1, [POTASSIUM, NEWS2], risk()))

    assert item.why == "NEWS2 9 · risk 0.81 (labs + vitals) · K 6.8 at 09:12Z"


def test_why_tells_the_film_and_the_patient_apart():
    """What an image model says of the study, and what the other one says of labs and vitals, each with its own number."""
    found = ImageFinding(code="pneumonia", label="pneumonia", probability=0.9, prevalence=DEFAULT.prevalence("pneumonia"), ranks=True)
    seen = ImageAssessment(head="chest_frontal", version="1", at=NOON, findings=(found,))
    study = msgspec.structs.replace(STUDY, image=seen)
    item = follow(assessment(1, evidence(study), risk(), study=study))

    assert item.why == "image: pneumonia 0.90 · risk 0.81 (labs + vitals)"


def test_why_names_film_and_words_that_moved_the_model():
    """Beside labs and vitals, in one order."""
    film, words = Contribution("image", "chest film", 0.2), Contribution("words", "sepsis suspected", 0.1)
    moved = msgspec.structs.replace(risk(), contributions=[film, words, *risk().contributions])

    assert follow(assessment(1, [], moved)).why == "risk 0.81 (labs + vitals + image + words)"


def test_why_stays_short():
    """Of many reasons the line names the four strongest and counts the rest."""
    many = [msgspec.structs.replace(POTASSIUM, code=name) for name in ("sodium", "glucose", "inr", "ph", "wbc", "calcium")]

    assert follow(assessment(1, [NEWS2, *many])).why.count(" · ") == 4
    assert follow(assessment(1, [NEWS2, *many])).why.endswith(" · 3 more")


def test_why_without_a_pull_is_the_order():
    """Where nothing shortens the deadline the order's own words stand."""
    assert follow(assessment()).why == "routine, inpatient: within 24 h"


def test_binding_reason_sets_due_at():
    """Exactly one reason binds, and due_at is its minutes before the order's target."""
    item = follow(assessment(1, [POTASSIUM, NEWS2]))
    binding = [reason for reason in item.reasons if reason.binding]

    assert [reason.evidence.kind for reason in binding] == ["news2"]
    assert item.target_at - item.due_at == timedelta(minutes=binding[0].minutes)


def test_indication_holds_for_its_own_study():
    """A suspected stroke on one order does not move the patient's other study."""
    stroke = msgspec.structs.replace(STUDY, indication="V.a. Schlaganfall")

    assert follow(assessment(study=stroke)).due_at == NOON + timedelta(minutes=20)
    assert follow(assessment()).due_at == NOON + timedelta(days=1)


def test_rules_alone_keep_the_last_risk():
    """The rules speak first on a new context; the last model score stands until its successor comes."""
    scored = follow(assessment(1, risk=risk(0.81)))
    item = follow(assessment(1, risk=risk(0.81)), assessment(2, [NEWS2]))

    assert item.risk == scored.risk
    assert follow(assessment(1, risk=risk(0.81)), assessment(2), assessment(2, risk=risk(0.3))).risk.probability == 0.3


def test_silent_model_degrades_but_keeps_the_score():
    """When the model does not answer the item is marked and keeps its last score; rules alone do not take the mark away, an answer does."""
    silent = assessment(2, risk=Risk(scorer="rules"), degraded=True)
    item = follow(assessment(1, risk=risk(0.81)), silent, assessment(3))

    assert (item.degraded, item.risk.probability) == (True, 0.81)
    assert follow(silent, assessment(3, risk=risk())).degraded is False


def test_risk_of_another_patient_is_not_kept():
    """After an unmerge the study's new owner does not inherit the other's score."""
    assert follow(assessment(1, risk=risk()), assessment(2, patient="q")).risk is None


def test_outdated():
    """An older context never overwrites a newer one; of the same version only a model's answer, or its failure, is news."""
    stored = follow(assessment(5))

    assert is_outdated(stored, assessment(4, risk=risk()))
    assert is_outdated(stored, assessment(5))
    assert not is_outdated(stored, assessment(5, risk=risk()))
    assert not is_outdated(stored, assessment(5, degraded=True))
    assert not is_outdated(stored, assessment(6))
    assert not is_outdated(None, assessment(1))


def test_dead_band():
    """A move under a minute for the same reasons is noise; a larger one is a move."""
    first = follow(assessment(1, risk=risk(0.8100)))
    near = rank(first, assessment(2, risk=risk(0.8105)), STUDY, NOON)
    far = rank(first, assessment(2, risk=risk(0.85)), STUDY, NOON)

    assert near.due_at == first.due_at
    assert far.due_at < first.due_at


def test_dead_band_does_not_hold_a_new_reason():
    """A new reason moves the deadline by however little."""
    first = follow(assessment(1, [POTASSIUM]))
    sooner = Evidence(kind="lab-flag", code="x", label="x", severity=severity_of(29.5))
    second = rank(first, assessment(2, [POTASSIUM, sooner]), STUDY, NOON)

    assert timedelta() < first.due_at - second.due_at < timedelta(seconds=60)


def test_dead_band_does_not_hold_the_orders_own_deadline():
    """An order that asks for the study half a minute sooner is followed, so that due_at is never after target_at."""
    early, late = (msgspec.structs.replace(STUDY, deadline=NOON + timedelta(minutes=60, seconds=s)) for s in (0, 30))
    item = follow(assessment(1, study=late), assessment(2, study=early))

    assert item.due_at == item.target_at == early.deadline


def test_same_to_a_reader():
    """A new version, another image or a hundredth of a per cent is no change; a new label, a mark or completeness is."""
    first = follow(assessment(1, [POTASSIUM], risk(0.8100)))
    more = msgspec.structs.replace(STUDY, instances=40)
    partial = msgspec.structs.replace(STUDY, complete=False)
    later = msgspec.structs.replace(POTASSIUM, label="K 6.9 mmol/L at 11:00Z, critical above 6.1", value=6.9)

    assert same_to_a_reader(first, rank(first, assessment(2, [POTASSIUM], risk(0.8101), more), more, NOON + timedelta(minutes=1)))
    assert not same_to_a_reader(first, rank(first, assessment(2, [later], risk(0.81)), STUDY, NOON))
    assert not same_to_a_reader(first, rank(first, assessment(2, [POTASSIUM], risk(0.81), partial), partial, NOON))
    assert not same_to_a_reader(first, rank(first, assessment(2, [POTASSIUM], degraded=True), STUDY, NOON))
    assert not same_to_a_reader(None, first)


@pytest.mark.parametrize("more", [{"inputs": ("image",)}, {"unseen": "late"}])
def test_what_the_model_was_given_is_seen(more):
    """A film that came late changes what is told of the score, though the number is the same."""
    first = follow(assessment(1, [POTASSIUM], risk()))
    given = msgspec.structs.replace(risk(), **more)

    assert not same_to_a_reader(first, rank(first, assessment(2, [POTASSIUM], given), STUDY, NOON))


def test_a_model_that_stays_away_is_told_once():
    """While it does not answer, the rules that go ahead of each request and the empty answers after them move nothing."""
    away = Risk(scorer="rules")
    first = follow(assessment(1, [POTASSIUM]), assessment(1, [POTASSIUM], away, degraded=True))
    ahead = rank(first, assessment(2, [POTASSIUM]), STUDY, NOON)

    assert first.degraded
    assert same_to_a_reader(first, ahead)
    assert same_to_a_reader(ahead, rank(ahead, assessment(2, [POTASSIUM], away, degraded=True), STUDY, NOON))


def test_provisional_and_missing():
    """An incomplete study is provisional; what is not known is listed and moves nothing."""
    bare = StudyState(study_uid="1", ready_at=NOON, patient_class="I", modality="CT")
    gap = Evidence(kind="missing", code="labs", label="laboratory results of the last 24 h", severity=0)
    item = follow(msgspec.structs.replace(assessment(1, [gap], study=bare), age=None))

    assert item.provisional
    assert item.missing == [
        "order",
        "indication",
        "laboratory results of the last 24 h",
        "age",
        "model score",
        "image assessment: no image model for CT",
    ]
    assert [reason.evidence.kind for reason in item.reasons] == ["order"]


def test_causes():
    """The history says which evidence changed."""
    first = follow(assessment(1))
    critical = rank(first, assessment(2, [POTASSIUM]), STUDY, NOON)
    corrected = rank(critical, assessment(3), STUDY, NOON)
    stat = msgspec.structs.replace(STUDY, priority="stat")
    reported = msgspec.structs.replace(STUDY, closed="reported")

    assert cause(None, first) == "images arrived"
    assert cause(first, critical) == POTASSIUM.label
    assert cause(critical, corrected) == f"no longer: {POTASSIUM.label}"
    assert corrected.due_at == first.due_at
    assert cause(first, rank(first, assessment(2, study=stat), stat, NOON)) == "stat, inpatient: within 60 min"
    assert cause(first, rank(first, assessment(2, study=reported), reported, NOON)) == "reported"
    assert rank(first, assessment(2, study=reported), reported, NOON).state == "closed"


@pytest.mark.parametrize("probability", [-0.1, 1.01, 81.0, float("nan"), float("inf")])
def test_a_score_that_is_no_probability_counts_as_none(probability):
    """It moves nothing, does not take the place of the last good one, and is counted."""
    bad = assessment(2, risk=risk(probability))

    assert follow(bad).due_at == follow(assessment()).due_at
    assert follow(bad).risk.probability is None
    assert follow(assessment(1, risk=risk(0.81)), bad).risk.probability == 0.81
    assert oddities(bad) == ["score-out-of-range"]


def test_a_study_that_is_there_twice():
    """The one due first counts, wherever it stands, and it is counted."""
    urgent = msgspec.structs.replace(STUDY, priority="stat")
    for twice in ([STUDY, urgent], [urgent, STUDY]):
        assert each_once(twice) == [urgent]
        assert oddities(msgspec.structs.replace(assessment(), studies=twice)) == ["study-twice"]
    assert each_once([STUDY]) == [STUDY]


def test_a_deadline_that_had_passed_is_counted():
    """It leaves five minutes from the first image."""
    late = msgspec.structs.replace(STUDY, deadline=NOON - timedelta(days=1))

    assert follow(assessment(study=late)).due_at == NOON + timedelta(minutes=5)
    assert oddities(assessment(study=late)) == ["deadline-passed"]
