"""From a window to what is sent on: the assessment by the rules alone, and the request to score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from pipeline.domain import model_inputs
from pipeline.domain.catalogue import BY_NAME
from pipeline.domain.history import Tallies
from pipeline.domain.readings import FlaggedResult, Readings
from pipeline.domain.window import Window
from schemas.assessments import Assessment, AssessRequest, Evidence, Features, Risk, StudyState
from schemas.codes import Sex
from schemas.identifiers import event_id

Gather = Callable[[Readings, Sequence[StudyState], Sequence[FlaggedResult], datetime, float | None], list[Evidence]]
Extract = Callable[[Readings, datetime, float | None, Sex, Tallies], Features]

EMERGENCY, SERIOUS = 0.8, 0.4
"""Severities from which a patient is scored first or second."""
URGENCIES = (1, 2, 3)
"""Triton's priorities, the first first."""

_MATERIAL = ("last", "min", "max")
"""Statistics that stand for a feature's change; the others follow from them or only from the time that passes."""


@dataclass(frozen=True, slots=True)
class View:
    """What a window says at its own time; `studies` are open or have just closed. values, picture: as in AssessRequest."""

    as_of: datetime
    studies: Sequence[StudyState]
    evidence: Sequence[Evidence]
    features: Features
    sex: Sex
    age: float | None
    values: Mapping[str, float]
    picture: str | None

    @property
    def open(self) -> bool:
        """Whether anything is still to be read."""
        return any(study.closed is None for study in self.studies)

    @property
    def closed(self) -> bool:
        """Whether anything has just been closed."""
        return any(study.closed is not None for study in self.studies)

    @property
    def urgency(self) -> int:
        """Triton priority: 1 first, 3 last."""
        strongest = max((evidence.severity for evidence in self.evidence), default=0.0)
        waiting = [study for study in self.studies if study.closed is None]
        if strongest >= EMERGENCY or any(study.priority == "stat" for study in waiting):
            return 1
        return 2 if strongest >= SERIOUS or any(study.patient_class == "E" for study in waiting) else 3

    def digest(self) -> int:
        """Differs when something material to a study to be read does: not the passing of time, not one image more, not noise in a value.

        What a reader sees of the evidence counts whole: then the list says the same however the events came in batches.
        """
        return hash(
            (
                tuple(_material_study(study) for study in self.studies if study.closed is None),
                tuple(sorted((e.kind, e.code, e.label, e.stale) for e in self.evidence)),
                tuple(_material_features(self.features)),
                tuple((name, _rounded(name, value)) for name, value in self.values.items()),
                self.picture,
                self.sex,
                self.age,
            )
        )


def view(window: Window, studies: Sequence[StudyState], gather: Gather, extract: Extract) -> View:
    """What `window` says of `studies`; the window has events. Those to be read say where the patient is, the others only where none is."""
    as_of, readings, age, sex = window.as_of, window.readings, window.age, window.sex
    assert as_of is not None
    standing = [study for study in studies if study.closed is None] or studies
    seen = extract(readings, as_of, age, sex, window.tallies)
    found, further = gather(readings, standing, window.flags, as_of, age), model_inputs.newest(readings, as_of)
    return View(as_of, studies, found, seen, sex, age, further, window.picture)


def assessment(patient: str, version: int, seen: View, now: datetime, trigger: str | None) -> Assessment:
    """By the rules alone; the model's answer follows."""
    return Assessment(
        event_id=event_id("context", f"assessment|{patient}|{version}"),
        patient=patient,
        context_version=version,
        as_of=seen.as_of,
        recorded_at=now,
        studies=list(seen.studies),
        evidence=list(seen.evidence),
        trigger=trigger,
        sex=seen.sex,
        age=seen.age,
    )


def answer(asked: AssessRequest, identity: str, risk: Risk, degraded: bool, now: datetime) -> Assessment:
    """The same studies and evidence, with what a model says."""
    return Assessment(
        event_id=identity,
        patient=asked.patient,
        context_version=asked.context_version,
        as_of=asked.as_of,
        recorded_at=now,
        trigger=asked.trigger,
        studies=asked.studies,
        evidence=asked.evidence,
        risk=risk,
        degraded=degraded,
        sex=asked.sex,
        age=asked.age,
    )


def request(patient: str, version: int, seen: View, now: datetime, trigger: str | None) -> AssessRequest:
    """To the model, for the studies that are still open.

    It carries what only a site's own version reads, whoever is served: this stage knows no model, a version that is promoted or looks on is
    asked by all of it from the next request on, and it is some hundred bytes beside the features' two thousand.
    """
    waiting = [study for study in seen.studies if study.closed is None]
    return AssessRequest(
        event_id=event_id("context", f"assess|{patient}|{version}"),
        patient=patient,
        context_version=version,
        as_of=seen.as_of,
        recorded_at=now,
        urgency=seen.urgency,
        studies=waiting,
        features=seen.features,
        values=dict(seen.values),
        concepts=model_inputs.suspected(*model_inputs.words(waiting)),
        picture=seen.picture,
        evidence=list(seen.evidence),
        trigger=trigger,
        sex=seen.sex,
        age=seen.age,
    )


def _material_study(study: StudyState) -> StudyState:
    return msgspec.structs.replace(study, instances=0)


def _material_features(features: Features) -> Iterable[tuple[str, float]]:
    for name, value in features.values.items():
        observable, _, statistic = name.rpartition(".")
        if statistic in _MATERIAL:
            yield name, _rounded(observable, value)
        elif not observable:
            yield name, value


def _rounded(observable: str, value: float) -> float:
    """Three digits of a laboratory value, two of a vital sign (three of a temperature)."""
    known = BY_NAME.get(observable)
    digits = 2 if known is not None and known.kind == "vital" and observable != "temperature" else 3
    return float(f"{value:.{digits}g}")
