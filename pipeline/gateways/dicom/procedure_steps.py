"""MPPS N-CREATE and N-SET, and instance availability N-CREATE: data set in, status out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from pipeline.adapters.dicom.instance import sound_uid
from pipeline.gateways.dicom.completion import Completion
from pipeline.ports import Clock, Step, StudyLedger
from schemas.identifiers import patient_key

SUCCESS = 0x0000
# PS3.7 annex C
INVALID_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE_INSTANCE = 0x0111
NO_SUCH_INSTANCE = 0x0112
MISSING_ATTRIBUTE = 0x0120
RESOURCE_LIMITATION = 0x0213

MAY_NO_LONGER_BE_UPDATED = 0xA710
"""Error ID with status 0110H: the step is COMPLETED or DISCONTINUED (PS3.4 section F.7.2.2.3)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The status of an N-CREATE or N-SET response."""

    status: int = SUCCESS
    comment: str = ""
    error_id: int | None = None


class ProcedureSteps:
    """The methods raise Unavailable, and whatever pydicom raises on an attribute list it cannot parse."""

    def __init__(self, completion: Completion, ledger: StudyLedger, site_key: bytes, authority: str, clock: Clock) -> None:
        self._completion = completion
        self._ledger = ledger
        self._site_key = site_key
        self._authority = authority
        self._clock = clock

    async def create(self, step_uid: str, attributes: Dataset, source: str) -> Answer:
        """A step began (PS3.4 section F.7.2.1)."""
        if not step_uid:
            return Answer(INVALID_VALUE, "no Affected SOP Instance UID")
        if await self._ledger.step(step_uid) is not None:
            return Answer(DUPLICATE_INSTANCE)
        if attributes.get("PerformedProcedureStepStatus") != "IN PROGRESS":
            return Answer(INVALID_VALUE, "a step is created IN PROGRESS")
        study_uid = next(
            (uid for item in _items(attributes, "ScheduledStepAttributesSequence") if (uid := _text(item, "StudyInstanceUID"))), None
        )
        if study_uid is None:
            return Answer(MISSING_ATTRIBUTE, "no Study Instance UID")
        patient_id = _text(attributes, "PatientID")
        issuer = _text(attributes, "IssuerOfPatientID") or self._authority
        patient = patient_key(self._site_key, issuer, patient_id) if patient_id else None
        await self._ledger.note_step(Step(step_uid, sound_uid(study_uid), patient, source, "IN PROGRESS"), self._clock.now())
        return Answer()

    async def set(self, step_uid: str, changes: Dataset) -> Answer:
        """A step changed; when it ended, the study is complete (PS3.4 section F.7.2.2)."""
        step = await self._ledger.step(step_uid)
        if step is None:
            return Answer(NO_SUCH_INSTANCE)
        if step.state != "IN PROGRESS":
            return Answer(PROCESSING_FAILURE, "Performed Procedure Step Object may no longer be updated", MAY_NO_LONGER_BE_UPDATED)
        state = changes.get("PerformedProcedureStepStatus", "IN PROGRESS")
        if state in ("COMPLETED", "DISCONTINUED"):
            await self._completion.step_ended(step, state)
        elif state != "IN PROGRESS":
            return Answer(INVALID_VALUE, "no such Performed Procedure Step Status")
        return Answer()

    async def notify(self, notice_uid: str, attributes: Dataset, source: str) -> Answer:
        """Instances are available somewhere (PS3.4 section R.3.2.1)."""
        study_uid = _text(attributes, "StudyInstanceUID")
        if study_uid is None:
            return Answer(MISSING_ATTRIBUTE, "no Study Instance UID")
        references = [
            reference for series in _items(attributes, "ReferencedSeriesSequence") for reference in _items(series, "ReferencedSOPSequence")
        ]
        online = any(_text(reference, "InstanceAvailability") in ("ONLINE", "NEARLINE") for reference in references)
        await self._completion.available(sound_uid(study_uid), notice_uid or study_uid, online)
        return Answer()


def _items(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    value: Any = dataset.get(keyword)
    yield from (item for item in value or () if isinstance(item, Dataset))


def _text(dataset: Dataset, keyword: str) -> str | None:
    return str(dataset.get(keyword) or "").strip(" \0") or None
