"""Where the patient is and under which class, folded from the newest ADT events; a cancellation takes its event back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from schemas.assessments import Stated
from schemas.codes import PatientClass
from schemas.events import AdtEvent

KEEP = 8
TOLERANCE = timedelta(days=1)
"""An event said to happen so long after it was received has a wrong date: its receipt stands in."""

CANCELS = {"A11": "A01", "A12": "A02", "A13": "A03", "A25": "A16", "A26": "A15", "A27": "A14"}
"""HL7 v2.8.2 chapter 3: cancelling trigger -> the trigger it takes back; A11 takes back an A04 as well."""

_ARRIVALS = frozenset({"A01", "A04"})
_TO_THE_MINUTE = frozenset({"microsecond", "second", "minute"})


class Encounter(msgspec.Struct, frozen=True):
    """As far as it is known. discharged: the newest word is that the patient has left.

    door: when the patient came to the emergency department, by the newest word; it stays through a transfer or a discharge, until the
    patient, having left, arrives elsewhere.
    """

    patient_class: PatientClass | None = None
    location: str | None = None
    discharged: bool = False
    door: Stated | None = None


class Movement(msgspec.Struct, frozen=True, order=True):
    """One ADT event, reduced. The order is that of occurrence."""

    occurred: datetime
    recorded_at: datetime
    event_id: str
    trigger: str
    cancels: str | None
    patient_class: str | None
    location: str | None
    discharged: bool
    arrived: datetime | None = None


class Movements:
    """The newest KEEP movements by time of occurrence."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: list[Movement] = []

    def add(self, event: AdtEvent) -> None:
        """Takes an event in; once or ten times is the same."""
        movement = _movement(event)
        if any(known.event_id == movement.event_id for known in self.kept):
            return
        self.kept = sorted([*self.kept, movement], key=_moment)[-KEEP:]

    def encounter(self) -> Encounter:
        """The present one: each word from the newest movement that has it."""
        patient_class: str | None = None
        location: str | None = None
        discharged, door = False, None
        for movement in self._standing():
            if discharged and movement.trigger in _ARRIVALS:
                door = None
            if movement.patient_class == "E" and movement.arrived is not None and (door is None or door.at != movement.arrived):
                door = Stated(movement.arrived, movement.event_id)
            patient_class = movement.patient_class or patient_class
            location = movement.location or location
            discharged = movement.discharged
        return Encounter(patient_class, location, discharged, door)  # type: ignore[arg-type]

    def _standing(self) -> Iterator[Movement]:
        """Without the cancellations, and without the newest event that each took back."""
        gone = set()
        for cancel in sorted((m for m in self.kept if m.cancels), key=_learned):
            before = [m for m in self.kept if _kind(m) == cancel.cancels and m.event_id not in gone and _learned(m) < _learned(cancel)]
            if before:
                gone.add(max(before, key=_learned).event_id)
        return (m for m in self.kept if not m.cancels and m.event_id not in gone)


def _movement(event: AdtEvent) -> Movement:
    occurred = event.occurred.utc
    return Movement(
        occurred=occurred if occurred <= event.recorded_at + TOLERANCE else event.recorded_at,
        recorded_at=event.recorded_at,
        event_id=event.event_id,
        trigger=event.trigger,
        cancels=CANCELS.get(event.trigger, "") or None if event.kind == "cancel" or event.trigger in CANCELS else None,
        patient_class=event.patient_class,
        location=event.location,
        discharged=event.discharged,
        arrived=_arrived(event),
    )


def _arrived(event: AdtEvent) -> datetime | None:
    """As the event says, or when an arrival itself occurred; a day alone is no time of arrival, and none lies in the future."""
    said = event.arrived or (event.occurred if event.trigger in _ARRIVALS else None)
    if said is None or said.precision not in _TO_THE_MINUTE or said.utc > event.recorded_at + TOLERANCE:
        return None
    return said.utc


def _kind(movement: Movement) -> str:
    return "A01" if movement.trigger in _ARRIVALS else movement.trigger


def _moment(movement: Movement) -> tuple[datetime, datetime, str]:
    return movement.occurred, movement.recorded_at, movement.event_id


def _learned(movement: Movement) -> tuple[datetime, str]:
    return movement.recorded_at, movement.event_id
