"""A patient's window: what the events say of one patient now, the same for any order, repetition or split of the same events.

`Window.derive` is the definition; `apply` gets to the same content one event at a time, and says so where it can't: then the caller derives
anew from the history. Content is what `readings`, `tallies`, `flags`, `studies`, `encounter`, `age`, `sex` and `as_of` show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from pipeline.domain.appointments import Appointments, numbers_of
from pipeline.domain.encounter import Encounter, Movements
from pipeline.domain.history import Tallies
from pipeline.domain.imaging import Order, Report, Study, Words, rejected_pictures
from pipeline.domain.matching import Resolved, resolve
from pipeline.domain.measurements import MAX_AGE, Measurements, Version
from pipeline.domain.readings import FlaggedResult, Reading
from schemas.assessments import Stated, StudyState
from schemas.codes import Sex
from schemas.events import AdtEvent, AnyEvent, Demographics, FindingEvent, ImagingEvent, ObservationEvent, OrderEvent, ReportEvent

STUDIES_KEEP = 12
STUDIES_FOLDED, ORDERS_FOLDED, REPORTS_FOLDED, PICTURES_FOLDED = 8, 12, 12, 12
"""Beyond one of these a window keeps its studies as they stand, instead of what they were folded from; and with any image rejected, for
which of its pictures that was, only the history knows."""


class Window:
    """Owned by one worker, changed in place.

    studies_folded, orders, reports: by their keys; empty once `settled`. resolved: the outcome of matching them, None when out of date.
    recorded: the newest time of receipt. person: age and sex.
    """

    __slots__ = (
        "appointments",
        "measurements",
        "movements",
        "orders",
        "person",
        "recorded",
        "reports",
        "resolved",
        "settled",
        "studies_folded",
    )

    def __init__(self) -> None:
        self.measurements = Measurements()
        self.movements = Movements()
        self.appointments = Appointments()
        self.studies_folded: dict[str, Study] = {}
        self.orders: dict[str, Order] = {}
        self.reports: dict[str, Report] = {}
        self.settled = False
        self.resolved: list[Resolved] | None = []
        self.recorded: datetime | None = None
        self.person = Words()

    @classmethod
    def derive(cls, events: Iterable[AnyEvent]) -> Window:
        """From a patient's whole history, in any order, repetitions included."""
        self = cls()
        distinct = {(event.recorded_at, event.event_id): event for event in events if not _is_identity(event)}
        ordered = [distinct[version] for version in sorted(distinct)]
        self.measurements = Measurements.derive(event for event in ordered if isinstance(event, ObservationEvent))
        rejected = rejected_pictures(ordered)
        for event in ordered:
            self._note(event)
            if not isinstance(event, ObservationEvent) and not (isinstance(event, FindingEvent) and event.uri in rejected):
                self._fold(event)
        if self._overfull():
            self._settle()
        return self

    def apply(self, event: AnyEvent) -> bool:
        """Takes an event in. False: the window can't do that exactly; it is of no further use, derive it anew from the history."""
        if isinstance(event, ObservationEvent):
            self._note(event)
            return self.measurements.add(event)
        if _is_identity(event):
            return True
        self._note(event)
        if isinstance(event, AdtEvent):
            self._move(event)
            return True
        if self.settled:
            return False
        self._fold(event)
        return not self._overfull()

    @property
    def as_of(self) -> datetime | None:
        """The newest time that the events know of; None for a window without events."""
        known = [time for time in (self.recorded, self.measurements.newest) if time is not None]
        return max(known) if known else None

    @property
    def age(self) -> float | None:
        """Years, as last said."""
        age: float | None = self.person.get("age")
        return age

    @property
    def sex(self) -> Sex:
        """As last said."""
        sex: Sex = self.person.get("sex") or "U"
        return sex

    @property
    def encounter(self) -> Encounter:
        """Where the patient is now."""
        return self.movements.encounter()

    @property
    def unmapped(self) -> Counter[str]:
        """What came but is no reading, by reason; counted each time it came, so no part of the content."""
        return self.measurements.unmapped

    @property
    def readings(self) -> dict[str, list[Reading]]:
        """Catalogue name -> current readings, oldest first."""
        as_of = self.as_of
        return {} if as_of is None else self.measurements.readings(as_of)

    @property
    def tallies(self) -> Tallies:
        """Catalogue name -> what is remembered of readings that the window let go, oldest first."""
        as_of = self.as_of
        return {} if as_of is None else self.measurements.tallies(as_of)

    @property
    def flags(self) -> list[FlaggedResult]:
        """Critical marks on results outside the catalogue, oldest first."""
        as_of = self.as_of
        return [] if as_of is None else self.measurements.flagged(as_of)

    @property
    def studies(self) -> list[StudyState]:
        """Open studies and those closed lately, by arrival; at most STUDIES_KEEP, the open and the newest first to stay."""
        as_of = self.as_of
        if as_of is None:
            return []
        encounter, states = self.encounter, [item.state for item in retained(self._all_resolved(), as_of)]
        numbers = {number for state in states for number in numbers_of(state)}
        return [_placed(state, encounter, self.appointments.after_images(state, numbers)) for state in states]

    @property
    def picture(self) -> str | None:
        """Claim check of the newest frontal chest film of the last MAX_AGE, of a study to be read or lately closed; None without one."""
        as_of, resolved = self.as_of, self._all_resolved()
        if as_of is None or not any(item.picture for item in resolved):
            return None
        # `retained` lets go of closed studies that are older than any film that counts, and of the oldest of too many
        kept = resolved if len(resolved) <= STUDIES_KEEP else retained(resolved, as_of)
        films = [(_taken(item.state), item.picture) for item in kept if item.picture is not None]
        return max((film for film in films if film[0] >= as_of - MAX_AGE), default=(None, None))[1]

    @property
    def all_studies(self) -> list[StudyState]:
        """Those that `studies` leaves out too, until `trim` lets them go; as order and images name them, nothing of movements."""
        return [item.state for item in self._all_resolved()]

    def trim(self) -> None:
        """Lets go of what is not content any more."""
        if self.settled and self.as_of is not None:
            self.resolved = list(retained(self._all_resolved(), self.as_of))

    @property
    def open_studies(self) -> list[StudyState]:
        """Those to be read, by arrival."""
        return [study for study in self.studies if study.closed is None]

    def _note(self, event: AnyEvent) -> None:
        recorded_at = event.recorded_at
        if self.recorded is None or recorded_at > self.recorded:
            self.recorded = recorded_at
        demographics: Demographics | None = getattr(event, "demographics", None)
        if demographics is not None:
            version: Version = (recorded_at, event.event_id)
            self.person.newest("age", version, demographics.age)
            self.person.newest("sex", version, None if demographics.sex == "U" else demographics.sex)

    def _move(self, event: AdtEvent) -> None:
        if event.appointment is not None:
            self.appointments.add(event)
        else:
            self.movements.add(event)

    def _fold(self, event: AnyEvent) -> None:
        if isinstance(event, AdtEvent):
            self._move(event)
            return
        self.resolved = None
        if isinstance(event, ImagingEvent):
            self.studies_folded.setdefault(event.study_uid, Study(event.study_uid)).add(event)
        elif isinstance(event, FindingEvent):
            self.studies_folded.setdefault(event.study_uid, Study(event.study_uid)).add_finding(event)
        elif isinstance(event, OrderEvent):
            self.orders.setdefault(event.order, Order(event.order)).add(event)
        elif isinstance(event, ReportEvent):
            self.reports.setdefault(event.report, Report(event.report)).add(event)

    def _all_resolved(self) -> list[Resolved]:
        if self.resolved is None:
            self.resolved = resolve(self.studies_folded.values(), self.orders.values(), self.reports.values())
        return self.resolved

    def _overfull(self) -> bool:
        return (
            len(self.studies_folded) > STUDIES_FOLDED
            or len(self.orders) > ORDERS_FOLDED
            or len(self.reports) > REPORTS_FOLDED
            or sum(len(study.looked) for study in self.studies_folded.values()) > PICTURES_FOLDED
            or any(study.rejections for study in self.studies_folded.values())
        )

    def _settle(self) -> None:
        """Too much to carry along: only the outcome stays. From here on, news of studies, orders or reports means deriving anew."""
        self._all_resolved()
        self.settled = True
        self.studies_folded, self.orders, self.reports = {}, {}, {}


def derive(events: Iterable[AnyEvent]) -> Window:
    """`Window.derive`."""
    return Window.derive(events)


def retained(resolved: Iterable[Resolved], as_of: datetime) -> Iterator[Resolved]:
    """Closed studies expire MAX_AGE after the last word on them. Of more than STUDIES_KEEP the closed and then the oldest go."""
    oldest = as_of - MAX_AGE
    kept = [item for item in resolved if item.state.closed is None or item.last >= oldest]
    kept = sorted(kept, key=lambda item: (item.state.closed is None, item.last, item.state.study_uid))[-STUDIES_KEEP:]
    return iter(sorted(kept, key=lambda item: (item.state.ready_at, item.state.study_uid)))


def _taken(state: StudyState) -> datetime:
    """A film cannot have been taken after it came."""
    return min(state.acquired_at or state.ready_at, state.ready_at)


def _is_identity(event: AnyEvent) -> bool:
    """Merges say who the patient is, nothing of how they are."""
    return isinstance(event, AdtEvent) and event.kind in ("merge", "unmerge")


def _placed(state: StudyState, encounter: Encounter, appointment: Stated | None) -> StudyState:
    """With the patient's arrival and next appointment, and with the present class and place, where neither order nor images name them."""
    patient_class, location = state.patient_class or encounter.patient_class, state.location or encounter.location
    if (patient_class, location, encounter.door, appointment) == (state.patient_class, state.location, None, None):
        return state
    return msgspec.structs.replace(state, patient_class=patient_class, location=location, door=encounter.door, appointment=appointment)
