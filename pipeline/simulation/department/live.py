"""The live policy's deadlines for simulated studies: `pipeline.domain.deadlines` itself is asked, as the ranking stage asks it.

Assumptions. A study is ready when it arrives, and all of its context is known then. Its order has the priority and patient class that the
scenario draws; without orders in the scenario, none. An AI's answer is calibrated to the site's own prevalence (`findings` of the site
file), and enters as an image model's finding (the most probable of several). Signs enter as the live rules read them: words by
`evidence.of_study`, vital signs by `news2.score`, all of them in one score.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace

from pipeline.domain import deadlines, evidence, image_heads, news2
from pipeline.domain.site import DEFAULT, Policy
from pipeline.domain.urgency import severity_of
from pipeline.simulation.department.scenario import Order, Rule, Scenario, Sign
from pipeline.simulation.department.streams import Floats, Ints, Studies
from schemas.assessments import Evidence, StudyState
from schemas.findings import ImageAssessment, ImageFinding

_READY = datetime(2000, 1, 1, tzinfo=UTC)
_STEPS = 10_000
"""A risk is told to the policy in ten thousandths."""
_FINDING = "flag"


def budgets(scenario: Scenario, studies: Studies, rule: Rule, policy: Policy = DEFAULT) -> Floats:
    """Minutes from arrival to due_at. The policy is asked once for each distinct picture: a deadline counts from the first image, so
    that of two studies alike in all else is as far away."""
    pictures, which = np.unique(_pictures(scenario, studies, rule), axis=0, return_inverse=True)
    minutes = [_minutes(scenario, picture, policy) for picture in pictures.tolist()]
    return np.array(minutes)[which.ravel()]


def targets(scenario: Scenario, studies: Studies, policy: Policy = DEFAULT) -> Floats:
    """Minutes that each study's order allows by itself."""
    alone = [
        deadlines.target(_study(group.modality, order, []), policy).minutes for group in scenario.groups for order in _orders(scenario)
    ]
    return np.asarray(np.array(alone)[studies.group * len(_orders(scenario)) + studies.order])


def _orders(scenario: Scenario) -> list[Order | None]:
    return list(scenario.orders) or [None]


def _pictures(scenario: Scenario, studies: Studies, rule: Rule) -> Ints:
    """One row a study: group, order, risk in steps (-1: none), signs."""
    risk = np.where(np.isnan(studies.risk), -1, np.round(np.nan_to_num(studies.risk) * _STEPS))
    return np.column_stack([studies.group, studies.order, risk, studies.signs & rule.signs]).astype(np.int64)


def _minutes(scenario: Scenario, picture: list[int], policy: Policy) -> float:
    group, order, risk, *seen = picture
    signs = [sign for sign, there in zip(scenario.signs, seen, strict=True) if there]
    study = _study(scenario.groups[group].modality, _orders(scenario)[order], signs)
    said = [*evidence.of_study(study, policy), *_physiology(signs)]
    if risk >= 0:
        said += image_heads.evidence(replace(study, image=_answer(risk / _STEPS, policy)), policy)
    found = deadlines.decide(study, said, policy)
    return (found.due_at - study.ready_at).total_seconds() / 60


def _study(modality: str | None, order: Order | None, signs: list[Sign]) -> StudyState:
    words = "; ".join(sign.indication for sign in signs if sign.indication)
    return StudyState(
        study_uid="2.25.1",
        ready_at=_READY,
        modality=modality,
        priority=order.priority if order else None,
        patient_class=order.patient_class if order else None,
        indication=words or None,
    )


def _answer(probability: float, policy: Policy) -> ImageAssessment:
    share = policy.prevalence(_FINDING)
    finding = ImageFinding(code=_FINDING, label=_FINDING, probability=probability, prevalence=share, ranks=True)
    return ImageAssessment(head=_FINDING, version="1", at=_READY, findings=(finding,))


def _physiology(signs: list[Sign]) -> list[Evidence]:
    observed = {name: value for sign in signs for name, value in sign.news2.items()}
    if not observed:
        return []
    found = news2.score(news2.Observed(**observed))  # type: ignore[arg-type]
    minutes = found.minutes
    severity = 0.0 if minutes is None else severity_of(minutes)
    return [Evidence(kind="news2", code="news2", label=f"NEWS2 {found.total}", severity=severity, value=float(found.total))]
