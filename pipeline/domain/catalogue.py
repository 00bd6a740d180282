"""The observations that triage reads: LOINC code, unit, the values that can be, and how many of each a window keeps.

Anything else that arrives is kept among the facts and counted, but is not in the window. LOINC names are shortened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KEEP = 4
"""How many of its newest values a window holds of each observable; of those before it holds tallies (`pipeline.domain.history`)."""


@dataclass(frozen=True, slots=True)
class Observable:
    """One kind of observation. unit: UCUM. low, high: outside them a value is a typing error or an artefact, not a patient."""

    loinc: str
    name: str
    label: str
    unit: str
    kind: Literal["vital", "lab"]
    low: float
    high: float


_VITALS = (
    ("8867-4", "heart_rate", "HR", "/min", 10, 350),
    ("9279-1", "respiratory_rate", "RR", "/min", 1, 120),
    ("59408-5", "spo2", "SpO2", "%", 20, 100),
    ("8480-6", "systolic_bp", "SBP", "mm[Hg]", 20, 320),
    ("8462-4", "diastolic_bp", "DBP", "mm[Hg]", 5, 220),
    ("8478-0", "mean_bp", "MAP", "mm[Hg]", 10, 250),
    ("8310-5", "temperature", "Temp", "Cel", 20, 45),
    ("9269-2", "gcs", "GCS", "{score}", 3, 15),
    ("67775-7", "acvpu", "ACVPU", "{score}", 0, 4),
    ("3150-0", "fio2", "FiO2", "%", 20, 100),
    ("3151-8", "oxygen_flow", "O2 flow", "L/min", 0, 100),
    ("9192-6", "urine_output", "Urine", "mL", 0, 5000),
    ("29463-7", "weight", "Weight", "kg", 0.3, 400),
)
_LABS = (
    ("2823-3", "potassium", "K", "mmol/L", 0.5, 15),
    ("2951-2", "sodium", "Na", "mmol/L", 80, 220),
    ("2345-7", "glucose", "Glucose", "mg/dL", 5, 2500),
    ("17861-6", "calcium", "Ca", "mg/dL", 1, 25),
    ("1995-0", "ionised_calcium", "iCa", "mmol/L", 0.2, 4),
    ("19123-9", "magnesium", "Mg", "mg/dL", 0.1, 20),
    ("2777-1", "phosphate", "Phosphate", "mg/dL", 0.1, 30),
    ("1963-8", "bicarbonate", "HCO3", "mmol/L", 1, 80),
    ("2744-1", "ph", "pH", "[pH]", 6.3, 8.0),
    ("2019-8", "pco2", "pCO2", "mm[Hg]", 5, 200),
    ("2703-7", "po2", "pO2", "mm[Hg]", 10, 700),
    ("718-7", "haemoglobin", "Hb", "g/dL", 1, 30),
    ("4544-3", "haematocrit", "Hct", "%", 5, 80),
    ("777-3", "platelets", "Platelets", "10*3/uL", 0, 3000),
    ("6690-2", "wbc", "WBC", "10*3/uL", 0, 700),
    ("751-8", "neutrophils", "Neutrophils", "10*3/uL", 0, 300),
    ("6301-6", "inr", "INR", "{INR}", 0.5, 30),
    ("14979-9", "aptt", "aPTT", "s", 5, 300),
    ("3255-7", "fibrinogen", "Fibrinogen", "mg/dL", 10, 2000),
    ("10839-9", "troponin_i", "Troponin I", "ng/mL", 0, 1000),
    ("6598-7", "troponin_t", "Troponin T", "ng/mL", 0, 100),
    ("2160-0", "creatinine", "Creatinine", "mg/dL", 0.05, 40),
    ("3094-0", "urea_nitrogen", "BUN", "mg/dL", 0.5, 400),
    ("2524-7", "lactate", "Lactate", "mmol/L", 0.1, 40),
    ("1975-2", "bilirubin", "Bilirubin", "mg/dL", 0, 100),
    ("1742-6", "alt", "ALT", "U/L", 0, 30000),
    ("1920-8", "ast", "AST", "U/L", 0, 40000),
    ("6768-6", "alkaline_phosphatase", "ALP", "U/L", 0, 5000),
    ("1751-7", "albumin", "Albumin", "g/dL", 0.3, 8),
    ("2093-3", "cholesterol", "Cholesterol", "mg/dL", 10, 1500),
    ("1988-5", "crp", "CRP", "mg/L", 0, 1000),
    ("48065-7", "d_dimer", "D-dimer", "ug/mL{FEU}", 0, 200),
)

OBSERVABLES: dict[str, Observable] = {
    row[0]: Observable(*row[:4], kind, *row[4:])  # type: ignore[arg-type]
    for kind, rows in (("vital", _VITALS), ("lab", _LABS))
    for row in rows
}
"""LOINC code -> Observable. ACVPU (67775-7) is coded 0 alert, 1 new confusion, 2 voice, 3 pain, 4 unresponsive."""

BY_NAME: dict[str, Observable] = {observable.name: observable for observable in OBSERVABLES.values()}
