"""From an assessment to the worklist item of one study.

Starvation bound: the list is ordered by (due_at, study_uid), so a study is overtaken only by studies due earlier. Each study has at least
five minutes from its first image, so none of those became ready later than five minutes before this study's due_at, and due_at is
never later than the order's own target. Whatever arrives after that moment, however urgent, cannot delay it.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from pipeline.domain import deadlines, evidence, explanation
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


def rank(
    previous: WorklistItem | None, assessment: Assessment, study: StudyState, ranked_at: datetime, policy: Policy = DEFAULT
) -> WorklistItem:
    """The item of `study`, one of the assessment's studies. `previous` is what the list shows now.

    Dead band: due_at stays where it was while it would move by less than `policy.dead_band` and the same reasons pull it, unless the
    order's own target moved or the study was closed or opened again. So a risk of 0.612 after 0.610 moves nothing, a new reason does.
    """
    risk = known_risk(previous, assessment)
    found = deadlines.decide(study, _evidence(study, assessment, risk, policy), policy)
    reasons = list(found.reasons)
    item = WorklistItem(
        study=study,
        patient=assessment.patient,
        due_at=found.due_at,
        target_at=found.target_at,
        reasons=reasons,
        why=explanation.why(reasons, assessment, risk),
        context_version=assessment.context_version,
        as_of=assessment.as_of,
        ranked_at=ranked_at,
        risk=risk,
        degraded=_degraded(previous, assessment),
        provisional=not study.complete,
        missing=explanation.missing(study, assessment, risk),
        state="closed" if study.closed else "open",
        sex=assessment.sex,
        age=assessment.age,
    )
    return replace(item, due_at=previous.due_at) if previous and _in_dead_band(previous, item, policy) else item


def known_risk(previous: WorklistItem | None, assessment: Assessment) -> Risk | None:
    """The newest model score of this study's patient.

    An assessment without one (the rules speak first, or the model does not answer) leaves the last known score standing, with its own
    time and version, so that the list does not jump to and fro; the score of another patient is never carried over.
    """
    new = assessment.risk
    if new is not None and new.probability is not None:
        return new
    if (
        previous is not None
        and previous.risk is not None
        and previous.risk.probability is not None
        and previous.patient == assessment.patient
    ):
        return previous.risk
    return new


def _degraded(previous: WorklistItem | None, assessment: Assessment) -> bool:
    """What the model's last answer, or its absence, said; the rules alone, sent ahead of it, say nothing about the model."""
    if assessment.risk is None and previous is not None:
        return assessment.degraded or previous.degraded
    return assessment.degraded


def _evidence(study: StudyState, assessment: Assessment, risk: Risk | None, policy: Policy) -> list[Evidence]:
    said = deadlines.of_risk(risk, policy)
    patient = [one for one in assessment.evidence if one.kind in _PATIENT_KINDS]
    return [*evidence.of_study(study), *patient, *([said] if said else [])]


def _in_dead_band(previous: WorklistItem, item: WorklistItem, policy: Policy) -> bool:
    return (
        previous.state != "closed"
        and item.state != "closed"
        and previous.patient == item.patient
        and previous.target_at == item.target_at
        and abs(item.due_at - previous.due_at) < policy.dead_band
        and _pulling(previous) == _pulling(item)
    )


def _pulling(item: WorklistItem) -> set[tuple[str, str, bool]]:
    return {(reason.evidence.kind, reason.evidence.code, reason.binding) for reason in item.reasons if reason.minutes > 0 or reason.binding}


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
        item.state == "closed",
        item.why,
        item.missing,
        item.provisional,
        item.degraded,
        item.sex,
        item.age,
        None if item.risk is None else (item.risk.scorer, item.risk.model, item.risk.model_version, _rounded(item.risk.probability)),
        [(explanation.said(reason.evidence), reason.binding) for reason in item.reasons],
    )


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 2)
