"""What ranking may never do, whatever the evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain.critical_labs import find
from pipeline.domain.deadlines import decide, of_risk
from pipeline.domain.news2 import PARAMETERS, Observed, score
from pipeline.domain.ranking import rank
from pipeline.domain.readings import Reading
from pipeline.domain.site import DEFAULT
from schemas.assessments import Assessment, Evidence, Risk, StudyState

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
    assert item.target_at == decide(study, []).due_at


@given(studies, st.lists(rules, max_size=5), rules)
def test_more_evidence_is_never_later(study, evidence, more):
    """Another piece of evidence keeps the deadline or brings it forward."""
    assert decide(study, [*evidence, more]).due_at <= decide(study, evidence).due_at


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


@given(studies, st.lists(st.tuples(st.lists(rules, max_size=3), risks), min_size=1, max_size=6))
def test_dead_band_never_strays_a_minute(study, steps):
    """Whatever came before, an item is due less than the dead band away from what its present evidence says, and never after its target."""
    item = None
    for version, (evidence, risk) in enumerate(steps):
        item = rank(item, assess(study, evidence, risk, version), study, NOON)
        fresh = rank(None, assess(study, evidence, item.risk, version), study, NOON)

        assert abs(item.due_at - fresh.due_at) < DEFAULT.dead_band
        assert item.due_at <= item.target_at


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
