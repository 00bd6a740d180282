"""What a patient's events say of studies, orders and reports, folded so that the order of events makes no difference.

Each field follows one rule: a study's words are those of its earliest event that has any, its times the earliest, its counts the largest;
an order's and a report's words are those of the newest event that has any (a field that is None says nothing).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from pipeline.domain import report_words
from schemas.assessments import Rejected
from schemas.codes import RejectionCode
from schemas.events import AnyEvent, FindingEvent, ImagingEvent, OrderEvent, Rejection, ReportEvent
from schemas.findings import ImageAssessment
from schemas.time import Timestamp

Version = tuple[datetime, str]
"""(recorded_at, event_id)"""

NOT_IMAGES = frozenset({"SR", "PR", "KO", "SEG", "RWV", "DOC", "AU", "REG", "PLAN"})
"""Modalities (DICOM PS3.3 C.7.3.1.1.1) of objects that accompany images: they name a study's modality only when nothing else does."""

FILMS = "chest_frontal"
"""The head whose pictures a multimodal risk model reads: frontal chest films, and nothing that only looks like one."""

GRAVEST: tuple[RejectionCode, ...] = ("113037", "113038", "113001")
"""Codes of a rejection: of one image that was rejected twice the first of these counts."""

_STUDY_WORDS = ("body_part", "study_description", "accession", "order", "priority", "patient_class", "location")
_ORDER_WORDS = ("control", "accession", "study_uid", "deadline", "modality", "body_part", "indication", "patient_class", "location")
_REPORT_WORDS = ("status", "study_uid", "accession", "order")
_REPORT_FINDINGS = ("said", "added")
_PROVISIONAL = "provisional"

NAMES = tuple(
    dict.fromkeys(
        (
            *_STUDY_WORDS,
            "modality",
            "companion",
            *_ORDER_WORDS,
            "requested",
            "scheduled",
            "procedure",
            *_REPORT_WORDS,
            *_REPORT_FINDINGS,
            _PROVISIONAL,
        )
    )
)
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
    looked: by picture and head, what the head said of it, and the event it came with. picture: claim check of its newest frontal chest film
    that was looked at and not refused, and that event. rejections: SOP Instance UID -> place in GRAVEST, and the first event that says so.
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
    looked: dict[str, tuple[Version, ImageAssessment]] = {}
    picture: tuple[Version, str] | None = None
    rejections: dict[str, tuple[int, Version]] = {}

    def add(self, event: ImagingEvent) -> None:
        """Folds an event in; once or ten times is the same. A rejection note is no image, and its time none of acquisition."""
        version = (event.recorded_at, event.event_id)
        self.last = max(self.last or version, version)
        if event.rejection is not None:
            self._reject(event.rejection, version)
        elif event.kind == "complete":
            self.complete = True
        else:
            self.first = min(self.first or version, version)
        acquired = instant(event.acquired) if event.rejection is None else None
        if acquired is not None and (self.acquired is None or acquired < self.acquired):
            self.acquired = acquired
        self.instances = max(self.instances, event.instances)
        self.conflict |= event.conflict
        self.unmatched |= event.unmatched
        self.words.earliest("companion" if event.modality in NOT_IMAGES else "modality", version, event.modality)
        for name in _STUDY_WORDS:
            self.words.earliest(name, version, getattr(event, name))

    def add_finding(self, event: FindingEvent) -> None:
        """Of a head's answers on one picture the newest counts: a better version may take a finding back, a refusal takes nothing back.

        A picture is its bytes: where an instance came twice with different content both stand, for nobody knows which is true.
        """
        version = (event.recorded_at, event.event_id)
        self.last = max(self.last or version, version)
        picture = blake2b(f"{event.image.head}|{event.uri}".encode(), digest_size=8).hexdigest()
        said = (version, without_maps(event.image))
        self.looked[picture] = max(self.looked.get(picture, said), said, key=_standing)
        if event.image.head == FILMS and event.image.refused is None:
            self.picture = max(self.picture or (version, event.uri), (version, event.uri))

    def _reject(self, note: Rejection, version: Version) -> None:
        said = (GRAVEST.index(note.code), version)
        for instance in note.instances:
            self.rejections[instance] = min(self.rejections.get(instance, said), said)

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """By reason, the gravest first."""
        told = []
        for place, code in enumerate(GRAVEST):
            if versions := [version for found, version in self.rejections.values() if found == place]:
                told.append(Rejected(code, len(versions), *min(versions)))
        return tuple(told)

    @property
    def image(self) -> ImageAssessment | None:
        """The picture that alarms most stands for the study; a refused one only where no other was looked at."""
        return max(self.looked.values(), key=_weight)[1] if self.looked else None

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
    """A report's events, folded. last: version of the newest one. Of the text only what it says of findings is kept."""

    key: str
    words: Words = msgspec.field(default_factory=Words)
    last: Version | None = None

    def add(self, event: ReportEvent) -> None:
        """Folds an event in; once or ten times is the same."""
        version = (event.recorded_at, event.event_id)
        self.last = max(self.last or version, version)
        for name in _REPORT_WORDS:
            self.words.newest(name, version, getattr(event, name))
        found = report_words.said(event.text, event.impression)
        if found is not None:
            name, words = "added" if event.status == "addendum" else "said", " ".join(f"{each.code}:{each.word}" for each in found)
            self.words.newest(name, version, words)
            if event.status == "preliminary":
                self.words.newest(_PROVISIONAL, version, words)
        if event.status == "cancelled":
            self.words.newest(_PROVISIONAL, version, "")

    @property
    def findings(self) -> dict[str, Any] | None:
        """What it says of findings, an addendum in addition to what was said before it; None where nothing in it is understood."""
        if self.words.get("status") == "cancelled" or not any(name in self.words.held for name in _REPORT_FINDINGS):
            return None
        told = sorted(self.words.held[name] for name in _REPORT_FINDINGS if name in self.words.held)
        return dict(pair.split(":") for _, words in told for pair in words.split())

    @property
    def provisional(self) -> dict[str, Any]:
        """What its preliminary version said of findings; nothing where that was cancelled."""
        return dict(pair.split(":") for pair in (self.words.get(_PROVISIONAL) or "").split())

    @property
    def closing(self) -> bool:
        """Whether it takes a study off the list."""
        return self.words.get("status") in ("final", "corrected", "addendum")

    @property
    def preliminary(self) -> bool:
        """Whether it only marks the study."""
        return bool(self.words.get("status") == "preliminary")


def rejected_pictures(events: Iterable[AnyEvent]) -> frozenset[str]:
    """Claim checks of a patient's pictures that rejection notes name, whichever came first."""
    images = [event for event in events if isinstance(event, ImagingEvent)]
    named = {(note.study_uid, instance) for note in images if note.rejection for instance in note.rejection.instances}
    return frozenset(image.uri for image in images if image.uri and (image.study_uid, image.sop_uid) in named) if named else frozenset()


def without_maps(image: ImageAssessment) -> ImageAssessment:
    """What the ranking needs of it: maps and spreads stay with the event, and a patient's window stays small."""
    if all(finding.activation is None and finding.spread is None for finding in image.findings):
        return image
    return replace(image, findings=tuple(replace(finding, activation=None, spread=None) for finding in image.findings))


def _standing(said: tuple[Version, ImageAssessment]) -> tuple[bool, Version]:
    version, image = said
    return image.refused is None, version


def _weight(said: tuple[Version, ImageAssessment]) -> tuple[bool, float, Version]:
    version, image = said
    return image.refused is None, max((finding.probability for finding in image.findings if finding.ranks), default=0.0), version


def instant(timestamp: Timestamp | None) -> datetime | None:
    """UTC, None where the time was missing and the gateway's clock stood in."""
    return None if timestamp is None or timestamp.precision == "missing" else timestamp.utc
