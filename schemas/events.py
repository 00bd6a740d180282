"""What arrives: the documents of the topics imaging, orders, labs, vitals, adt and reports.

Every event has the time it was true (in its own fields) and `recorded_at`, the time we learned it (the gateway's clock, UTC).
No field ever holds a direct identifier: names, ids, birth dates and order numbers stay in the identity vault.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.codes import AbnormalFlag, Coding, Comparator, ObservationStatus, PatientClass, RejectionCode, RequestPriority, Sex
from schemas.findings import ImageAssessment
from schemas.time import Instant, Timestamp


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="schema"):
    """What all events carry.

    event_id: UUID, the same when the message is sent again. patient: pseudonym, the Kafka key.
    subject: the pseudonym the message named, where it differs from `patient` (an event of a merged id, produced again under its survivor).
    """

    event_id: str
    patient: str
    source: str
    recorded_at: Instant
    subject: str | None = None

    @property
    def named_patient(self) -> str:
        """The pseudonym that the message itself named: facts are stored under it, so that an unmerge can give them back."""
        return self.subject or self.patient


class Demographics(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the model may know of a person: age in years at the time of the event (90 stands for 90 and over) and sex."""

    age: float | None = None
    sex: Sex = "U"


class Rejection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rejection note says of the event's study (IHE Radiology, RAD-66).

    instances: SOP Instance UIDs; none where all that the note rejects is of other studies, each of which has an event of its own.
    """

    code: RejectionCode
    instances: tuple[str, ...] = ()


class ImagingEvent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="imaging/1"):
    """A DICOM object arrived, or a study was said to be complete (MPPS, IAN, expected counts, quiet time).

    instances: distinct SOP instances of the study that the gateway holds now. uri: claim check into the object store.
    conflict: the same SOP Instance UID had come before with other bytes; both are kept. rejection: the object is such a note, no image.
    """

    kind: Literal["instance", "complete"] = "instance"
    study_uid: str
    acquired: Timestamp
    series_uid: str | None = None
    sop_uid: str | None = None
    sop_class: str | None = None
    modality: str | None = None
    body_part: str | None = None
    laterality: str | None = None
    view: str | None = None
    study_description: str | None = None
    series_description: str | None = None
    accession: str | None = None
    order: str | None = None
    priority: RequestPriority | None = None
    patient_class: PatientClass | None = None
    location: str | None = None
    demographics: Demographics = Demographics()
    instances: int = 0
    uri: str | None = None
    sha256: str | None = None
    size: int = 0
    transfer_syntax: str | None = None
    conflict: bool = False
    unmatched: bool = False
    completed_by: Literal["mpps", "ian", "count", "quiet"] | None = None
    rejection: Rejection | None = None


class OrderEvent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="order/1"):
    """An imaging order was placed, changed or cancelled. A field that is None says nothing: what was known before stays.

    order: pseudonym of the placer order number (the accession's where there is none). deadline: explicit, from `TM<n>` and the like.
    priority_code: as the message wrote it.
    """

    control: Literal["new", "change", "cancel", "complete"]
    order: str
    accession: str | None = None
    study_uid: str | None = None
    priority: RequestPriority | None = None
    priority_code: str | None = None
    deadline: Instant | None = None
    requested: Timestamp | None = None
    scheduled: Timestamp | None = None
    procedure: Coding | None = None
    modality: str | None = None
    body_part: str | None = None
    indication: str | None = None
    patient_class: PatientClass | None = None
    location: str | None = None
    demographics: Demographics = Demographics()


class Observation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measured value.

    key: identifies the observation across corrections (order or panel, code, sub-id, specimen time), unique within the patient.
    loinc and unit (UCUM): set where the source or the mapping table gives them, else None; local, value_text, unit_text keep the original.
    value: in `unit`. effective: specimen or measurement time. flag: the laboratory's own mark.
    """

    key: str
    effective: Timestamp
    status: ObservationStatus = "final"
    loinc: str | None = None
    local: Coding | None = None
    value: float | None = None
    unit: str | None = None
    value_text: str | None = None
    unit_text: str | None = None
    comparator: Comparator | None = None
    flag: AbnormalFlag | None = None
    issued: Timestamp | None = None


class ObservationEvent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="observation/1"):
    """Laboratory results or vital signs, as one message brought them (topics labs and vitals)."""

    observations: list[Observation]


class Appointment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A visit to a clinic as last told, whole: at None where it is taken back, or has no time yet.

    key: pseudonym of its number. order, accession: pseudonyms, where it is about one order.
    """

    key: str
    at: Instant | None = None
    order: str | None = None
    accession: str | None = None


class AdtEvent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="adt/1"):
    """An admission, transfer, discharge, cancellation of one of these, merge or unmerge; or a clinic appointment.

    trigger: HL7 event code (A01 … A40, A37; S12 … S17). A merge is sent under both keys; it says that `retired` is now part of `survivor`;
    an unmerge takes that back. arrived: when the visit began, whatever the event is. appointment: then the event says nothing else.
    """

    trigger: str
    occurred: Timestamp
    kind: Literal["encounter", "cancel", "merge", "unmerge"] = "encounter"
    patient_class: PatientClass | None = None
    location: str | None = None
    discharged: bool = False
    demographics: Demographics = Demographics()
    retired: str | None = None
    survivor: str | None = None
    arrived: Timestamp | None = None
    appointment: Appointment | None = None


class ReportEvent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="report/1"):
    """A report of an imaging study. A final, corrected or amended report takes the study off the list."""

    report: str
    status: Literal["preliminary", "final", "corrected", "addendum", "cancelled"]
    issued: Timestamp
    study_uid: str | None = None
    accession: str | None = None
    order: str | None = None
    text: str | None = None
    impression: list[Coding] = []


class FindingEvent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="finding/1"):
    """An image model has looked at a picture, or refused to. uri: the picture's claim check, as its imaging event named it."""

    study_uid: str
    uri: str
    image: ImageAssessment


AnyEvent = ImagingEvent | OrderEvent | ObservationEvent | AdtEvent | ReportEvent | FindingEvent
