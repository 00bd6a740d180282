"""The one table of Kafka topics: name, key, document, retention, cleanup."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import msgspec

from schemas.alerts import Alert
from schemas.assessments import Assessment, AssessRequest
from schemas.dead_letter import DeadLetter
from schemas.events import AdtEvent, FindingEvent, ImagingEvent, ObservationEvent, OrderEvent, ReportEvent
from schemas.worklist import WorklistItem


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `name` is without the site's prefix; `keyed_by` says what the Kafka key is; retention None: compacted, kept for ever."""

    name: str
    keyed_by: Literal["patient", "study", "original"]
    document: type[msgspec.Struct]
    retention: timedelta | None
    summary: str


IMAGING = Topic("imaging", "patient", ImagingEvent, timedelta(days=30), "a DICOM object arrived, or a study is complete")
ORDERS = Topic("orders", "patient", OrderEvent, timedelta(days=30), "an order was placed, changed or cancelled")
LABS = Topic("labs", "patient", ObservationEvent, timedelta(days=30), "laboratory results")
VITALS = Topic("vitals", "patient", ObservationEvent, timedelta(days=30), "vital signs")
ADT = Topic("adt", "patient", AdtEvent, timedelta(days=30), "admit, transfer, discharge, merge, unmerge; clinic appointments")
REPORTS = Topic("reports", "patient", ReportEvent, timedelta(days=30), "preliminary, final, addendum or over-read report")
FINDINGS = Topic("findings", "patient", FindingEvent, timedelta(days=30), "what an image model said of a picture, or why it said nothing")
ASSESS = Topic("assess", "patient", AssessRequest, timedelta(days=1), "a request to score: the features as they stand")
ASSESSMENTS = Topic("assessments", "patient", Assessment, timedelta(days=30), "rules and risk on a patient's open studies")
WORKLIST = Topic("worklist", "study", WorklistItem, None, "the current item of a study; null when closed")
ALERTS = Topic("alerts", "study", Alert, timedelta(days=90), "each step of an escalation")
DLQ = Topic("dlq", "original", DeadLetter, timedelta(days=90), "what could not be understood, with its bytes, place and reason")

RECORD_BYTES_MAX = 10 << 20
"""Largest record on any topic but the dlq, which holds such a record's bytes as base64 with room for what is said of it."""
DEAD_LETTER_BYTES_MAX = 16 << 20

INPUTS = (IMAGING, ORDERS, LABS, VITALS, ADT, REPORTS, FINDINGS)
"""They share key and partition count, so that a patient's whole story lands on one worker."""
TOPICS = (*INPUTS, ASSESS, ASSESSMENTS, WORKLIST, ALERTS, DLQ)
BY_NAME = {topic.name: topic for topic in TOPICS}
