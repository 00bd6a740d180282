"""What is worth an alert, and what is not worth another one."""

from __future__ import annotations

from dataclasses import replace as with_
from datetime import time

import pytest
from msgspec.structs import replace

from pipeline.domain import escalation, triggers
from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import DEFAULT, EscalationPolicy, Quiet
from pipeline.domain.triggers import Usage, Verdict
from schemas.assessments import Evidence, Risk
from schemas.findings import Reported
from schemas.worklist import WorklistItem
from tests.alert_builders import minutes, news2, potassium, study
from tests.store_fixtures import START

UNUSED = Usage()
RISKY = with_(DEFAULT, risk_from=0.8)


def judged(
    item: WorklistItem, *known: Alert, of_patient: tuple[Alert, ...] = (), usage: Usage = UNUSED, after: float = 0,
    policy: EscalationPolicy = DEFAULT,
) -> list[Verdict]:  # fmt: skip
    """So many minutes after START."""
    return triggers.judge(item, known, of_patient, usage, START + minutes(after), policy)


def one(verdicts: list[Verdict]) -> Alert:
    """The only one's alert."""
    (verdict,) = verdicts
    return verdict.alert


def test_a_critical_value_raises_one_alert() -> None:
    """With what it rests on, and a message that names nobody."""
    raised = one(judged(study("1.2", potassium(), news2(9))))
    assert (raised.state, raised.trigger, raised.category, raised.next_at) == ("notified", "critical", 1, START)
    assert raised.signs == {"critical-lab:potassium": 25.0, "news2:news2": 30.0}
    assert raised.finding == "K 6.8 mmol/L at 08:00Z, critical above 6.1 · NEWS2 9 (7 of 7)"


@pytest.mark.parametrize("calm", [news2(6), potassium(stale=True), Evidence(kind="risk", code="m", label="risk", severity=1.0)])
def test_what_is_not_critical_raises_none(calm: Evidence) -> None:
    """A medium NEWS2, a value that is too old, and the model's risk where the site has not asked for it."""
    assert judged(study("1.2", calm)) == []


def test_an_open_alert_follows_its_reasons_in_silence() -> None:
    """The same again changes nothing; another value changes the words; nothing is sent for it."""
    known = one(judged(study("1.2", potassium())))
    assert judged(study("1.2", potassium()), known) == []
    changed = one(judged(study("1.2", potassium(7.1), version=2), known))
    assert (changed.finding, changed.next_at, changed.step) == ("K 7.1 mmol/L at 08:00Z, critical above 6.1", known.next_at, -1)


@pytest.mark.parametrize(
    ("evidence", "again"), [((potassium(6.9),), False), ((potassium(9, 15),), True), ((potassium(), news2(9)), True), ((news2(9),), True)]
)
def test_persistent_abnormality_speaks_again_only_when_it_changes(evidence: tuple[Evidence, ...], again: bool) -> None:
    """Acknowledged: a tenth more is no news, clearly worse is, and so is another sign."""
    seen = escalation.acknowledged(one(judged(study("1.2", potassium()))), "Ada", START, "page")
    verdicts = judged(study("1.2", *evidence, version=2), seen, after=30)
    assert [verdict.event for verdict in verdicts] == (["raise"] if again else [])
    if again:
        assert (verdicts[0].alert.round, verdicts[0].alert.acknowledged_by) == (2, None)


def test_a_vanished_reason_withdraws() -> None:
    """A corrected laboratory value; a value that has only grown old does not."""
    known = one(judged(study("1.2", potassium())))
    assert one(judged(study("1.2", version=2), known)).state == "withdrawn"
    assert judged(study("1.2", potassium(stale=True), version=2), replace(known, signs={"critical-lab:potassium": 25.0})) == []


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"state": "closed", "closed": "reported"}, "resolved"),
        ({"state": "closed", "closed": "cancelled"}, "withdrawn"),
        ({"preliminary_report": True}, "resolved"),
    ],
)
def test_a_study_that_is_read_or_cancelled_closes_its_alerts(fields: dict[str, object], state: str) -> None:
    """All of them; and a read study raises none."""
    known = judged(study("1.2", potassium(), due=-5))
    assert {verdict.alert.state for verdict in judged(study("1.2", potassium(), due=-5, **fields), *(v.alert for v in known))} == {state}
    assert judged(study("1.2", potassium(), **fields)) == []


def test_a_reason_that_comes_back_is_a_new_round_unless_somebody_has_it_in_hand() -> None:
    """A score that swings about its limit wakes nobody twice once it was acknowledged."""
    raised = one(judged(study("1.2", news2(8))))
    gone = escalation.apply(raised, "withdraw", START)
    assert one(judged(study("1.2", news2(8), version=3), gone)).round == 2
    seen_and_gone = escalation.apply(escalation.acknowledged(raised, "Ada", START, "page"), "withdraw", START)
    muted = one(judged(study("1.2", news2(8), version=3), seen_and_gone, after=60))
    assert (muted.state, muted.muted) == ("suppressed", "persistent")
    assert one(judged(study("1.2", news2(8), version=3, due=6000), seen_and_gone, after=60 * 25)).state == "notified"


def test_a_patients_value_is_told_once_for_all_studies() -> None:
    """The second study's alert is silent while the first one's is open; it speaks when that goes without anybody's word."""
    first = one(judged(study("1", potassium())))
    second = one(judged(study("2", potassium()), of_patient=(first,)))
    assert (second.state, second.muted, second.next_at) == ("suppressed", "duplicate", None)
    assert judged(study("2", potassium()), second, of_patient=(first,)) == []
    cancelled = escalation.apply(first, "withdraw", START)
    assert one(judged(study("2", potassium()), second, of_patient=(cancelled,))).state == "notified"
    seen = escalation.acknowledged(first, "Ada", START, "page")
    assert judged(study("2", potassium()), second, of_patient=(seen,)) == []
    worse = one(judged(study("2", potassium(9, 15)), second, of_patient=(first,)))
    assert worse.state == "notified"


def test_a_passed_deadline_is_told_unless_the_study_is_already() -> None:
    """One message at a time for one study."""
    late = one(judged(study("1.2", due=10), after=10))
    assert (late.trigger, late.category, late.finding) == ("deadline", 2, "should have been read by 08:10Z")
    assert judged(study("1.2", due=10), after=9) == []
    events = {verdict.alert.trigger: verdict.event for verdict in judged(study("1.2", potassium(), due=-1))}
    assert events == {"critical": "raise", "deadline": "mute"}
    known = one(judged(study("1.2", potassium())))
    assert [(v.alert.trigger, v.alert.muted) for v in judged(study("1.2", potassium(), due=-1), known)] == [("deadline", "duplicate")]
    assert one(judged(study("1.2", due=60, version=2), late, after=20)).state == "withdrawn"


def test_an_image_that_came_twice_differently_is_a_discrepancy() -> None:
    """Category 3."""
    assert [(v.alert.trigger, v.alert.category) for v in judged(study("1.2", conflict=True))] == [("discrepancy", 3)]


@pytest.mark.parametrize(
    ("usage", "state"),
    [(Usage(29, 9, 0), "notified"), (Usage(30, 0, 0), "suppressed"), (Usage(0, 10, 1), "suppressed"), (Usage(0, 10, 2), "notified")],
)
def test_the_models_alerts_keep_to_the_shifts_budget(usage: Usage, state: str) -> None:
    """So many a shift, and only while enough of them are right."""
    risky = study("1.2", risk=Risk(scorer="triton", probability=0.9, model="m"))
    assert one(judged(risky, usage=usage, policy=RISKY)).state == state


def test_the_budget_never_mutes_category_1() -> None:
    """Physiology speaks however much there was."""
    assert one(judged(study("1.2", potassium()), usage=Usage(999, 99, 0))).state == "notified"


def test_no_free_text_of_a_source_gets_into_a_message() -> None:
    """A flagged result carries the laboratory's own words, a description the modality's: neither is told."""
    flagged = Evidence(kind="lab-flag", code="L1", label="Smith, John 1970 HH at 08:00Z", severity=0.8, at=START)
    raised = one(judged(study("1.2", flagged, body_part="Smith^John", description="Smith John head")))
    assert "mith" not in raised.finding + raised.what
    assert (raised.what, raised.finding) == ("CT", "a result that the laboratory marks as critical at 08:00Z")


def seen(code: str = "pneumothorax", probability: float | None = 0.95) -> Evidence:
    """What an image model finds on a picture."""
    return Evidence(kind="image", code=code, label=f"image: {code} {probability}", severity=1.0, value=probability, at=START)


@pytest.mark.parametrize(
    ("code", "category", "radlex"),
    [("pneumothorax", 1, "RID5352"), ("PE", 2, "RID4834"), ("ich", 1, None), ("fracture", 2, None), ("something-else", 2, None)],
)
def test_an_image_finding_has_a_category_and_a_code(code: str, category: int, radlex: str | None) -> None:
    """Category 1 where nobody may lose minutes, else the rule's. Only a known finding has a RadLex code: a wrong one is worse than none."""
    raised = one(judged(study("1.2", seen(code))))
    assert (raised.trigger, raised.state, raised.category, raised.radlex) == ("finding", "notified", category, radlex)
    assert (raised.finding, raised.signs) == (f"image: {code} 0.95", {f"image:{code}": 5.0})


@pytest.mark.parametrize(
    ("probability", "finding_from", "told"), [(0.9, 0.9, 1), (0.89, 0.9, 0), (0.6, 0.5, 1), (1.0, None, 0), (None, 0.9, 0)]
)
def test_an_image_finding_is_told_from_the_sites_probability_on(probability: float | None, finding_from: float | None, told: int) -> None:
    """None: never; and never where there is no probability."""
    assert len(judged(study("1.2", seen(probability=probability)), policy=with_(DEFAULT, finding_from=finding_from))) == told


def test_an_image_finding_that_is_gone_or_read_needs_nobody() -> None:
    """Withdrawn when no picture shows it as surely any more, closed by the reading."""
    known = one(judged(study("1.2", seen())))
    assert one(judged(study("1.2", seen(probability=0.6), version=2), known)).state == "withdrawn"
    assert one(judged(study("1.2", seen(), version=2, state="closed", closed="reported"), known)).state == "resolved"


def test_an_image_finding_keeps_to_the_rules_of_silence() -> None:
    """Known and unchanged, of another study of the patient, or beyond what the shift bears; the deadline is no second message."""
    known = one(judged(study("1.2", seen("fracture"))))
    gone = escalation.apply(escalation.acknowledged(known, "Ada", START, "page"), "withdraw", START)
    assert one(judged(study("1.2", seen("fracture"), version=3), gone, after=60)).muted == "persistent"
    assert one(judged(study("2", seen("fracture")), of_patient=(known,))).muted == "duplicate"
    assert one(judged(study("1.2", seen("fracture")), usage=Usage(30, 0, 0))).muted == "budget"
    assert one(judged(study("1.2", seen("fracture")), usage=Usage(0, 10, 1))).muted == "budget"
    assert one(judged(study("1.2", seen("pneumothorax")), usage=Usage(30, 10, 1))).state == "notified"
    late = judged(study("1.2", seen("fracture"), due=-1))
    assert [(each.alert.trigger, each.alert.muted) for each in late] == [("finding", None), ("deadline", "duplicate")]


@pytest.mark.parametrize("step", ["notified", "escalated"])
def test_an_open_finding_that_becomes_an_emergency_is_told_anew(step: escalation.State) -> None:
    """Another round from the first rung, in category 1, quiet hours or not; once: the same again changes nothing."""
    night = with_(DEFAULT, quiet=Quiet(time(7), time(12)))
    known = replace(one(judged(study("1.2", seen("fracture")), policy=night)), state=step)
    assert known.next_at == START.replace(hour=12)
    worse = study("1.2", seen("fracture"), seen("pneumothorax", 0.93), version=2)
    (verdict,) = judged(worse, known, after=20, policy=night)
    assert (verdict.event, verdict.alert.category, verdict.alert.round, verdict.alert.next_at) == ("raise", 1, 2, START + minutes(20))
    assert judged(worse, verdict.alert, after=30, policy=night) == []
    assert one(judged(study("1.2", seen("fracture"), version=3), verdict.alert, after=40, policy=night)).category == 2


def test_a_patients_known_emergency_does_not_raise_the_other_studys_alert() -> None:
    """Of two studies that show it one is told; the other's own finding stays open in silence."""
    first = one(judged(study("1", seen("pneumothorax"), seen("fracture"))))
    other = one(judged(study("2", seen("effusion"))))
    (verdict,) = judged(study("2", seen("pneumothorax"), version=2), other, of_patient=(first,))
    assert (verdict.event, verdict.alert.round) == ("change", 1)


def test_a_new_identity_goes_with_the_open_alert() -> None:
    """After a merge the alert belongs to the survivor, though nothing else has changed."""
    known = one(judged(study("1.2", potassium())))
    assert one(judged(study("1.2", potassium(), patient="survivor", version=2), known)).patient == "survivor"


def reported(word: str | None = "denied", probability: float | None = 0.97, code: str = "pneumothorax", **fields: object) -> WorklistItem:
    """A study that is read, and of which an image model says something."""
    seen = Evidence(kind="image", code=code, label=f"image: {code}", severity=1.0, value=probability, at=START)
    words = () if word is None else (Reported("pneumothorax", word),)  # type: ignore[arg-type]
    return study("1.2", seen, **{"state": "closed", "closed": "reported", "reported": words, "due": -5, **fields})


@pytest.mark.parametrize(("word", "how"), [("denied", "denies"), (None, "does not mention")])
def test_a_read_study_is_told_of_where_report_and_model_contradict_each_other(word: str | None, how: str) -> None:
    """That alone: its other alerts are closed, and its deadline is none any more."""
    critical = one(judged(study("1.2", potassium())))
    verdicts = judged(reported(word), critical)
    assert [(v.alert.trigger, v.event) for v in verdicts] == [("critical", "read"), ("discrepancy", "raise")]
    raised = verdicts[1].alert
    assert raised.finding == f"the report {how} pneumothorax, which an image model sees with 0.97"
    assert (raised.signs, raised.radlex, raised.category) == ({"report:pneumothorax": 3.0}, "RID5352", 3)
    assert [v.alert.trigger for v in judged(reported(word, state="open", closed=None, preliminary_report=True))] == ["discrepancy"]


@pytest.mark.parametrize(
    "item",
    [
        reported("affirmed"),
        reported("uncertain"),
        reported(probability=0.89),
        reported(reported=None),
        reported(code="intensive-care-7d"),
        reported(closed="cancelled"),
    ],
)
def test_what_a_report_does_not_contradict(item: WorklistItem) -> None:
    """What it affirms or leaves open, what the model is not sure of, what nobody understands or reports, and an order that is cancelled."""
    assert judged(item) == []


def test_a_contradiction_ends_with_the_report_and_stays_with_who_has_it() -> None:
    """An addendum that says it withdraws the alert; resolved or acknowledged, the same contradiction is not raised again."""
    raised = one(judged(reported()))
    assert one(judged(reported("affirmed", version=2), raised)).state == "withdrawn"
    assert judged(reported(version=2), raised) == []
    seen = escalation.acknowledged(raised, "Ada", START, "page")
    done = escalation.apply(raised, "resolve", START)
    assert judged(reported(version=2), seen) == judged(reported(version=2), done) == []
    assert {v.event for v in judged(reported(closed="cancelled", version=2), raised)} == {"withdraw"}


@pytest.mark.parametrize(
    ("before", "code", "words", "category"),
    [
        ("denied", "pneumothorax", "the final report affirms pneumothorax, which the preliminary one denied", 1),
        ("denied", "fracture", "the final report affirms fracture, which the preliminary one denied", 3),
        ("affirmed", "pneumothorax", "the final report denies pneumothorax, which the preliminary one affirmed", 3),
    ],
)
def test_a_final_report_that_contradicts_its_preliminary_one_is_told(before: str, code: str, words: str, category: int) -> None:
    """Though the study is read and no model looked at it; category 1 where an emergency was missed and somebody may have acted on that."""
    revised = (Reported(code, before),)  # type: ignore[arg-type]
    final = study("1.2", state="closed", closed="reported", revised=revised)
    raised = one(judged(final))
    assert (raised.trigger, raised.finding, raised.category, raised.signs) == ("discrepancy", words, category, {f"revised:{code}": 0.0})
    assert judged(final, raised) == []
    assert one(judged(study("1.2", state="closed", closed="reported", version=2), raised)).state == "withdrawn"
    assert judged(final, policy=with_(DEFAULT, discrepancy_from=None)) != [], "that is of the model alone"
    assert judged(study("1.2", state="closed", closed="cancelled", revised=revised)) == []


def test_the_final_report_that_a_model_was_right_about_is_told_anew() -> None:
    """The model's word against the preliminary report has category 3; that it was missed is another round, in category 1."""
    first = one(judged(reported(state="open", closed=None, preliminary_report=True)))
    (verdict,) = judged(reported("affirmed", version=2, revised=(Reported("pneumothorax", "denied"),)), first)
    assert (verdict.event, verdict.alert.round, verdict.alert.category, verdict.alert.radlex) == ("raise", 2, 1, "RID5352")


@pytest.mark.parametrize(
    ("sign", "word", "confirmed"),
    [
        ("image:pneumothorax", "affirmed", True),
        ("image:pneumothorax", "denied", False),
        ("image:pneumothorax", "uncertain", None),
        ("image:pneumothorax", None, None),
        ("critical-lab:potassium", "affirmed", None),
        ("risk", "denied", None),
    ],
)
def test_the_report_judges_what_was_told_of_the_picture(sign: str, word: str | None, confirmed: bool | None) -> None:
    """So that the predictive value needs no click; what no report can affirm stays unjudged, and so does a finding it does not name."""
    told = replace(one(judged(study("1.2", potassium()))), signs={sign: 3.0})
    read = judged(reported(word, probability=0.5), told)[0].alert
    assert (read.state, read.confirmed) == ("resolved", confirmed)


def test_one_affirmed_finding_bears_an_alert_out_and_one_denied_does_not_refute_it() -> None:
    """Of a finding and the model's risk only the finding can be denied: the alert is not refuted."""
    told = one(judged(study("1.2", potassium())))
    both = replace(told, signs={"risk": 5.0, "image:pneumothorax": 3.0})
    assert judged(reported("denied", probability=0.5), both)[0].alert.confirmed is None
    assert judged(reported("affirmed", probability=0.5), both)[0].alert.confirmed is True


def test_an_image_that_came_twice_is_settled_by_the_reading() -> None:
    """As before: only what a report is contradicted by outlives it."""
    conflict = one(judged(study("1.2", conflict=True)))
    assert one(judged(reported("affirmed", conflict=True), conflict)).state == "resolved"


def test_a_site_may_leave_contradictions_alone() -> None:
    """By the probability, or by the rule."""
    assert judged(reported(), policy=with_(DEFAULT, discrepancy_from=None)) == []
    off = {**DEFAULT.rules, "discrepancy": with_(DEFAULT.rules["discrepancy"], on=False)}
    assert judged(reported(), policy=with_(DEFAULT, rules=off)) == []
