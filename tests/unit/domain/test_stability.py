"""The list does not jump: dead band, minimum dwell, the pin of a claim; and what passes all three."""

from __future__ import annotations

from dataclasses import replace as with_
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from pipeline.domain.explanation import cause
from pipeline.domain.ranking import rank, review
from pipeline.domain.site import DEFAULT
from pipeline.domain.urgency import severity_of
from schemas.assessments import Assessment, Evidence, Risk, StudyState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STUDY = StudyState(study_uid="1.2.3", ready_at=NOON, priority="routine", patient_class="I", complete=True)
POTASSIUM = Evidence(kind="critical-lab", code="potassium", label="K 6.8", severity=severity_of(30))


def ranked(previous, probability, at, evidence=(), policy=DEFAULT, version=1):
    risk = Risk(scorer="triton", outcome="death", probability=probability, model="m")
    assessment = Assessment(
        event_id="a",
        patient="p",
        context_version=version,
        as_of=NOON,
        recorded_at=NOON,
        studies=[STUDY],
        evidence=list(evidence),
        risk=risk,
    )
    return rank(previous, assessment, STUDY, at, policy)


def test_noise_within_the_dwell_does_not_move_it_down():
    """Risk 0.60, a minute later 0.55: the item stays, and is looked at again when the dwell is over; then it moves, and says why."""
    first = ranked(None, 0.60, NOON)
    soon = ranked(first, 0.55, NOON + MINUTE, version=2)

    assert soon.due_at == first.due_at
    assert soon.review_at == NOON + DEFAULT.dwell
    later = review(soon, NOON + DEFAULT.dwell)
    assert later.due_at == ranked(None, 0.55, NOON).due_at > first.due_at
    assert later.review_at is None
    assert cause(soon, later) == "what was held back as noise has settled"


def test_danger_does_not_wait():
    """Within the dwell, and claimed or not, more risk or a new reason moves an item up at once."""
    first = replace(ranked(None, 0.60, NOON), state="claimed")

    assert ranked(first, 0.70, NOON + MINUTE).due_at < first.due_at
    assert ranked(first, 0.60, NOON + MINUTE, [POTASSIUM]).due_at == NOON + 30 * MINUTE


def test_a_withdrawn_reason_is_no_noise():
    """A corrected potassium moves the item down at once, dwell or not."""
    first = ranked(None, 0.60, NOON, [POTASSIUM])

    assert ranked(first, 0.60, NOON + MINUTE).due_at > first.due_at


def test_a_claimed_study_does_not_sink():
    """Whoever reads it keeps it where it is; given back, it goes where its evidence says."""
    first = replace(ranked(None, 0.60, NOON, [POTASSIUM]), state="claimed")
    pinned = replace(ranked(first, 0.60, NOON + 10 * MINUTE), state="claimed")

    assert pinned.due_at == first.due_at
    assert review(replace(pinned, state="open"), NOON + 11 * MINUTE).due_at == ranked(None, 0.60, NOON).due_at


def test_dead_band():
    """A move of less than the dead band on the same reasons is none."""
    first = ranked(None, 0.600, NOON)

    assert ranked(first, 0.6001, NOON + 60 * MINUTE).due_at == first.due_at
    assert ranked(first, 0.6001, NOON + 60 * MINUTE, policy=with_(DEFAULT, dead_band=timedelta())).due_at != first.due_at


def test_another_policy_ranks_again():
    """On the evidence it has, and the history names the policy."""
    first = ranked(None, 0.0, NOON)
    strict = with_(DEFAULT, version="strict", targets={**DEFAULT.targets, ("routine", "inpatient"): 600.0})
    after = review(first, NOON + MINUTE, strict)

    assert after.due_at == after.target_at == NOON + 600 * MINUTE
    assert cause(first, after).startswith("policy changed to strict")
    assert after.policy == "strict"


def test_reviewing_changes_nothing_by_itself():
    """With the same rules at the same place an item reviewed is the item, but for the time of ranking."""
    first = ranked(None, 0.60, NOON, [POTASSIUM])

    assert review(first, NOON + 60 * MINUTE) == replace(first, ranked_at=NOON + 60 * MINUTE)
