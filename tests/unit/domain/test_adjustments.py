"""Holds, deferrals and overrides: what readers may do to a deadline, and how each ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from pipeline.domain import adjustments
from pipeline.domain.explanation import cause
from pipeline.domain.ranking import rank, review
from pipeline.domain.site import DEFAULT
from pipeline.domain.urgency import severity_of
from pipeline.errors import InvalidMessage
from schemas.assessments import Assessment, Evidence, StudyState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MISSING = DEFAULT.hold_reason("images-missing")
STUDY = StudyState(study_uid="1.2.3", ready_at=NOON, priority="urgent", patient_class="E", complete=True, instances=3)
POTASSIUM = Evidence(kind="critical-lab", code="potassium", label="K 6.8", severity=severity_of(30))


def ranked(previous=None, study=STUDY, evidence=(), version=1, at=NOON):
    assessment = Assessment(
        event_id="a", patient="p", context_version=version, as_of=NOON, recorded_at=NOON, studies=[study], evidence=list(evidence)
    )
    return rank(previous, assessment, study, at)


def held(minutes=40, at=NOON + 10 * MINUTE):
    return adjustments.hold(ranked(), MISSING, "Ada", at, minutes, None, DEFAULT)


def test_a_hold_stops_the_clock():
    """Deadline and target move by as long as the hold may last, and the reasons say who, why and until when."""
    item = held()

    assert item.due_at == item.target_at == NOON + 160 * MINUTE
    assert item.review_at == NOON + 50 * MINUTE
    assert "set aside by Ada: images are missing" in item.reasons[-1].evidence.label
    assert item.reasons[-1].minutes == -40
    assert sum(reason.binding for reason in item.reasons) == 1


def test_a_hold_ends_by_itself():
    """At its time it is over, without any move of the deadline; the history says so."""
    before = held()
    after = review(before, NOON + 50 * MINUTE)

    assert after.due_at == before.due_at
    assert after.adjustment.hold is None
    assert cause(before, after) == "no longer set aside (images are missing): its time is over"
    assert "could not be read for 40 min" in after.reasons[-1].evidence.label


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instances": 9}, "new images"),
        ({"preliminary_report": True}, "a preliminary report"),
    ],
)
def test_what_is_new_brings_it_back(change, words):
    """New images (the study complete again) or a report end a hold, and the clock stood still only for as long as it lasted."""
    before = held()
    after = ranked(before, replace(STUDY, **change), version=2, at=NOON + 25 * MINUTE)

    assert after.adjustment.hold is None
    assert after.due_at == NOON + 135 * MINUTE
    assert words in cause(before, after)


def test_images_still_arriving_do_not_bring_it_back():
    """One image of three hundred is no reason to look again; the complete study is."""
    assert ranked(held(), replace(STUDY, instances=9, complete=False), version=2, at=NOON + 25 * MINUTE).adjustment.hold is not None


def test_danger_ends_a_hold_and_an_override_down():
    """Who set it aside did not know of this potassium."""
    down = adjustments.override(ranked(), NOON + 300 * MINUTE, "Ada", NOON, 200, "seen in the ward round", DEFAULT)

    for before in (held(), down):
        after = ranked(before, evidence=[POTASSIUM], version=2, at=NOON + 20 * MINUTE)
        assert after.due_at <= NOON + 40 * MINUTE
        assert "it became more pressing" in cause(before, after)


def test_the_same_assessment_again_keeps_a_hold():
    """What ranking does must not wipe what a reader did."""
    after = ranked(held(), version=2, at=NOON + 20 * MINUTE)

    assert after.adjustment == held().adjustment
    assert (after.due_at, after.target_at) == (held().due_at, held().target_at)


def test_resuming_gives_back_what_was_left():
    """A hold of 40 minutes ended after 5 costs 5."""
    item = adjustments.resumed(held(), NOON + 15 * MINUTE, DEFAULT)

    assert item.due_at == NOON + 125 * MINUTE
    assert adjustments.resumed(item, NOON + 16 * MINUTE, DEFAULT) == item


def test_holding_twice_adds_up():
    """The second hold takes the place of the first; the minutes that passed in both count once each."""
    again = adjustments.hold(held(), MISSING, "Bo", NOON + 30 * MINUTE, 30, "CT raw data", DEFAULT)

    assert again.due_at == NOON + (120 + 20 + 30) * MINUTE
    assert again.adjustment.hold.words == "images are missing (CT raw data)"


def test_putting_off_costs_no_time():
    """A deferred study keeps its deadline, and is back at the latest when it is due."""
    item = adjustments.defer(ranked(), "Ada", NOON, 600, None, DEFAULT)

    assert item.due_at == ranked().due_at
    assert item.adjustment.hold.until == item.due_at
    assert adjustments.set_aside(item, NOON + MINUTE) and not adjustments.set_aside(item, item.due_at)
    assert review(item, item.due_at).adjustment is None
    with pytest.raises(InvalidMessage, match="due"):
        adjustments.defer(ranked(), "Ada", NOON + 120 * MINUTE, 5, None, DEFAULT)


def test_moving_up():
    """A reader's earlier deadline binds, and a still earlier one of the rules goes before it."""
    item = adjustments.override(ranked(), NOON + 60 * MINUTE, "Ada", NOON, 240, "call from the ward", DEFAULT)

    assert item.due_at == NOON + 60 * MINUTE
    assert [reason.evidence.kind for reason in item.reasons if reason.binding] == ["override"]
    assert ranked(item, evidence=[POTASSIUM], version=2).due_at == NOON + 30 * MINUTE


def test_moving_down_says_so():
    """Only an override sets a deadline after the order's target, and its reason says that it does."""
    item = adjustments.override(ranked(), NOON + 180 * MINUTE, "Ada", NOON, 240, "read by telephone", DEFAULT)

    assert item.due_at == NOON + 180 * MINUTE > item.target_at
    assert "moved down by Ada, later than the order's own target: read by telephone" in item.reasons[-1].evidence.label
    assert item.reasons[-1].minutes == -60
    assert review(item, NOON + 240 * MINUTE).due_at == NOON + 120 * MINUTE


def test_taking_an_override_back():
    """Without it the deadline is the rules' again."""
    item = adjustments.override(ranked(), NOON + 60 * MINUTE, "Ada", NOON, 240, "x", DEFAULT)

    assert adjustments.freed(item, NOON + MINUTE, DEFAULT).due_at == ranked().due_at
    assert adjustments.freed(item, NOON + MINUTE, DEFAULT).adjustment is None


def test_a_closed_study_keeps_no_adjustment():
    """What is reported is neither held nor overridden."""
    assert ranked(held(), replace(STUDY, closed="reported"), version=2).adjustment is None


def test_a_report_ends_a_hold_and_keeps_what_it_took():
    """Reported after 20 of 40 minutes: nobody could read it for 20, and by as much its target is later than the order's."""
    read = ranked(held(), replace(STUDY, closed="reported"), version=2, at=NOON + 30 * MINUTE)

    assert read.target_at == NOON + 140 * MINUTE
    assert (read.adjustment.hold, read.adjustment.override, read.review_at) == (None, None, None)
    assert "could not be read for 20 min" in read.reasons[-1].evidence.label


@pytest.mark.parametrize("minutes", [0, -1, 61, float("nan"), float("inf")])
def test_bad_lengths_of_a_hold(minutes):
    """A hold lasts more than nothing and at most what its reason allows."""
    with pytest.raises(InvalidMessage):
        adjustments.hold(ranked(), MISSING, "Ada", NOON, minutes, None, DEFAULT)


@pytest.mark.parametrize("minutes", [0, -1, 721, float("nan"), float("inf")])
def test_bad_lengths_of_an_override(minutes):
    """An override ends, and within the site's limit."""
    with pytest.raises(InvalidMessage):
        adjustments.override(ranked(), NOON, "Ada", NOON, minutes, "x", DEFAULT)
