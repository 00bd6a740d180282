"""The load of the replay benchmark: a day of a hospital as an event log, monitors, laboratory, imaging and reports."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pipeline.adapters.memory.event_log import partition_of
from pipeline.domain.catalogue import BY_NAME
from pipeline.replay.log_file import LoggedRecord, milliseconds
from schemas import codec
from schemas.codes import PatientClass
from schemas.events import AdtEvent, AnyEvent, Demographics, ImagingEvent, Observation, ObservationEvent, OrderEvent, ReportEvent
from schemas.time import Timestamp
from schemas.topics import ADT, IMAGING, LABS, ORDERS, REPORTS, VITALS, Topic

PARTITIONS = 8
MONITORED = {
    "heart_rate": (80, 2.0),
    "respiratory_rate": (16, 0.7),
    "spo2": (96, 0.6),
    "systolic_bp": (125, 3.0),
    "temperature": (37.0, 0.05),
}
"""Where a monitored value begins, and how far it walks from one minute to the next."""
LABORATORY = (("potassium", 4.2), ("sodium", 139.0), ("creatinine", 1.0), ("lactate", 1.4), ("wbc", 8.0), ("platelets", 240.0))
STUDIES_A_BED = 1.4
"""Imaging studies a bed and day, the emergency department's and outpatients' included (a 500-bed hospital: 700 a day)."""

Timed = tuple[datetime, int, Topic, AnyEvent]


@dataclass(frozen=True, slots=True)
class Day:
    """beds: patients that are monitored; about events / beds / 1440 messages a minute and bed, each of one value or a set of them."""

    start: datetime
    events: int = 1_000_000
    beds: int = 500
    seed: int = 1

    def records(self) -> Iterator[LoggedRecord]:
        """In order of time, as Kafka would hold them."""
        ends: dict[tuple[str, int], int] = {}
        for at, _, topic, event in heapq.merge(self._monitors(), self._imaging(), key=lambda timed: timed[:2]):
            key = event.patient.encode()
            place = (topic.name, partition_of(key, PARTITIONS))
            ends[place] = ends.get(place, -1) + 1
            headers = {"event_id": event.event_id, "trace_id": event.event_id.replace("-", ""), "source": event.source}
            yield LoggedRecord(*place, ends[place], milliseconds(at), key, codec.encode(event), headers)

    def _patients(self) -> list[str]:
        rng = random.Random(self.seed)
        return [f"{rng.getrandbits(128):032x}" for _ in range(self.beds)]

    def _monitors(self) -> Iterator[Timed]:
        """Each bed in turn; every sixtieth message is a laboratory panel."""
        rng, patients = random.Random(self.seed + 1), self._patients()
        values = [{name: float(begin) for name, (begin, _) in MONITORED.items()} for _ in patients]
        step = timedelta(days=1) / self.events
        for n in range(self.events - 6 * self._studies):
            bed, at = n % self.beds, self.start + n * step
            if n // self.beds % 60 == 30:
                measured = {name: round(value * rng.gauss(1, 0.05), 2) for name, value in LABORATORY}
            else:
                name = list(MONITORED)[n // self.beds % len(MONITORED)]
                begin, walk = MONITORED[name]
                values[bed][name] += rng.gauss((begin - values[bed][name]) * 0.02, walk)
                measured = {name: round(values[bed][name], 1 if name == "temperature" else 0)}
            topic = VITALS if len(measured) == 1 else LABS
            yield at, n, topic, self._event(rng, ObservationEvent, patients[bed], at, observations=_observations(measured, at, n))

    @property
    def _studies(self) -> int:
        return min(round(self.beds * STUDIES_A_BED), self.events // 12)

    def _imaging(self) -> Iterator[Timed]:
        """Admission or transfer, order, two images, completion and report of each study; half of them of people who are no inpatients."""
        rng, patients = random.Random(self.seed + 2), self._patients()
        told: list[Timed] = []
        for n in range(self._studies):
            inpatient = rng.random() < 0.5
            patient = rng.choice(patients) if inpatient else f"{rng.getrandbits(128):032x}"
            told += self._study(rng, n, patient, "I" if inpatient else rng.choice(("E", "O")))
        yield from sorted(told, key=lambda timed: timed[:2])

    def _study(self, rng: random.Random, n: int, patient: str, patient_class: PatientClass) -> Iterator[Timed]:
        ordered = self.start + timedelta(hours=22 * rng.random())
        taken = ordered + timedelta(minutes=rng.uniform(5, 40))
        read = taken + timedelta(minutes=rng.expovariate(1 / 60))
        order, uid = f"{rng.getrandbits(128):032x}", f"2.25.{rng.getrandbits(100)}"
        person = Demographics(float(rng.randint(18, 90)), rng.choice(("F", "M")))
        modality = rng.choice(("CT", "DX", "DX", "MR", "US"))
        study = {"study_uid": uid, "modality": modality, "order": order, "demographics": person}
        steps: list[tuple[datetime, Topic, type[AnyEvent], dict[str, Any]]] = [
            (ordered - timedelta(minutes=3), ADT, AdtEvent, {"trigger": "A08", "patient_class": patient_class, "demographics": person}),
            (
                ordered,
                ORDERS,
                OrderEvent,
                {"control": "new", "order": order, "study_uid": uid, "modality": modality, "demographics": person},
            ),
            (taken, IMAGING, ImagingEvent, {**study, "instances": 1}),
            (taken + timedelta(seconds=20), IMAGING, ImagingEvent, {**study, "instances": 2}),
            (taken + timedelta(seconds=60), IMAGING, ImagingEvent, {**study, "instances": 2, "kind": "complete", "completed_by": "quiet"}),
            (read, REPORTS, ReportEvent, {"report": f"{rng.getrandbits(128):032x}", "status": "final", "study_uid": uid}),
        ]
        steps[1][3]["priority"] = rng.choice(("stat", "urgent", "routine", "routine"))
        for number, (at, topic, kind, fields) in enumerate(steps):
            time = {ImagingEvent: "acquired", OrderEvent: "requested", AdtEvent: "occurred", ReportEvent: "issued"}[kind]
            event = self._event(rng, kind, patient, at, **fields, **{time: Timestamp(at)})
            yield at, -(6 * n + number) - 1, topic, event

    def _event(self, rng: random.Random, made: type[AnyEvent], patient: str, at: datetime, **fields: Any) -> AnyEvent:
        return made(event_id=str(UUID(int=rng.getrandbits(128), version=4)), patient=patient, source="BENCH", recorded_at=at, **fields)


def _observations(measured: dict[str, float], at: datetime, number: int) -> list[Observation]:
    return [
        Observation(key=f"{number}|{name}", effective=Timestamp(at), loinc=BY_NAME[name].loinc, value=value, unit=BY_NAME[name].unit)
        for name, value in measured.items()
    ]
