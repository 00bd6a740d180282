"""What ranking may never do, whatever the evidence."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.domain import adjustments
from pipeline.domain.critical_labs import TABLE, Row, find, limit
from pipeline.domain.deadlines import decide, of_risk
from pipeline.domain.evidence import gather
from pipeline.domain.news2 import PARAMETERS, Observed, score
from pipeline.domain.ranking import rank, review
from pipeline.domain.readings import Reading
from pipeline.domain.site import DEFAULT
from pipeline.errors import InvalidMessage
from schemas.assessments import Assessment, Evidence, Risk, Stated, StudyState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

studies = st.builds(
    StudyState,
    study_uid=st.just("1.2.3"),
    ready_at=st.just(NOON),
    modality=st.sampled_from([None, "CT", "MR", "DX", "??"]),
    priority=st.sampled_from([None, "stat", "asap", "urgent", "routine"]),
    patient_class=st.sampled_from([None, "E", "I", "O", "N", "U"]),
    deadline=st.none() | st.datetimes(datetime(2026, 2, 1), datetime(2026, 5, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    indication=st.sampled_from([None, "cough", "stroke?", "sepsis"]),
    door=st.none() | st.builds(Stated, st.integers(-1500, 60).map(lambda minutes: NOON + minutes * MINUTE)),
    appointment=st.none() | st.builds(Stated, st.integers(1, 9000).map(lambda minutes: NOON + minutes * MINUTE)),
)
severities = st.floats(-0.5, 1.5) | st.sampled_from([0.0, 1.0, float("nan")])
rules = st.builds(
    Evidence,
    kind=st.sampled_from(["news2", "critical-lab", "lab-flag"]),
    code=st.sampled_from("abc"),
    label=st.just("x"),
    severity=severities,
)
risks = st.none() | st.builds(
    Risk, scorer=st.just("triton"), outcome=st.just("death"), probability=st.none() | st.floats(0, 1), model=st.just("m")
)


def assess(study, evidence, risk, version=1):
    return Assessment(
        event_id="a", patient="p", context_version=version, as_of=NOON, recorded_at=NOON, studies=[study], evidence=evidence, risk=risk
    )


@given(studies, st.lists(rules, max_size=6), risks)
def test_never_later_than_the_order(study, evidence, risk):
    """due_at stands between five minutes after the first image and the order's own target; one reason binds, and none moves it later."""
    item = rank(None, assess(study, evidence, risk), study, NOON)

    assert study.ready_at + 5 * MINUTE <= item.due_at <= item.target_at
    assert sum(reason.binding for reason in item.reasons) == 1
    assert all(reason.minutes >= 0 for reason in item.reasons)
    assert item.target_at == decide(replace(study, door=None, appointment=None), []).due_at


@given(studies, st.lists(rules, max_size=5), rules)
def test_more_evidence_is_never_later(study, evidence, more):
    """Another piece of evidence keeps the deadline or brings it forward."""
    assert decide(study, [*evidence, more]).due_at <= decide(study, evidence).due_at


@given(studies, st.lists(rules, max_size=3), risks, st.sampled_from(["door", "appointment"]))
def test_a_clock_is_never_later(study, evidence, risk, clock):
    """To learn of an arrival or an appointment keeps the deadline or brings it forward; what the order asks for stays."""
    without = rank(None, assess(replace(study, **{clock: None}), evidence, risk), replace(study, **{clock: None}), NOON)
    item = rank(None, assess(study, evidence, risk), study, NOON)

    assert item.due_at <= without.due_at and item.target_at == without.target_at


@given(studies, st.lists(rules, max_size=3), st.floats(0, 1), st.floats(0, 1))
def test_more_severe_is_never_later(study, evidence, one, other):
    """The deadline falls, or stays, as a severity rises."""
    mild, grave = (Evidence(kind="news2", code="n", label="n", severity=value) for value in sorted((one, other)))

    assert decide(study, [*evidence, grave]).due_at <= decide(study, [*evidence, mild]).due_at


@given(studies, st.floats(0, 1), st.floats(0, 1))
def test_more_risk_is_never_later(study, one, other):
    """The deadline falls, or stays, as the risk rises."""
    low, high = (of_risk(Risk(scorer="triton", probability=value)) for value in sorted((one, other)))

    assert decide(study, [high]).due_at <= decide(study, [low]).due_at <= decide(study, []).due_at


@given(studies, st.floats(0, 0.999))
def test_risk_is_continuous(study, probability):
    """A thousandth of risk never moves a deadline by more than one per cent of the time that it allowed."""
    a, b = (decide(study, [of_risk(Risk(scorer="triton", probability=p))]).due_at - NOON for p in (probability, probability + 0.001))

    assert a - b <= a * 0.011 + timedelta(seconds=1)


@given(studies, st.lists(rules, max_size=4), risks, st.lists(st.sampled_from(["vitals", "labs"]), max_size=2))
def test_what_is_missing_moves_nothing(study, evidence, risk, gaps):
    """To say that something is not known neither raises nor lowers a study."""
    said = [Evidence(kind="missing", code=gap, label=gap, severity=0) for gap in gaps]

    assert (
        rank(None, assess(study, [*evidence, *said], risk), study, NOON).due_at
        == rank(None, assess(study, evidence, risk), study, NOON).due_at
    )


steps = st.lists(st.tuples(st.lists(rules, max_size=3), risks, st.integers(0, 300)), min_size=1, max_size=6)


@given(studies, steps)
def test_what_keeps_the_list_still_never_keeps_danger_down(study, steps):
    """Whatever came before, an item is never due later than the dead band after what its present evidence says, and never after its target.

    Where it is due sooner than that by more, it is because noise is held back, and it will be looked at again within the dwell.
    """
    item, now = None, NOON
    for version, (evidence, risk, pause) in enumerate(steps):
        now += timedelta(seconds=pause)
        item = rank(item, assess(study, evidence, risk, version), study, now)
        fresh = rank(None, assess(study, evidence, item.risk, version), study, now)

        assert item.due_at <= item.target_at
        assert item.due_at - fresh.due_at < DEFAULT.dead_band
        if fresh.due_at - item.due_at >= DEFAULT.dead_band:
            assert now < item.review_at <= now + DEFAULT.dwell
            assert review(item, item.review_at).due_at == fresh.due_at


acts = st.lists(
    st.tuples(st.sampled_from(["hold", "defer", "resume", "up", "down", "free", "rank", "review"]), st.integers(0, 7200)), max_size=8
)


@given(studies, st.lists(rules, max_size=2), risks, acts)
def test_what_readers_do_passes(study, evidence, risk, acts):
    """Whatever readers do, only an override makes a study later than its target; and all is as before once every act has ended, but for
    the time for which holds stopped the clock."""
    item, now, version = rank(None, assess(study, evidence, risk), study, NOON), NOON, 1
    ruled = item.due_at
    for act, pause in acts:
        now, version = now + timedelta(seconds=pause), version + 1
        with suppress(InvalidMessage):
            item = _act(act, item, now, assess(study, evidence, risk, version))
        later = adjustments.plain(item).target_at != item.target_at or item.due_at > item.target_at
        assert not later or item.adjustment is not None
        assert item.due_at <= item.target_at or item.adjustment.override is not None
        assert sum(reason.binding for reason in item.reasons) == 1
    ended = review(item, now + timedelta(days=2))

    paused = timedelta(seconds=ended.adjustment.paused_s) if ended.adjustment else timedelta()
    assert ended.due_at - paused == ruled
    assert paused <= now + timedelta(days=2) - NOON


@given(studies, st.lists(rules, max_size=2), rules, acts)
def test_danger_never_makes_a_study_later_whatever_readers_did(study, evidence, danger, acts):
    """One more piece of evidence leaves a held, deferred or overridden study where it is, or brings it forward."""
    item, now, version = rank(None, assess(study, evidence, None), study, NOON), NOON, 1
    for act, pause in acts:
        now, version = now + timedelta(seconds=pause), version + 1
        with suppress(InvalidMessage):
            item = _act(act, item, now, assess(study, evidence, None, version))
    now += timedelta(seconds=1)
    with_it, without = (rank(item, assess(study, found, None, version + 1), study, now) for found in ([*evidence, danger], evidence))

    assert with_it.due_at <= without.due_at


def _act(act, item, now, assessment):
    match act:
        case "hold":
            return adjustments.hold(item, DEFAULT.holds[0], "r", now, None, None, DEFAULT)
        case "defer":
            return adjustments.defer(item, "r", now, 30, None, DEFAULT)
        case "resume":
            return adjustments.resumed(item, now, DEFAULT)
        case "up" | "down":
            by = timedelta(minutes=-30 if act == "up" else 300)
            return adjustments.override(item, item.due_at + by, "r", now, 60, "w", DEFAULT)
        case "free":
            return adjustments.freed(item, now, DEFAULT)
        case "review":
            return review(item, now)
    return rank(item, assessment, assessment.studies[0], now)


@given(studies, st.lists(rules, max_size=4), risks)
def test_a_model_only_moves_up(study, evidence, risk):
    """With the model's answer a study is due no later than without one."""
    assert rank(None, assess(study, evidence, risk), study, NOON).due_at <= rank(None, assess(study, evidence, None), study, NOON).due_at


arrivals = st.lists(st.tuples(studies, st.lists(rules, max_size=2), st.integers(0, 100_000)), min_size=2, max_size=12)


@given(arrivals)
def test_starvation_bound(arrivals):
    """A study is overtaken by nothing that became ready later than five minutes before its own deadline, nor than before its target."""
    items = []
    for number, (study, evidence, minute) in enumerate(arrivals):
        here = replace(study, study_uid=str(number), ready_at=NOON + minute * MINUTE)
        items.append(rank(None, assess(here, evidence, None), here, NOON))
    listed = sorted(items, key=lambda item: (item.due_at, item.study.study_uid))
    for place, item in enumerate(listed):
        for before in listed[:place]:
            assert before.study.ready_at <= item.due_at - 5 * MINUTE <= item.target_at - 5 * MINUTE


values = st.floats(0, 300)


@given(
    st.builds(
        Observed,
        respiration=values,
        spo2=st.floats(50, 100),
        on_oxygen=st.booleans(),
        systolic=values,
        pulse=values,
        not_alert=st.booleans(),
        temperature=st.floats(30, 43),
    ),
    st.sets(st.sampled_from(["respiration", "spo2", "on_oxygen", "systolic", "pulse", "not_alert", "temperature"])),
    st.sampled_from([1, 2]),
)
def test_partial_news2_is_a_lower_bound(observed, unknown, scale):
    """Taking values away never raises a NEWS2, never shortens its minutes, and each value taken away is named as missing."""
    names = Observed.__slots__
    whole = score(observed, scale)
    part = score(Observed(**{name: None if name in unknown else getattr(observed, name) for name in names}), scale)

    assert part.total <= whole.total
    assert (part.minutes or 1e9) >= (whole.minutes or 1e9)
    assert len(part.missing) >= len(unknown)
    assert set(whole.points) == set(PARAMETERS)


@given(st.floats(6.11, 15), st.floats(6.11, 15))
def test_further_from_normal_is_never_later(one, other):
    """Of two critical potassium values the higher one asks for no more time."""
    near, far = (find({"potassium": [Reading(NOON, value)]}, NOON, 60)[0].minutes for value in sorted((one, other)))

    assert far <= near


bounds = st.tuples(st.floats(0.6, 4), st.floats(4.5, 14))


@given(studies, bounds, bounds, st.floats(0.5, 15), st.floats(0.5, 15), st.booleans())
def test_stricter_limits_and_one_more_critical_value_are_never_later(study, one, other, potassium, sodium, inclusive):
    """A site's limits that call more critical, a value further out, or a second analyte bring a study forward or leave it where it is."""
    strict = _site((max(one[0], other[0]), min(one[1], other[1])), inclusive)
    loose = _site(one, inclusive)
    alone, both = (
        {"potassium": [Reading(NOON, potassium)]},
        {"potassium": [Reading(NOON, potassium)], "sodium": [Reading(NOON, sodium * 20)]},
    )
    due = {
        (policy is strict, values is both): rank(
            None, assess(study, gather(values, [study], [], NOON, 60, policy), None), study, NOON, policy
        )
        for policy in (strict, loose)
        for values in (alone, both)
    }

    assert due[True, False].due_at <= due[False, False].due_at <= due[False, False].target_at
    assert due[True, True].due_at <= due[True, False].due_at
    further = potassium + 0.5 if potassium > 4.25 else potassium / 1.5
    out = gather({"potassium": [Reading(NOON, further)]}, [study], [], NOON, 60, strict)
    assert rank(None, assess(study, out, None), study, NOON, strict).due_at <= due[True, False].due_at


def _site(sides, inclusive):
    row = Row(tuple(limit("potassium", bound, high=high, inclusive=inclusive) for bound, high in zip(sides, (False, True), strict=True)))
    return dataclasses.replace(DEFAULT, critical_labs={**TABLE, "potassium": (row,)})
