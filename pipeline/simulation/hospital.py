"""A believable hospital: day and night, ED, inpatients and outpatients, people who get worse, and the usual disorder of real feeds.

The same seed gives the same hospital. Nobody in it exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal

import numpy as np

from pipeline.simulation.courses import COURSES, FAMILIES, GIVEN, PLACES, RHYTHM, Course
from pipeline.simulation.messages import Exam, Hl7, Outgoing, Person, Visit, image, uid


@dataclass(frozen=True, slots=True)
class Plan:
    """How much hospital. hours: simulated time. start_hour: hour of the day at its begin. observations: sets of vital signs a patient."""

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
