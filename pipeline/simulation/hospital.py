"""A believable hospital: day and night, ED, inpatients and outpatients, people who get worse, and the usual disorder of real feeds.

The same seed gives the same hospital. Nobody in it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np

from pipeline.simulation.messages import Exam, Hl7, Outgoing, Person, Visit, image, uid


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


@dataclass(frozen=True, slots=True)
class Plan:
    """How much hospital. hours: length of the simulated time. start_hour: hour of the day at which it begins. observations: vitals a patient."""

    studies: int = 60
    hours: float = 3.0
    start_hour: int = 9
    observations: int = 24
    seed: int = 1


class Hospital:
    """Generates a plan's messages in order of time. `moment` says what real time a moment of the simulation has in the messages."""

    def __init__(self, plan: Plan, moment: Callable[[timedelta], datetime], run: str = "") -> None:
        self._plan = plan
        self._moment = moment
        self._rng = np.random.default_rng(plan.seed)
        self._run = run or f"{plan.seed:04d}"
        self._adt, self._ris, self._lab, self._monitor, self._reporting = (
            Hl7(f"{name}{self._run}") for name in ("ADT", "RIS", "LIS", "MON", "REP")
        )

    def messages(self) -> Iterator[Outgoing]:
        """All messages, earliest first."""
        everything = [message for number in range(self._plan.studies) for message in self._stay(number)]
        yield from sorted(everything, key=lambda message: message.at)

    def _stay(self, number: int) -> Iterator[Outgoing]:
        arrival = timedelta(hours=self._arrival())
        course = self._course(arrival)
        visit = self._visit(number, course)
        left = timedelta(hours=self._plan.hours) - arrival
        yield Outgoing(arrival, "adt", self._adt.adt("A04" if course.patient_class == "O" else "A01", visit, self._moment(arrival)))
        yield from self._vitals(visit, course, arrival, left)
        yield from self._labs(visit, course, number, arrival, left)
        yield from self._imaging(visit, course, number, arrival, left)
        if number % 20 == 7:
            yield from self._unknown_patient(visit, arrival, left)

    def _imaging(self, visit: Visit, course: Course, number: int, arrival: timedelta, left: timedelta) -> Iterator[Outgoing]:
        exam = self._exam(course, number)
        ordered = arrival + left * float(self._rng.uniform(0.02, 0.2))
        acquired = ordered + left * float(self._rng.uniform(0.05, 0.3))
        # Some orders are written down only after the pictures were taken.
        order_at = acquired + left * 0.05 if number % 11 == 5 else ordered
        order = self._ris.order("NW", visit, exam, self._moment(order_at))
        yield Outgoing(order_at, "ris", order)
        if number % 9 == 4:  # an interface engine that did not see our answer sends again
            yield Outgoing(order_at + timedelta(seconds=20), "ris", order)
        if number % 17 == 3:
            yield Outgoing(acquired - timedelta(seconds=5), "ris", self._ris.order("CA", visit, exam, self._moment(acquired)))
            return
        for n in range(1, exam.images + 1):
            at = acquired + timedelta(seconds=8 * n)
            dataset = image(visit, exam, n, self._moment(at), self._rng)
            if number % 23 == 9:
                dataset.AccessionNumber = ""
            yield Outgoing(at, "modality", dicom=dataset)
            if number % 13 == 6 and n == 1:
                yield Outgoing(at + timedelta(seconds=30), "modality", dicom=dataset)
        if number % 5 == 1:
            read = acquired + left * 0.5
            yield Outgoing(read, "reporting", self._reporting.report(visit, exam, "IMPRESSION: No acute finding.", self._moment(read)))

    def _vitals(self, visit: Visit, course: Course, arrival: timedelta, left: timedelta) -> Iterator[Outgoing]:
        count = self._plan.observations if course.patient_class != "O" else 2
        for n in range(count):
            share = n / max(count - 1, 1)
            at = arrival + left * (share * 0.98)
            values = [(name, self._measured(name, course, share), "") for name in course.begin]
            yield Outgoing(
                at,
                "monitor",
                self._monitor.results(visit, "VITALS", values, self._moment(at), self._moment(at), order=f"V{visit.number}-{n}"),
            )

    def _measured(self, name: str, course: Course, share: float) -> float:
        level = course.begin[name] + (course.end.get(name, course.begin[name]) - course.begin[name]) * share
        noise = {"temperature": 0.1, "gcs": 0.0}.get(name, 1.5)
        value = level + float(self._rng.normal(0, noise)) if noise else level
        return round(min(value, 100.0) if name == "spo2" else value, 1 if name == "temperature" else 0)

    def _labs(self, visit: Visit, course: Course, number: int, arrival: timedelta, left: timedelta) -> Iterator[Outgoing]:
        if not course.labs:
            return
        taken = arrival + left * 0.1
        # Most results come within minutes; some laboratories are late.
        resulted = taken + left * (0.6 if number % 8 == 2 else 0.15)
        order = f"L{visit.number}"
        labs = [(name, round(value * float(self._rng.normal(1, 0.02)), 2), flag) for name, value, flag in course.labs]
        yield Outgoing(resulted, "lab", self._lab.results(visit, "CHEM", labs, self._moment(taken), self._moment(resulted), order=order))
        if number % 10 == 3:  # a haemolysed sample: the potassium is corrected
            name, value, _ = labs[0]
            at = resulted + left * 0.1
            corrected = [(name, round(value * 0.8, 2), "")]
            yield Outgoing(
                at, "lab", self._lab.results(visit, "CHEM", corrected, self._moment(taken), self._moment(at), order=order, status="C")
            )

    def _unknown_patient(self, visit: Visit, arrival: timedelta, left: timedelta) -> Iterator[Outgoing]:
        """Vitals under a temporary number, then the merge into the real one."""
        unknown = replace(visit, person=replace(visit.person, mrn=f"TMP{visit.person.mrn}", family="Unknown", given="Patient"))
        early = arrival + timedelta(seconds=1)
        values = [("heart_rate", 122.0, ""), ("systolic_bp", 88.0, ""), ("spo2", 91.0, "")]
        yield Outgoing(
            early,
            "monitor",
            self._monitor.results(unknown, "VITALS", values, self._moment(early), self._moment(early), order=f"T{visit.number}"),
        )
        merged = arrival + left * 0.3
        yield Outgoing(merged, "adt", self._adt.adt("A40", visit, self._moment(merged), retired_mrn=unknown.person.mrn))

    def _arrival(self) -> float:
        """Hours after the start; the first 70 % of the time, so that what follows an arrival has time to happen."""
        return float(self._rng.uniform(0, self._plan.hours * 0.7))

    def _course(self, arrival: timedelta) -> Course:
        hour = int(self._plan.start_hour + arrival.total_seconds() / 3600) % 24
        weights = np.array([course.weight * RHYTHM[course.patient_class][hour] for course in COURSES])
        return COURSES[int(self._rng.choice(len(COURSES), p=weights / weights.sum()))]

    def _visit(self, number: int, course: Course) -> Visit:
        sex: Literal["F", "M"] = "F" if self._rng.random() < 0.5 else "M"
        age = int(self._rng.integers(*course.age))
        born = date(self._moment(timedelta()).year - age, int(self._rng.integers(1, 13)), int(self._rng.integers(1, 28)))
        person = Person(f"{self._run}{number:05d}", str(self._rng.choice(FAMILIES)), str(self._rng.choice(GIVEN[sex])), born, sex)
        return Visit(person, course.patient_class, str(self._rng.choice(PLACES[course.patient_class])), f"{self._run}-{number}")

    def _exam(self, course: Course, number: int) -> Exam:
        return Exam(
            placer=f"P{self._run}{number:05d}",
            accession=f"A{self._run}{number:05d}",
            study_uid=uid(self._rng),
            modality=course.modality,
            body_part=course.body_part,
            code=course.code,
            description=course.description,
            indication=course.indication,
            priority=course.priority,
            images=course.images,
        )
