"""A rank in words: why a study stands where it stands, what is not known, and what has just moved it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pipeline.domain import adjustments, image_heads
from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.evidence import clock, told
from pipeline.domain.model_inputs import IMAGE, WORDS
from schemas.assessments import Assessment, Evidence, Risk, StudyState
from schemas.worklist import Reason, WorklistItem

_KIND_WORDS = {"vital": "vitals", "lab": "labs"}
_MOST_REASONS = 4
_MOST_CAUSES = 3


def why(reasons: Sequence[Reason], as_of: datetime, risk: Risk | None) -> str:
    """One line, the strongest reason first: "K 6.8 at 09:12Z · NEWS2 9 · risk 0.81 (labs + vitals)". When nothing pulls: the order."""
    pulling = sorted((reason for reason in reasons if reason.minutes > 0), key=lambda reason: (not reason.binding, -reason.minutes))
    if pulling:
        more = [f"{len(pulling) - _MOST_REASONS} more"] if len(pulling) > _MOST_REASONS else []
        return " · ".join([*(_short(reason.evidence, as_of, risk) for reason in pulling[:_MOST_REASONS]), *more])
    return next(reason.evidence.label for reason in reasons if reason.binding)


def _short(evidence: Evidence, as_of: datetime, risk: Risk | None) -> str:
    old = ", old" if evidence.stale else ""
    if evidence.kind == "critical-lab" and evidence.at is not None and evidence.value is not None:
        return f"{BY_NAME[evidence.code].label} {evidence.value:g} {told(evidence.at, evidence.when, as_of)}{old}"
    if evidence.kind == "news2" and evidence.value is not None:
        partial = "" if "(7 of 7" in evidence.label else " (partial)"
        return f"NEWS2 {evidence.value:g}{partial}{old}"
    if evidence.kind == "stroke-clock" and evidence.at is not None:
        return f"door {clock(evidence.at, as_of)}"
    if evidence.kind == "risk" and evidence.value is not None:
        inputs = inputs_of(risk)
        return f"risk {evidence.value:.2f}" + (f" ({' + '.join(inputs)})" if inputs else "")
    return evidence.label + old


def inputs_of(risk: Risk | None) -> list[str]:
    """Which kinds of input moved the model: "labs", "vitals", "image", "words", in that order."""
    features = {contribution.feature.partition(".")[0] for contribution in risk.contributions if contribution.change} if risk else set()
    kinds = {_KIND_WORDS[BY_NAME[feature].kind] for feature in features if feature in BY_NAME}
    return sorted(kinds | features & {IMAGE, WORDS}, key=("labs", "vitals", IMAGE, WORDS).index)


def missing(study: StudyState, assessment: Assessment, risk: Risk | None, heads: image_heads.Scopes) -> list[str]:
    """The inputs that are not known, as nouns. heads: the image models that there are."""
    said = [evidence.label for evidence in assessment.evidence if evidence.kind == "missing"]
    return [
        *(["order"] if study.order is None and study.priority is None else []),
        *(["indication"] if not study.indication else []),
        *said,
        *(["age"] if assessment.age is None else []),
        *(["model score"] if risk is None or risk.probability is None else []),
        *([picture] if (picture := image_heads.missing(study, heads)) else []),
    ]


def cause(before: WorklistItem | None, after: WorklistItem) -> str:
    """What changed, in the words of the evidence that changed."""
    if after.study.closed:
        if before is None or before.study.closed != after.study.closed or before.study.rejected == after.study.rejected:
            return after.study.closed
        return "; ".join(_evidence_causes(before, after)[:_MOST_CAUSES])
    if before is None:
        return "images arrived"
    if before.state == "closed":
        return "open again"
    found = [*_study_causes(before, after), *_ended(before, after), *_evidence_causes(before, after)]
    more = f"; {len(found) - _MOST_CAUSES} more" if len(found) > _MOST_CAUSES else ""
    if not found:
        return "what was held back as noise has settled" if before.due_at != after.due_at else "details of the study"
    return "; ".join(found[:_MOST_CAUSES]) + more


def _study_causes(before: WorklistItem, after: WorklistItem) -> list[str]:
    old, new = before.study, after.study
    flags = (
        (before.patient != after.patient, "patient identity changed"),
        (new.complete and not old.complete, "study complete"),
        (new.preliminary_report and not old.preliminary_report, "preliminary report"),
        (new.order != old.order and new.order is not None, "order matched"),
        (after.degraded and not before.degraded, "the model does not answer"),
        (before.degraded and not after.degraded, "the model is back"),
        (before.policy not in (None, after.policy), f"policy changed to {after.policy}"),
    )
    return [words for holds, words in flags if holds]


def _ended(before: WorklistItem, after: WorklistItem) -> list[str]:
    """Which acts of readers are over, and why."""
    was, now = before.adjustment, after.adjustment
    causes = []
    if was and was.hold and not (now and now.hold):
        over = after.ranked_at >= was.hold.until
        why = "its time is over" if over else adjustments.news(was.hold, after) or "it became more pressing"
        causes.append(f"no longer set aside ({was.hold.words}): {why}")
    if was and was.override and not (now and now.override):
        why = "its time is over" if after.ranked_at >= was.override.until else "it became more pressing"
        causes.append(f"override by {was.override.by} ended: {why}")
    return causes


def _evidence_causes(before: WorklistItem, after: WorklistItem) -> list[str]:
    old = {(reason.evidence.kind, reason.evidence.code): reason.evidence for reason in before.reasons}
    new = {(reason.evidence.kind, reason.evidence.code): reason.evidence for reason in after.reasons}
    acts = adjustments.KINDS
    changed = [one.label for key, one in new.items() if key[0] not in acts and (key not in old or said(old[key]) != said(one))]
    own = {"order", "deadline", *acts}
    return changed + [f"no longer: {one.label}" for key, one in old.items() if key not in new and key[0] not in own]


def said(evidence: Evidence) -> tuple[str, str, str, bool]:
    """What a reader takes from a piece of evidence: two that say the same are the same. A laboratory value's label has its time in it."""
    words = f"{evidence.value:.2f}" if evidence.kind == "risk" and evidence.value is not None else evidence.label
    return evidence.kind, evidence.code, words, evidence.stale
