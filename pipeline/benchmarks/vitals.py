"""The load of the context benchmark: vital signs of many patients, of whom some have a study to be read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pipeline.domain.catalogue import BY_NAME
from pipeline.ports import Record
from schemas import codec
from schemas.events import AnyEvent, Demographics, ImagingEvent, Observation, ObservationEvent, OrderEvent
from schemas.time import Timestamp
from schemas.topics import IMAGING, ORDERS, VITALS, Topic

RANGES = {
    "heart_rate": (50, 140),
    "respiratory_rate": (10, 30),
    "spo2": (86, 100),
    "systolic_bp": (85, 180),
    "diastolic_bp": (50, 100),
    "temperature": (35, 40),
    "gcs": (9, 15),
}
"""Wide enough that nearly every value is material: the worst case for the stage, which sends on only what matters."""


@dataclass(frozen=True, slots=True)
class Load:
    """events: one observation each. open_share: share of the patients with a study to be read."""

    start: datetime
    events: int = 200_000
    patients: int = 2_000
    open_share: float = 0.05
    seed: int = 1

    @property
    def open_patients(self) -> int:
        """Patients with a study to be read."""
        return round(self.patients * self.open_share)

    def names(self) -> list[str]:
        """The patients' pseudonyms."""
        rng = random.Random(self.seed)
        return [f"{rng.getrandbits(128):032x}" for _ in range(self.patients)]

    def studies(self) -> Iterator[Record]:
        """An order and an image for each patient with a study to be read."""
        rng = random.Random(self.seed + 1)
        for n, patient in enumerate(self.names()[: self.open_patients]):
            at, uid, order = Timestamp(self.start), f"1.2.826.0.1.3680043.8.498.1.{n}", f"{rng.getrandbits(128):032x}"
            person = Demographics(float(20 + n % 70), "F" if n % 2 else "M")
            common: dict[str, Any] = {"patient": patient, "source": "BENCH", "recorded_at": self.start, "order": order, "modality": "CT"}
            yield _record(
                ORDERS,
                OrderEvent(
                    event_id=_id(rng), control="new", study_uid=uid, priority="routine", requested=at, demographics=person, **common
                ),
            )
            yield _record(IMAGING, ImagingEvent(event_id=_id(rng), study_uid=uid, acquired=at, instances=1, demographics=person, **common))

    def vitals(self) -> Iterator[Record]:
        """One value after another, each patient in turn."""
        rng, names, kinds = random.Random(self.seed + 2), self.names(), list(RANGES.items())
        for n in range(self.events):
            patient, (name, (low, high)) = names[n % self.patients], kinds[n // self.patients % len(kinds)]
            at = self.start + timedelta(milliseconds=n)
            observation = Observation(
                key=f"V{n}|{BY_NAME[name].loinc}",
                effective=Timestamp(at),
                loinc=BY_NAME[name].loinc,
                value=float(rng.randint(low, high)),
                unit=BY_NAME[name].unit,
            )
            event = ObservationEvent(event_id=_id(rng), patient=patient, source="BENCH", recorded_at=at, observations=[observation])
            yield _record(VITALS, event)


def _id(rng: random.Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def _record(topic: Topic, event: AnyEvent) -> Record:
    headers = {"event_id": event.event_id, "trace_id": event.event_id.replace("-", ""), "source": event.source}
    return Record(topic, event.patient.encode(), codec.encode(event), headers)
