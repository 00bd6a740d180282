"""What a site may decide about ranking, with the defaults and why they are what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

from pipeline.domain import critical_labs
from pipeline.domain.escalation_policy import DEFAULT as ESCALATION
from pipeline.domain.escalation_policy import EscalationPolicy
from schemas.assessments import StudyState
from schemas.codes import PatientClass, RequestPriority

Setting = Literal["emergency", "inpatient", "outpatient"]

_SETTINGS: Mapping[PatientClass | None, Setting | None] = MappingProxyType(
    {"E": "emergency", "I": "inpatient", "B": "inpatient", "O": "outpatient", "P": "outpatient", "R": "outpatient", "C": "outpatient"}
)

_HOUR, _DAY = 60.0, 1440.0

# stat: vendors and teleradiology promise 30 to 60 min, AHA 2013 wants the CT interpreted within 45.
# Inpatients: NHS seven-day standard 5: critical 1 h, urgent 12 h, non-urgent 24 h.
# Emergency department: the report must come within the patient's stay, so urgent is 2 h and routine 4 h.
# Outpatients: no published minutes; routine within three days, well inside NHS England's 28.
_TARGETS: Mapping[tuple[RequestPriority, Setting], float] = MappingProxyType(
    {
        ("stat", "emergency"): 45,
        ("stat", "inpatient"): _HOUR,
        ("stat", "outpatient"): _HOUR,
        ("asap", "emergency"): _HOUR,
        ("asap", "inpatient"): 2 * _HOUR,
        ("asap", "outpatient"): 4 * _HOUR,
        ("urgent", "emergency"): 2 * _HOUR,
        ("urgent", "inpatient"): 12 * _HOUR,
        ("urgent", "outpatient"): _DAY,
        ("routine", "emergency"): 4 * _HOUR,
        ("routine", "inpatient"): _DAY,
        ("routine", "outpatient"): 3 * _DAY,
    }
)

# Nothing says how urgent it is, nor where the patient is: what acute questions use most comes first.
_MODALITIES: Mapping[str, float] = MappingProxyType(
    {
        "CT": 4 * _HOUR,
        "XA": 4 * _HOUR,
        "CR": 8 * _HOUR,
        "DX": 8 * _HOUR,
        "US": 8 * _HOUR,
        "MR": 12 * _HOUR,
        "PT": _DAY,
        "NM": _DAY,
        "MG": 2 * _DAY,
    }
)


def fits(pattern: str, location: str | None) -> bool:
    """Whether a location (HL7 PL, or a word) is meant by a pattern with * and ?."""
    return location is not None and fnmatchcase(location.upper(), pattern.upper())


@dataclass(frozen=True, slots=True)
class PlaceTargets:
    """Minutes of single priorities for the patients of one place; `pattern` with * and ? (`ICU*`), case does not matter."""

    pattern: str
    minutes: Mapping[RequestPriority, float]

    def covers(self, location: str | None) -> bool:
        """Whether the place (HL7 PL, or a word) is meant."""
        return fits(self.pattern, location)


@dataclass(frozen=True, slots=True)
class SubList:
    """A named part of the one list, by what a study is and where its patient is: an empty filter lets everything through.

    locations: patterns with * and ?. skill: what a reader of it must be able to read, in words.
    """

    name: str
    title: str
    skill: str = ""
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    patient_classes: tuple[PatientClass, ...] = ()
    locations: tuple[str, ...] = ()

    def holds(self, study: StudyState) -> bool:
        """Whether the study stands on it."""
        return (
            (not self.modalities or study.modality in self.modalities)
            and (not self.body_parts or (study.body_part or "").upper() in self.body_parts)
            and (not self.patient_classes or study.patient_class in self.patient_classes)
            and (not self.locations or any(fits(pattern, study.location) for pattern in self.locations))
        )


@dataclass(frozen=True, slots=True)
class HoldReason:
    """Why a study cannot be read as it is. minutes: after which it returns by itself, unless the reader gave fewer."""

    code: str
    words: str
    minutes: float


_HOLDS = (
    HoldReason("images-missing", "images are missing", _HOUR),
    HoldReason("priors-missing", "prior images are needed and not here yet", _HOUR),
    HoldReason("quality", "the images cannot be read; to be repeated", 2 * _HOUR),
    HoldReason("wrong-patient", "patient or examination does not match the order", _HOUR),
    HoldReason("question", "a question to the referrer is open", 2 * _HOUR),
    HoldReason("other-expertise", "somebody with another expertise is needed", 4 * _HOUR),
)

_LISTS = (
    SubList("neuro", "Neuro", "neuroradiology", ("CT", "MR"), ("HEAD", "BRAIN", "NECK", "SPINE", "CSPINE", "LSPINE", "TSPINE")),
    SubList("chest", "Chest", "chest imaging", ("CR", "DX", "CT"), ("CHEST", "THORAX", "LUNG")),
    SubList("breast", "Breast", "breast imaging", ("MG", "US", "MR"), ("BREAST",)),
    SubList("emergency", "Emergency department", patient_classes=("E",)),
)


@dataclass(frozen=True, slots=True)
class Churn:
    """How restless the list may be before operators are told: moves a study, and moves among the first 20 of the list an hour."""

    moves_per_study: float = 6.0
    top_moves_per_hour: float = 120.0


@dataclass(frozen=True, slots=True)
class Pull:
    """Calibrated probabilities between which a model's pull grows from none to full; floor: minutes that full pull leaves."""

    none_below: float
    full_from: float
    floor: float

    def of(self, probability: float) -> float:
        """0..1, continuous, rising with the probability between the bounds."""
        return min(max((probability - self.none_below) / (self.full_from - self.none_below), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one site. All minutes count from the first image.

    places: the first that covers a study's location, and names its priority, goes before `targets`.
    unordered: the priority that a study without one is held to (unknown is not normal, so not routine).
    risk: of the clinical model, whose outcome is the patient's and not seen in the study. image: of an image model's finding, which is in
    the very study that waits.
    dead_band: a smaller move of a deadline is noise. dwell: after a move, noise moves an item no further for so long.
    news2_scale: 2 only where the site prescribes it for all its patients.
    finding_shares: share of the department's pictures that have a finding, by its code. finding_share: of any other finding.
    stroke_door: minutes from the door of the emergency department to the reading of a stroke's CT. appointment_lead: minutes before a visit
    to a clinic in which its studies are to be read.
    override_longest: how long a reader's own word on a deadline may stand. inflated: stat and asap orders of a source, as a multiple of
    the department's share, from which it is named.
    """

    version: str = "default/1"
    targets: Mapping[tuple[RequestPriority, Setting], float] = field(default_factory=lambda: _TARGETS)
    places: tuple[PlaceTargets, ...] = ()
    modalities: Mapping[str, float] = field(default_factory=lambda: _MODALITIES)
    other_modality: float = 12 * _HOUR
    unordered: RequestPriority = "urgent"
    risk: Pull = Pull(0.05, 0.90, 15.0)
    image: Pull = Pull(0.05, 0.60, 15.0)  # `readfirst simulate sensitivity` shows what is won by that trust and what it costs
    finding_shares: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    finding_share: float = 0.10  # of an acute department; training sets hold half and half, which no department sees
    dead_band: timedelta = timedelta(seconds=60)
    dwell: timedelta = timedelta(seconds=120)
    churn: Churn = Churn()
    vitals_valid: timedelta = timedelta(hours=6)
    vitals_valid_emergency: timedelta = timedelta(minutes=60)
    news2_scale: Literal[1, 2] = 1
    critical_labs: critical_labs.Table = field(default_factory=lambda: critical_labs.TABLE)
    settings: Mapping[PatientClass | None, Setting | None] = field(default_factory=lambda: _SETTINGS)
    lists: tuple[SubList, ...] = _LISTS
    holds: tuple[HoldReason, ...] = _HOLDS
    stroke_door: float = 45.0
    appointment_lead: float = 30.0
    override_longest: timedelta = timedelta(hours=12)
    inflated: float = 2.0
    escalation: EscalationPolicy = ESCALATION

    def setting(self, patient_class: PatientClass | None) -> Setting | None:
        """Where the patient is; None when nothing says so."""
        return self.settings.get(patient_class)

    def place_minutes(self, priority: RequestPriority, location: str | None) -> float | None:
        """What the site asks for at this place; None: as everywhere."""
        return next((place.minutes[priority] for place in self.places if priority in place.minutes and place.covers(location)), None)

    def prevalence(self, finding: str) -> float:
        """Share of the department's pictures that have it."""
        return self.finding_shares.get(finding, self.finding_share)

    def hold_reason(self, code: str) -> HoldReason | None:
        """By its code."""
        return next((reason for reason in self.holds if reason.code == code), None)

    def sub_list(self, name: str) -> SubList | None:
        """By its name."""
        return next((one for one in self.lists if one.name == name), None)


DEFAULT = Policy()
