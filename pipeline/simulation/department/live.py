"""The live policy's deadlines for simulated studies: `pipeline.domain.deadlines` itself is asked, as the ranking stage asks it.

Assumptions. A study is ready when it arrives, and all of its context is known then. Its order has the priority and patient class that the
scenario draws; without orders in the scenario, none. An AI's answer is calibrated, and enters as the study's risk (the highest of
several); where the policy's `minutes` name the AI, its flag is instead a rule's finding that allows these minutes. Signs enter as the
live rules read them: words by `evidence.of_study`, vital signs by `news2.score`, all of them in one score.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from pipeline.domain import deadlines, evidence, news2
from pipeline.domain.site import DEFAULT, Policy
from pipeline.domain.urgency import severity_of
from pipeline.simulation.department.scenario import Ai, Order, Rule, Scenario, Sign
from pipeline.simulation.department.streams import Floats, Ints, Studies
from schemas.assessments import Evidence, Risk, StudyState

_READY = datetime(2000, 1, 1, tzinfo=UTC)
_STEPS = 10_000
"""A risk is told to the policy in ten thousandths."""


def budgets(scenario: Scenario, studies: Studies, rule: Rule, policy: Policy = DEFAULT) -> Floats:
    """Minutes from arrival to due_at. The policy is asked once for each distinct picture: a deadline counts from the first image, so
    that of two studies alike in all else is as far away."""
    pictures, which = np.unique(_pictures(scenario, studies, rule), axis=0, return_inverse=True)
    minutes = [_minutes(scenario, rule, picture, policy) for picture in pictures.tolist()]
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
    """One row a study: group, order, risk in steps (-1: none), flags, signs."""
    as_risk = np.array([ai.name not in rule.minutes for ai in scenario.ais], bool)
    told = np.isin(studies.group, [n for n, group in enumerate(scenario.groups) if _asks(scenario, group.name, as_risk)])
    risk = np.where(told & ~np.isnan(studies.risk), np.round(np.nan_to_num(studies.risk) * _STEPS), -1)
    findings = studies.flags & ~as_risk
    signs = studies.signs & rule.signs
    return np.column_stack([studies.group, studies.order, risk, findings, signs]).astype(np.int64)


def _asks(scenario: Scenario, group: str, as_risk: np.ndarray) -> bool:
    return any(ai.group == group and enters for ai, enters in zip(scenario.ais, as_risk, strict=True))


def _minutes(scenario: Scenario, rule: Rule, picture: list[int], policy: Policy) -> float:
    group, order, risk, *rest = picture
    findings = [ai for ai, flag in zip(scenario.ais, rest, strict=False) if flag]
    signs = [sign for sign, seen in zip(scenario.signs, rest[len(scenario.ais) :], strict=True) if seen]
    study = _study(scenario.groups[group].modality, _orders(scenario)[order], signs)
    said = [*evidence.of_study(study), *_physiology(signs), *(_finding(ai, rule.minutes[ai.name]) for ai in findings)]
    if risk >= 0 and (calibrated := deadlines.of_risk(Risk(scorer="onnxruntime", probability=risk / _STEPS), policy)):
        said.append(calibrated)
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


def _physiology(signs: list[Sign]) -> list[Evidence]:
    observed = {name: value for sign in signs for name, value in sign.news2.items()}
    if not observed:
        return []
    found = news2.score(news2.Observed(**observed))  # type: ignore[arg-type]
    minutes = found.minutes
    severity = 0.0 if minutes is None else severity_of(minutes)
    return [Evidence(kind="news2", code="news2", label=f"NEWS2 {found.total}", severity=severity, value=float(found.total))]


def _finding(ai: Ai, minutes: float) -> Evidence:
    return Evidence(kind="finding", code=ai.name, label=f"{ai.finds} flagged by {ai.name}", severity=severity_of(minutes))
