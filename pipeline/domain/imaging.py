"""What a patient's events say of studies, orders and reports, folded so that the order of events makes no difference.

Each field follows one rule: a study's words are those of its earliest event that has any, its times the earliest, its counts the largest;
an order's and a report's words are those of the newest event that has any (a field that is None says nothing).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from schemas.events import FindingEvent, ImagingEvent, OrderEvent, ReportEvent
from schemas.findings import ImageAssessment
from schemas.time import Timestamp

Version = tuple[datetime, str]
"""(recorded_at, event_id)"""

NOT_IMAGES = frozenset({"SR", "PR", "KO", "SEG", "RWV", "DOC", "AU", "REG", "PLAN"})
"""Modalities (DICOM PS3.3 C.7.3.1.1.1) of objects that accompany images: they name a study's modality only when nothing else does."""

_STUDY_WORDS = ("body_part", "study_description", "accession", "order", "priority", "patient_class", "location")
_ORDER_WORDS = ("control", "accession", "study_uid", "deadline", "modality", "body_part", "indication", "patient_class", "location")
_REPORT_WORDS = ("status", "study_uid", "accession", "order")

NAMES = tuple(dict.fromkeys((*_STUDY_WORDS, "modality", "companion", *_ORDER_WORDS, "requested", "scheduled", "procedure", *_REPORT_WORDS)))
"""All names of words."""


class Words(msgspec.Struct):
    """name -> (version, value) of the event that decides it."""

    held: dict[str, tuple[Version, Any]] = {}

    def get(self, name: str) -> Any:
        """The value, None where no event had any."""
        found = self.held.get(name)
        return found[1] if found else None

    def earliest(self, name: str, version: Version, value: Any) -> None:
        """Keeps `value` unless an earlier event had one."""
        if value is not None and (name not in self.held or version < self.held[name][0]):
            self.held[name] = (version, value)

    def newest(self, name: str, version: Version, value: Any) -> None:
        """Keeps `value` unless a newer event had one."""
        if value is not None and (name not in self.held or version > self.held[name][0]):
            self.held[name] = (version, value)


class Study(msgspec.Struct):
    """A study's events, folded.

    first: version of its first image, None while only its completion was announced. last: version of its newest event.
    looked: what an image model said of one of its pictures, and the event it came with.
    """

    uid: str
    words: Words = msgspec.field(default_factory=Words)
    first: Version | None = None
    last: Version | None = None
    acquired: datetime | None = None
    instances: int = 0
    complete: bool = False
    conflict: bool = False
    unmatched: bool = False
    looked: tuple[Version, ImageAssessment] | None = None

    def add(self, event: ImagingEvent) -> None:
        """Folds an event in; once or ten times is the same."""
        version = (event.recorded_at, event.event_id)
        self.last = max(self.last or version, version)
        if event.kind == "complete":
            self.complete = True
        else:
            self.first = min(self.first or version, version)
        acquired = instant(event.acquired)
        if acquired is not None and (self.acquired is None or acquired < self.acquired):
            self.acquired = acquired
        self.instances = max(self.instances, event.instances)
        self.conflict |= event.conflict
        self.unmatched |= event.unmatched
        self.words.earliest("companion" if event.modality in NOT_IMAGES else "modality", version, event.modality)
        for name in _STUDY_WORDS:
            self.words.earliest(name, version, getattr(event, name))

    def add_finding(self, event: FindingEvent) -> None:
        """Of several pictures the one that alarms most stands for the study; a refused one only where no other was looked at."""
        version = (event.recorded_at, event.event_id)
        self.last = max(self.last or version, version)
        said = (version, event.image)
        self.looked = said if self.looked is None else max(self.looked, said, key=_weight)

    @property
    def image(self) -> ImageAssessment | None:
        """What stands for the study."""
        return self.looked[1] if self.looked else None

    @property
    def modality(self) -> str | None:
        """Of the images; of what accompanies them where there are none."""
        modality: str | None = self.words.get("modality") or self.words.get("companion")
        return modality


class Order(msgspec.Struct):
    """An order's events, folded. first, last: versions of its oldest and newest event."""

    key: str
    words: Words = msgspec.field(default_factory=Words)
    first: Version | None = None
    last: Version | None = None

    def add(self, event: OrderEvent) -> None:
        """Folds an event in; once or ten times is the same."""
        version = (event.recorded_at, event.event_id)
        self.first = min(self.first or version, version)
        self.last = max(self.last or version, version)
        words = self.words
        for name in _ORDER_WORDS:
            words.newest(name, version, getattr(event, name))
        if event.priority is not None or event.priority_code is not None:
            words.newest("priority", version, (event.priority, event.priority_code))
        words.newest("requested", version, instant(event.requested))
        words.newest("scheduled", version, instant(event.scheduled))
        if event.procedure is not None:
            words.newest("procedure", version, event.procedure.display or event.procedure.code)

    @property
    def cancelled(self) -> bool:
        """Whether the newest word on it is its cancellation."""
        return bool(self.words.get("control") == "cancel")

    @property
    def at(self) -> datetime:
        """When the examination was meant to be, as nearly as is known."""
        assert self.first is not None
        at: datetime = self.words.get("scheduled") or self.words.get("requested") or self.first[0]
        return at


class Report(msgspec.Struct):
    """A report's events, folded. last: version of the newest one."""

    key: str
    words: Words = msgspec.field(default_factory=Words)
    last: Version | None = None

    def add(self, event: ReportEvent) -> None:
        """Folds an event in; once or ten times is the same."""
        version = (event.recorded_at, event.event_id)
        self.last = max(self.last or version, version)
        for name in _REPORT_WORDS:
            self.words.newest(name, version, getattr(event, name))

    @property
    def closing(self) -> bool:
        """Whether it takes a study off the list."""
        return self.words.get("status") in ("final", "corrected", "addendum")

    @property
    def preliminary(self) -> bool:
        """Whether it only marks the study."""
        return bool(self.words.get("status") == "preliminary")


def _weight(said: tuple[Version, ImageAssessment]) -> tuple[bool, float, Version]:
    version, image = said
    return image.refused is None, max((finding.probability for finding in image.findings if finding.ranks), default=0.0), version


def instant(timestamp: Timestamp | None) -> datetime | None:
    """UTC, None where the time was missing and the gateway's clock stood in."""
    return None if timestamp is None or timestamp.precision == "missing" else timestamp.utc
