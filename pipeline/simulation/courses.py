"""The simulated hospital's tables: why people come, when, where they lie, and their names. Nobody in them exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Course:
    """Why somebody is here, and how they fare: vitals drift from `begin` to `end` over the stay; labs as (name, value, flag)."""

    name: str
    patient_class: Literal["E", "I", "O"]
    weight: float
    modality: str
    body_part: str
    code: str
    description: str
    indication: str
    priority: str
    images: int
    begin: dict[str, float]
    end: dict[str, float]
    labs: tuple[tuple[str, float, str], ...] = ()
    age: tuple[int, int] = (25, 90)


CALM = {"heart_rate": 76.0, "respiratory_rate": 15.0, "spo2": 97.0, "systolic_bp": 128.0, "diastolic_bp": 76.0, "temperature": 36.8}
BASICS = (
    ("potassium", 4.2, ""),
    ("sodium", 139.0, ""),
    ("creatinine", 0.9, ""),
    ("haemoglobin", 13.4, ""),
    ("wbc", 7.9, ""),
    ("platelets", 240.0, ""),
)


def _worse(**changes: float) -> dict[str, float]:
    return {**CALM, **changes}


def _labs(**changes: tuple[float, str]) -> tuple[tuple[str, float, str], ...]:
    known = {name: (value, flag) for name, value, flag in BASICS} | changes
    return tuple((name, *value) for name, value in known.items())


COURSES = (
    Course("stroke", "E", 1.2, "CT", "HEAD", "CTHEAD", "CT head without contrast", "Sudden left hemiparesis, suspected stroke, NIHSS 12", "S", 6,
           _worse(systolic_bp=178.0, heart_rate=92.0), _worse(systolic_bp=192.0, heart_rate=98.0), _labs(inr=(1.1, ""), glucose=(142.0, "H")), (55, 92)),
    Course("gi-bleed", "E", 1.0, "CT", "ABDOMEN", "CTABD", "CT angiography abdomen", "Melaena, hypotension, suspected GI bleeding", "A", 8,
           _worse(heart_rate=104.0, systolic_bp=108.0), _worse(heart_rate=134.0, systolic_bp=84.0, respiratory_rate=26.0),
           _labs(haemoglobin=(6.4, "LL"), lactate=(4.9, "H"), inr=(1.9, "H"))),
    Course("trauma", "E", 0.9, "CT", "WHOLEBODY", "CTPOLY", "CT polytrauma", "Fall from 4 m, polytrauma, reduced consciousness", "S", 10,
           _worse(heart_rate=118.0, systolic_bp=102.0, gcs=12.0), _worse(heart_rate=126.0, systolic_bp=92.0, gcs=10.0), _labs(lactate=(3.6, "H")), (18, 80)),
    Course("sepsis", "I", 1.4, "DX", "CHEST", "XRCHEST", "Chest radiograph AP bedside", "Fever, new oxygen requirement, ? pneumonia", "R", 1,
           _worse(temperature=38.2, heart_rate=98.0), _worse(temperature=39.4, heart_rate=128.0, respiratory_rate=27.0, spo2=90.0, systolic_bp=92.0),
           _labs(wbc=(19.6, "H"), lactate=(4.2, "H"), crp=(240.0, "H"))),
    Course("hyperkalaemia", "I", 0.8, "US", "KIDNEY", "USREN", "Ultrasound kidneys", "Acute kidney injury, obstruction?", "R", 4,
           CALM, _worse(heart_rate=52.0, systolic_bp=104.0), _labs(potassium=(6.9, "HH"), creatinine=(5.6, "H"))),
    Course("embolism", "E", 0.8, "CT", "CHEST", "CTPA", "CT pulmonary angiography", "Pleuritic chest pain, ? pulmonary embolism", "A", 8,
           _worse(heart_rate=112.0, spo2=93.0), _worse(heart_rate=122.0, spo2=89.0, respiratory_rate=25.0), _labs(d_dimer=(4.8, "H"), troponin_i=(0.2, "H"))),
    Course("chest-pain", "E", 2.0, "DX", "CHEST", "XRCHEST", "Chest radiograph PA", "Chest pain, normal ECG", "R", 2, CALM, CALM, BASICS),
    Course("ankle", "E", 2.6, "DX", "ANKLE", "XRANKLE", "Radiograph ankle", "Twisted ankle, Ottawa positive", "R", 2, CALM, CALM, (), (8, 70)),
    Course("post-op", "I", 2.2, "DX", "CHEST", "XRCHEST", "Chest radiograph AP bedside", "Routine control after central line", "R", 1, CALM, CALM, BASICS),
    Course("ward-ct", "I", 1.5, "CT", "ABDOMEN", "CTABD", "CT abdomen with contrast", "Postoperative day 5, leukocytosis, collection?", "A", 8,
           _worse(temperature=37.9), _worse(temperature=38.3, heart_rate=96.0), _labs(wbc=(15.2, "H"), crp=(160.0, "H"))),
    Course("follow-up", "O", 2.4, "CT", "CHEST", "CTCHEST", "CT chest follow-up", "Lung nodule, 6-month follow-up", "R", 8, CALM, CALM, ()),
    Course("knee", "O", 2.0, "MR", "KNEE", "MRKNEE", "MRI knee", "Meniscal tear?", "R", 6, CALM, CALM, (), (16, 65)),
    Course("brain-mr", "O", 1.2, "MR", "HEAD", "MRHEAD", "MRI brain", "Chronic headache", "R", 6, CALM, CALM, ()),
)  # fmt: skip

# Arrivals per hour of the day, relative, midnight first: emergencies peak in the evening, the clinics keep office hours.
RHYTHM = {
    "E": (3, 2, 2, 1, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 7, 7, 8, 8, 9, 9, 8, 7, 5, 4),
    "I": (1, 1, 1, 1, 1, 2, 5, 9, 9, 7, 6, 5, 4, 4, 4, 4, 3, 3, 2, 2, 2, 1, 1, 1),
    "O": (0, 0, 0, 0, 0, 0, 0, 4, 9, 9, 9, 8, 5, 7, 8, 8, 6, 3, 1, 0, 0, 0, 0, 0),
}
PLACES = {
    "E": ("ED^RESUS1", "ED^RESUS2", "ED^BAY04", "ED^BAY07", "ED^BAY11", "ED^WAIT"),
    "I": ("ICU^B03", "WARD3^12-1", "WARD5^07-2", "WARD7^02-1", "STROKE^U4"),
    "O": ("CLINIC^ORTHO", "CLINIC^ONCO", "CLINIC^NEURO"),
}
FAMILIES = ("Adeyemi", "Aydın", "Bauer", "Castillo", "Dvořák", "Fischer", "García", "Haddad", "Ivanova", "Jensen", "Kowalczyk", "Lindqvist", "Müller",
            "Nguyễn", "O'Brien", "Papadopoulos", "Quispe", "Rossi", "Sørensen", "Tanaka", "Usman", "Vargas", "Weiß", "Yılmaz", "Zielińska")  # fmt: skip
GIVEN = {"F": ("Amara", "Birgit", "Chiara", "Elif", "Ingrid", "Jana", "Leila", "Mai", "Noor", "Sofía", "Yuki"),
         "M": ("Ahmed", "Björn", "Carlos", "Deniz", "Emil", "Hiroshi", "Jakub", "Luca", "Piotr", "Samuel", "Tobias")}  # fmt: skip
