"""What is worth an alert, and what is not worth another one."""

from __future__ import annotations

from dataclasses import replace as with_

import pytest
from msgspec.structs import replace

from pipeline.domain import escalation, triggers
from pipeline.domain.escalation import Alert
from pipeline.domain.escalation_policy import DEFAULT, EscalationPolicy
from pipeline.domain.triggers import Usage, Verdict
from pipeline.domain.urgency import severity_of
from schemas.assessments import Evidence, Risk
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


@pytest.mark.parametrize(("code", "radlex"), [("pneumothorax", "RID5352"), ("something-else", None)])
def test_only_known_findings_have_a_radlex_code(code: str, radlex: str | None) -> None:
    """A wrong code is worse than none."""
    found = Evidence(kind="finding", code=code, label=f"{code} suspected", severity=severity_of(30))
    assert one(judged(study("1.2", found))).radlex == radlex


def test_what_an_image_model_finds_is_the_models_word() -> None:
    """Told from the site's probability on, within the model's budget, with the finding's code; below it, and by default, not."""
    found = Evidence(kind="image", code="pneumothorax", label="image: pneumothorax 0.91", severity=1.0, value=0.91, at=START)
    raised = one(judged(study("1.2", found), policy=RISKY))
    assert (raised.trigger, raised.category, raised.radlex) == ("model-risk", 2, "RID5352")
    assert raised.finding == "image: pneumothorax 0.91"
    assert judged(study("1.2", found)) == []
    assert judged(study("1.2", replace(found, value=0.5)), policy=RISKY) == []


def test_a_new_identity_goes_with_the_open_alert() -> None:
    """After a merge the alert belongs to the survivor, though nothing else has changed."""
    known = one(judged(study("1.2", potassium())))
    assert one(judged(study("1.2", potassium(), patient="survivor", version=2), known)).patient == "survivor"
