"""When a study should be read: the order's own target, shortened by what the evidence allows.

Each reason alone allows some minutes after the first image; the shortest wins. A minimum counts nothing twice, is monotone in every
reason, and cannot be later than the order's target, which is one of those it is taken over. What is unknown takes no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.domain import indications
from pipeline.domain.site import DEFAULT, Policy
from pipeline.domain.urgency import FLOOR_MINUTES, LONGEST_MINUTES, minutes_of, severity_of
from schemas.assessments import Evidence, Risk, Stated, StudyState
from schemas.worklist import Reason

_OF_THE_BRAIN = frozenset({None, "CT", "MR"})
"""What the clock of a stroke is read on; an unknown modality may be one of them."""
_OF_THIS_VISIT = timedelta(hours=24)
"""From door to image; the longest window of a treatment. What is taken later is not what the patient came for."""

_MINUTE = timedelta(minutes=1)
_WORDS = {"emergency": "emergency department", "inpatient": "inpatient", "outpatient": "outpatient"}


@dataclass(frozen=True, slots=True)
class Target:
    """What the order, or a clock, asks for: minutes from the first image, and why."""

    minutes: float
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Deadline:
    """due_at <= target_at; exactly one reason is binding."""

    due_at: datetime
    target_at: datetime
    reasons: tuple[Reason, ...]


def target(study: StudyState, policy: Policy = DEFAULT) -> Target:
    """The order's own minutes.

    An explicit deadline takes the place of the priority's usual minutes, save where stat or asap asks for it sooner. Without a priority the
    study is held to the site's `unordered` one; where even the patient class is unknown, to the modality's minutes.
    """
    usual, label = _usual(study, policy)
    found = Target(_held(usual), _evidence(study, "order", study.priority or "none", label, usual))
    if study.deadline is None:
        return found
    minutes = _held((study.deadline - study.ready_at).total_seconds() / 60)
    if study.priority in ("stat", "asap") and usual < minutes:
        return found
    return Target(
        minutes, _evidence(study, "deadline", study.priority_code or "deadline", f"ordered for {study.deadline:%Y-%m-%d %H:%MZ}", minutes)
    )


def _usual(study: StudyState, policy: Policy) -> tuple[float, str]:
    setting = policy.setting(study.patient_class)
    if study.priority is None and setting is None:
        minutes = policy.modalities.get(study.modality or "", policy.other_modality)
        return minutes, f"no priority, no patient class: {study.modality or 'unknown modality'} within {words(minutes)}"
    level = study.priority or policy.unordered
    here = policy.place_minutes(level, study.location)
    minutes = policy.targets[(level, setting or "inpatient")] if here is None else here
    who = f"at {study.location}" if here is not None else _WORDS[setting] if setting else "patient class unknown"
    return minutes, f"{study.priority or 'no priority'}, {who}: within {words(minutes)}"


def clocks(study: StudyState, policy: Policy = DEFAULT) -> Iterator[Target]:
    """Set by neither order nor findings: a visit to a clinic, and a stroke's time from the door (AHA 2013: CT interpreted in 45 min)."""
    if (visit := study.appointment) is not None:
        minutes = (visit.at - study.ready_at) / _MINUTE - policy.appointment_lead
        label = f"clinic appointment {visit.at:%Y-%m-%d %H:%MZ}"
        yield _clock("appointment", minutes, label, visit, "another time of the appointment, or none")
    door = study.door
    if door is None or study.modality not in _OF_THE_BRAIN or not timedelta() <= study.ready_at - door.at <= _OF_THIS_VISIT:
        return
    if any(found.bundle.code == "stroke" for found in indications.find(study.indication, study.description)):
        minutes = policy.stroke_door - (study.ready_at - door.at) / _MINUTE
        label = f"stroke, at the door {door.at:%Y-%m-%d %H:%MZ}: read within {words(policy.stroke_door)} of that"
        yield _clock("stroke-clock", minutes, label, door, "an indication that names no stroke")


def _clock(kind: str, minutes: float, label: str, stated: Stated, reverts_when: str) -> Target:
    held = _held(minutes)
    said = Evidence(
        kind=kind, code=kind, label=label, severity=severity_of(held), at=stated.at, event_id=stated.event_id, reverts_when=reverts_when
    )
    return Target(held, said)


def _evidence(study: StudyState, kind: str, code: str, label: str, minutes: float) -> Evidence:
    return Evidence(kind=kind, code=code, label=label, severity=severity_of(minutes), at=study.requested_at, event_id=study.event_id)


def of_risk(risk: Risk | None, policy: Policy = DEFAULT) -> Evidence | None:
    """The model's calibrated probability as evidence; None where there is none, or none that is a probability."""
    if risk is None or risk.probability is None or not 0 <= risk.probability <= 1:
        return None
    severity = round(policy.risk.of(risk.probability), 6)
    return Evidence(
        kind="risk",
        code=risk.model or risk.scorer,
        label=f"risk {risk.probability:.2f} of {risk.outcome or 'an unnamed outcome'}",
        severity=severity,
        value=risk.probability,
        at=risk.scored_at,
        source=risk.scorer,
        reverts_when=f"risk {policy.risk.none_below:.2f} or below" if severity else None,
    )


def allowed(evidence: Evidence, target_minutes: float, policy: Policy = DEFAULT) -> float:
    """Minutes that this evidence alone allows, never more than the target's.

    A rule's severity stands for minutes whatever the order (`urgency.minutes_of`). A model's risk or finding shortens the order's own
    target, in proportion on a logarithmic scale, down to the site's floor for it: the model never asks for more haste than physiology at
    its worst.
    """
    if evidence.kind in ("risk", "image"):
        floor = min((policy.image if evidence.kind == "image" else policy.risk).floor, target_minutes)
        return float(target_minutes * (floor / target_minutes) ** min(max(evidence.severity, 0.0), 1.0))
    return min(target_minutes, minutes_of(evidence.severity))


def decide(study: StudyState, evidence: Iterable[Evidence], policy: Policy = DEFAULT) -> Deadline:
    """The deadline, with every reason and the minutes that it alone moves. Of equals the order binds first, then the one given first.

    A clock that leaves more time than the order takes no part.
    """
    own = target(study, policy)
    sooner = [(clock.minutes, clock.evidence) for clock in clocks(study, policy) if clock.minutes < own.minutes]
    options = [(own.minutes, own.evidence), *sooner, *((allowed(one, own.minutes, policy), one) for one in evidence)]
    shortest = min(range(len(options)), key=lambda index: options[index][0])
    reasons = tuple(
        Reason(evidence=one, minutes=round(float(own.minutes - minutes), 1), binding=index == shortest)
        for index, (minutes, one) in enumerate(options)
    )
    return Deadline(_after(study, options[shortest][0]), _after(study, own.minutes), reasons)


def _after(study: StudyState, minutes: float) -> datetime:
    return study.ready_at + timedelta(seconds=round(minutes * 60))


def _held(minutes: float) -> float:
    """A deadline in the past leaves the time to open the study; one in the far future is held to what any report may take."""
    return min(max(minutes, FLOOR_MINUTES), LONGEST_MINUTES)


def words(minutes: float) -> str:
    """ "45 min", "4 h", "3 d"."""
    if minutes < 120:
        return f"{minutes:g} min"
    return f"{minutes / 60:g} h" if minutes < 2880 else f"{minutes / 1440:g} d"
