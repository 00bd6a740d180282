"""From an assessment to the worklist item of one study.

Starvation bound (theorem): let the list be ordered by (due_at, study_uid), and let every study have at least F = 5 minutes from its first
image (`urgency.FLOOR_MINUTES`). Then a study with deadline D is read after nothing that became ready after D - F: such a study is due
after D, so it stands below. As D never passes the order's own target, what arrives later than F before that target, however urgent and
however much of it, cannot delay the study; it waits at most for the studies that were ready by then and were due no later than itself.
What readers do themselves is outside the theorem, and on record: a hold moves D by as long as it lasts, an override sets D.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from msgspec.structs import replace

from pipeline.domain import adjustments, deadlines, evidence, explanation, stability
from pipeline.domain.image_heads import NO_HEADS, Scopes
from pipeline.domain.site import DEFAULT, Policy
from schemas.assessments import Assessment, Evidence, Risk, StudyState
from schemas.worklist import WorklistItem

_PATIENT_KINDS = frozenset({"news2", "critical-lab", "lab-flag"})


def is_outdated(stored: WorklistItem | None, assessment: Assessment) -> bool:
    """Whether the stored item already rests on this context or a newer one.

    The rules alone say the same of the same context: a second rules-only assessment of a version adds nothing, a model's answer does.
    """
    if stored is None:
        return False
    if assessment.context_version == stored.context_version:
        return assessment.risk is None and not assessment.degraded
    return assessment.context_version < stored.context_version


Oddity = Literal["score-out-of-range", "deadline-passed", "study-twice"]


def oddities(assessment: Assessment) -> list[Oddity]:
    """What ranking meets by a rule of its own: a score that is no probability counts as none, a deadline that had passed before the images
    came leaves the time to open the study, and of a study that is there twice the one due first counts."""
    risk, studies = assessment.risk, assessment.studies
    known = {study.study_uid for study in studies}
    found: list[Oddity] = ["study-twice"] * (len(studies) - len(known))
    found += ["deadline-passed" for study in studies if study.deadline is not None and study.deadline < study.ready_at]
    if risk is not None and risk.probability is not None and not 0 <= risk.probability <= 1:
        found.append("score-out-of-range")
    return found


def each_once(studies: Sequence[StudyState], policy: Policy = DEFAULT) -> list[StudyState]:
    """Of a study that is there twice the one whose own target is sooner; the others as they are."""
    sooner: dict[str, StudyState] = {}
    for study in studies:
        known = sooner.get(study.study_uid)
        if known is None or deadlines.decide(study, (), policy).due_at < deadlines.decide(known, (), policy).due_at:
            sooner[study.study_uid] = study
    return list(sooner.values())


def rank(
    previous: WorklistItem | None,
    assessment: Assessment,
    study: StudyState,
    ranked_at: datetime,
    policy: Policy = DEFAULT,
    heads: Scopes = NO_HEADS,
) -> WorklistItem:
    """The item of `study`, one of the assessment's studies. `previous` is what the list shows now; what readers did to it stays.

    heads: the image models that there are: without one for the study, its picture's word is not waited for.
    """
    risk = known_risk(previous, assessment)
    found = deadlines.decide(study, _evidence(study, assessment.evidence, risk, policy), policy)
    reasons = list(found.reasons)
    item = WorklistItem(
        study=study,
        patient=assessment.patient,
        due_at=found.due_at,
        target_at=found.target_at,
        reasons=reasons,
        why=explanation.why(reasons, assessment.as_of, risk),
        context_version=assessment.context_version,
        as_of=assessment.as_of,
        ranked_at=ranked_at,
        risk=risk,
        degraded=_degraded(previous, assessment),
        provisional=not study.complete,
        missing=explanation.missing(study, assessment, risk, heads),
        state="closed" if study.closed else "open",
        sex=assessment.sex,
        age=assessment.age,
        policy=policy.version,
    )
    return _placed(previous, item, ranked_at, policy)


def review(previous: WorklistItem, ranked_at: datetime, policy: Policy = DEFAULT) -> WorklistItem:
    """The same evidence once more: time has passed (a hold or an override is over, noise has settled), or the site's rules are others."""
    study, kept = previous.study, [reason.evidence for reason in previous.reasons]
    found = deadlines.decide(study, _evidence(study, kept, previous.risk, policy), policy)
    reasons = list(found.reasons)
    item = replace(
        previous,
        due_at=found.due_at,
        target_at=found.target_at,
        reasons=reasons,
        why=explanation.why(reasons, previous.as_of, previous.risk),
        ranked_at=ranked_at,
        policy=policy.version,
        adjustment=None,
        review_at=None,
    )
    return _placed(previous, item, ranked_at, policy)


def _placed(previous: WorklistItem | None, item: WorklistItem, now: datetime, policy: Policy) -> WorklistItem:
    """Kept from jumping, then with what readers did to it."""
    if previous is None:
        return replace(item, moved_at=now)
    steady = stability.steadied(adjustments.plain(previous), item, now, policy)
    return adjustments.adjusted(steady, adjustments.standing(previous.adjustment, steady, now, policy))


def known_risk(previous: WorklistItem | None, assessment: Assessment) -> Risk | None:
    """The newest model score of this study's patient.

    An assessment without one (the rules speak first, or the model does not answer) leaves the last known score standing, with its own
    time and version, so that the list does not jump to and fro; the score of another patient is never carried over.
    """
    new = assessment.risk
    if new is not None and new.probability is not None and 0 <= new.probability <= 1:
        return new
    if (
        previous is not None
        and previous.risk is not None
        and previous.risk.probability is not None
        and previous.patient == assessment.patient
    ):
        return previous.risk
    return new if new is None or new.probability is None else replace(new, probability=None)


def _degraded(previous: WorklistItem | None, assessment: Assessment) -> bool:
    """What the model's last answer, or its absence, said; the rules alone, sent ahead of it, say nothing about the model."""
    if assessment.risk is None and previous is not None:
        return assessment.degraded or previous.degraded
    return assessment.degraded


def _evidence(study: StudyState, known: Iterable[Evidence], risk: Risk | None, policy: Policy) -> list[Evidence]:
    said = deadlines.of_risk(risk, policy)
    patient = [one for one in known if one.kind in _PATIENT_KINDS]
    return [*evidence.of_study(study, policy), *patient, *([said] if said else [])]


# --- what a reader sees ------------------------------------------------------------------------------------------------------------


def same_to_a_reader(before: WorklistItem | None, after: WorklistItem) -> bool:
    """Whether nothing that a reader sees has moved: times of ranking, versions and a probability's third decimal are not seen.

    The number of images is seen, but moves with every image: it follows with the next change, or when the study is complete.
    """
    return before is not None and _seen(before) == _seen(after)


def _seen(item: WorklistItem) -> tuple[object, ...]:
    return (
        replace(item.study, instances=0, event_id=None),
        item.patient,
        item.due_at,
        item.target_at,
        item.adjustment,
        item.review_at,
        item.state == "closed",
        item.why,
        item.missing,
        item.provisional,
        item.degraded,
        item.sex,
        item.age,
        _risk_seen(item.risk),
        [(explanation.said(reason.evidence), reason.binding) for reason in item.reasons],
    )


def _risk_seen(risk: Risk | None) -> tuple[object, ...] | None:
    """A model that was not asked and one that did not answer look the same; `degraded` tells them apart."""
    if risk is None or risk.probability is None:
        return None
    return risk.scorer, risk.model, risk.model_version, round(risk.probability, 2), risk.inputs, risk.unseen
