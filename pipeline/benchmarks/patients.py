"""People for the gateway benchmarks: each with an order, an image, and vital signs that change what the list says of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from pipeline.simulation.messages import Exam, Hl7, Outgoing, Person, Visit, image, uid

PROFILES = (
    {"heart_rate": 72.0, "respiratory_rate": 14.0, "spo2": 98.0, "systolic_bp": 124.0, "temperature": 36.8},
    {"heart_rate": 96.0, "respiratory_rate": 18.0, "spo2": 97.0, "systolic_bp": 118.0, "temperature": 37.2},
    {"heart_rate": 104.0, "respiratory_rate": 20.0, "spo2": 95.0, "systolic_bp": 112.0, "temperature": 37.6},
    {"heart_rate": 112.0, "respiratory_rate": 22.0, "spo2": 95.0, "systolic_bp": 108.0, "temperature": 38.2},
    {"heart_rate": 118.0, "respiratory_rate": 24.0, "spo2": 93.0, "systolic_bp": 99.0, "temperature": 38.4},
    {"heart_rate": 128.0, "respiratory_rate": 26.0, "spo2": 92.0, "systolic_bp": 94.0, "temperature": 39.0},
    {"heart_rate": 134.0, "respiratory_rate": 28.0, "spo2": 90.0, "systolic_bp": 86.0, "temperature": 39.4},
)
"""Worse from one to the next, each with a NEWS2 of its own: whatever follows whatever, the list has something new to say."""


_NO_TIME = timedelta()


@dataclass(frozen=True, slots=True)
class Patient:
    """Somebody who does not exist, with one study to be read."""

    visit: Visit
    exam: Exam


def patients(count: int, run: str) -> list[Patient]:
    """`run` makes them other people than those of another run."""
    rng, found = np.random.default_rng([*run.encode()]), []
    for n in range(count):
        person = Person(f"B{run}{n:05d}", "Bench", f"Patient{n}", date(1950 + n % 50, 1 + n % 12, 1 + n % 28), "F" if n % 2 else "M")
        number = f"{run}{n:05d}"
        exam = Exam(f"P{number}", f"A{number}", uid(rng), "DX", "CHEST", "CXR", "Chest radiograph", "cough", "R", 1)
        found.append(Patient(Visit(person, "I", "W1^01^A", f"V{number}"), exam))
    return found


def order(sender: Hl7, patient: Patient) -> Outgoing:
    """The imaging order."""
    return _hl7(sender.order("NW", patient.visit, patient.exam, datetime.now(UTC)))


def picture(patient: Patient, number: int = 1) -> Outgoing:
    """Object `number` of the study, 128 x 128 pixels."""
    dataset = image(patient.visit, patient.exam, number, datetime.now(UTC), np.random.default_rng(number))
    return Outgoing(_NO_TIME, "modality", dicom=dataset)


def vitals(sender: Hl7, patient: Patient, turn: int) -> Outgoing:
    """Set `turn` of vital signs, measured now."""
    now, values = datetime.now(UTC), [(name, value, "") for name, value in PROFILES[turn % len(PROFILES)].items()]
    return _hl7(sender.results(patient.visit, "VITALS", values, now, now, order=f"{patient.visit.number}-{turn}"))


def _hl7(body: bytes) -> Outgoing:
    return Outgoing(_NO_TIME, "monitor", hl7=body)
