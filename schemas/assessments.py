"""The request to score, and the score: the documents of the topics assess and assessments."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.codes import PatientClass, RejectionCode, RequestPriority, Sex
from schemas.findings import ImageAssessment, Reported
from schemas.time import Instant


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason: what was seen, when, and from which message.

    kind: "order", "deadline", "appointment", "stroke-clock", "news2", "critical-lab", "lab-flag", "indication", "risk", "image", "report",
    "rejection": images that count no more, and "missing": an input that is not known (both severity 0).
    severity: 0 (no pull) to 1 (emergency), continuous. label: one line for a person ("K 6.8 mmol/L, critical above 6.0").
    when: what the source told of `at`, where that is no time of day ("2026-03-01", "unknown time").
    """

    kind: str
    code: str
    label: str
    severity: float
    value: float | None = None
    unit: str | None = None
    at: Instant | None = None
    event_id: str | None = None
    source: str | None = None
    stale: bool = False
    reverts_when: str | None = None
    when: str | None = None


class Stated(msgspec.Struct, frozen=True, omit_defaults=True):
    """A time, and the message that it is from."""

    at: Instant
    event_id: str | None = None


class Rejected(msgspec.Struct, frozen=True):
    """Images of a study that a rejection note takes back. at: when that was first learned, event_id: from which note."""

    code: RejectionCode
    images: int
    at: Instant
    event_id: str | None = None


class StudyState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One study with the order matched to it, as the context knows it now.

    ready_at: when the first image was there, UTC. matched_by: how order and study found each other.
    closed: why it left the list, None while it is open. image: of its pictures, the assessment that says most.
    reported: of findings, in its reports; None where no report is understood. revised: what a preliminary report said of findings, where
    the final one says the contrary.
    rejected: its images that count no more, each once, by reason.
    door: when the patient came to the emergency department. appointment: the patient's next one in a clinic after the first image.
    """

    study_uid: str
    ready_at: Instant
    acquired_at: Instant | None = None
    modality: str | None = None
    body_part: str | None = None
    description: str | None = None
    instances: int = 0
    complete: bool = False
    conflict: bool = False
    unmatched: bool = False
    accession: str | None = None
    order: str | None = None
    matched_by: Literal["study-uid", "accession", "order", "patient-and-modality"] | None = None
    priority: RequestPriority | None = None
    priority_code: str | None = None
    deadline: Instant | None = None
    requested_at: Instant | None = None
    indication: str | None = None
    patient_class: PatientClass | None = None
    location: str | None = None
    preliminary_report: bool = False
    closed: Literal["reported", "cancelled"] | None = None
    event_id: str | None = None
    image: ImageAssessment | None = None
    reported: tuple[Reported, ...] | None = None
    door: Stated | None = None
    appointment: Stated | None = None
    revised: tuple[Reported, ...] = ()
    rejected: tuple[Rejected, ...] = ()


class Features(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the model sees, by name; a missing input is absent, never imputed here. Layout: `pipeline.domain.features`."""

    values: dict[str, float] = {}
    age: float | None = None
    sex: Sex = "U"


class AssessRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag="assess/1"):
    """A patient with open studies whose context changed materially. Latest `context_version` wins.

    as_of: the latest time that the context knows of, UTC. urgency: Triton priority, 1 (first) to 3.
    evidence: from the physiology rules and the order, with the context it was derived from.
    trigger: id of the newest input event that led here.
    What a site's own model may read beyond the features: values: the newest of catalogue observables that are no feature, not older than
    features may be. concepts: emergencies that the words of the studies to be read suspect. picture: claim check of the newest frontal
    chest film that an image model looked at and did not refuse.
    """

    event_id: str
    patient: str
    context_version: int
    as_of: Instant
    recorded_at: Instant
    urgency: int
    studies: list[StudyState]
    features: Features
    values: dict[str, float] = {}
    concepts: tuple[str, ...] = ()
    picture: str | None = None
    evidence: list[Evidence] = []
    trigger: str | None = None
    sex: Sex = "U"
    age: float | None = None


class Contribution(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much one input moved the risk: difference of the predicted probability without it."""

    feature: str
    label: str
    change: float
    value: float | None = None


class Risk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A calibrated probability and where it comes from.

    outcome: what the label was ("in-hospital death", say), named honestly. probability: 0..1.
    scorer: "triton", "onnxruntime" or "rules" (then probability is None and the list is degraded).
    coverage: share of the model's inputs that were present, 0..1. spread: half the width of the probability between one standard deviation
    of the ensemble's members either way. novelty: how far the input furthest out lies beyond what the model was trained on, in widths of
    that range; 0 within.
    inputs: what the model was given beyond its features: "image", "words", names of values. unseen: why it was not given the picture that
    the request names ("gone", "too-slow", …; "late": it was not prepared in time, and a score with it follows).
    """

    scorer: Literal["triton", "onnxruntime", "rules"]
    outcome: str | None = None
    probability: float | None = None
    model: str | None = None
    model_version: str | None = None
    coverage: float = 0.0
    spread: float | None = None
    novelty: float | None = None
    scored_at: Instant | None = None
    contributions: list[Contribution] = []
    inputs: tuple[str, ...] = ()
    unseen: str | None = None


class Assessment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema", tag="assessment/1"):
    """A patient's open studies with all evidence on them. risk None: the rules alone, sent at once; the model's answer follows."""

    event_id: str
    patient: str
    context_version: int
    as_of: Instant
    recorded_at: Instant
    studies: list[StudyState]
    evidence: list[Evidence] = []
    risk: Risk | None = None
    degraded: bool = False
    trigger: str | None = None
    sex: Sex = "U"
    age: float | None = None
