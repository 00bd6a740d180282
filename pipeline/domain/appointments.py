"""A patient's clinic appointments, folded so that the order of events makes no difference: of one appointment the newest word counts."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.domain.imaging import Version
from schemas.assessments import Stated, StudyState
from schemas.events import AdtEvent, Appointment

KEEP = 8


class Appointments:
    """The KEEP of which there is the newest word; those that were taken back are among them, so that a late booking does not undo it."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Version, Appointment]] = {}

    def add(self, event: AdtEvent) -> None:
        """Takes an event with an appointment in; once or ten times is the same."""
        assert event.appointment is not None
        version, key = (event.recorded_at, event.event_id), event.appointment.key
        if key not in self.kept or version > self.kept[key][0]:
            self.kept[key] = version, event.appointment
        if len(self.kept) > KEEP:
            del self.kept[min(self.kept, key=lambda key: self.kept[key][0])]

    def after_images(self, study: StudyState, numbers: Collection[str]) -> Stated | None:
        """The first one after the study's first image that concerns it.

        One before the images may be the examination's own. numbers: of all the patient's studies; an appointment about one of them
        concerns that study alone, every other all of them.
        """
        own = numbers_of(study)
        times = [
            Stated(said.at, version[1])
            for version, said in self.kept.values()
            if said.at is not None and said.at > study.ready_at and (own & _about(said) or not _about(said) & {*numbers})
        ]
        return min(times, key=lambda one: (one.at, one.event_id or ""), default=None)


def numbers_of(study: StudyState) -> set[str]:
    """Pseudonyms of order and accession number, as far as they are known."""
    return {number for number in (study.order, study.accession) if number is not None}


def _about(said: Appointment) -> set[str]:
    return {number for number in (said.order, said.accession) if number is not None}
