"""What a site may decide about ranking, with the defaults and why they are what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one site. All minutes count from the first image.

    unordered: the priority that a study without one is held to (unknown is not normal, so not routine).
    risk_from, risk_to: calibrated probabilities between which the model's pull grows from none to full; risk_floor: minutes at full pull.
    dead_band: a smaller move of a deadline is noise. news2_scale: 2 only where the site prescribes it for all its patients.
    """

    version: str = "default/1"
    targets: Mapping[tuple[RequestPriority, Setting], float] = field(default_factory=lambda: _TARGETS)
    modalities: Mapping[str, float] = field(default_factory=lambda: _MODALITIES)
    other_modality: float = 12 * _HOUR
    unordered: RequestPriority = "urgent"
    risk_from: float = 0.05
    risk_to: float = 0.90
    risk_floor: float = 15.0
    dead_band: timedelta = timedelta(seconds=60)
    vitals_valid: timedelta = timedelta(hours=6)
    vitals_valid_emergency: timedelta = timedelta(minutes=60)
    news2_scale: Literal[1, 2] = 1
    settings: Mapping[PatientClass | None, Setting | None] = field(default_factory=lambda: _SETTINGS)

    def setting(self, patient_class: PatientClass | None) -> Setting | None:
        """Where the patient is; None when nothing says so."""
        return self.settings.get(patient_class)


DEFAULT = Policy()
