"""The way of one DICOM object, however it came: header, object store, patient, event, receipt."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from msgspec.structs import replace

from pipeline.adapters.dicom.bounded import Limits
from pipeline.adapters.dicom.file_format import file_chunks
from pipeline.adapters.dicom.header import MEDIA_STORAGE_DIRECTORY, Header, read_header
from pipeline.adapters.dicom.instance import Instance, understand
from pipeline.errors import Refused
from pipeline.gateways.dicom.completion import SYSTEM, Completion
from pipeline.ports import Clock, IdentityVault, ObjectStore, StoredObject, Study, StudyLedger
from pipeline.services.intake import Arrival, Intake, Origin
from pipeline.settings import Gateways
from schemas.events import ImagingEvent, Rejection
from schemas.identifiers import UNMATCHED, pseudonym, unmatched_patient_key
from schemas.topics import IMAGING

log = structlog.get_logger()

_STATEMENTS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an object: "accepted", or "ignored" for `reason`. The UIDs are those of the object, for the answer."""

    outcome: str
    reason: str | None
    study_uid: str | None = None
    sop_uid: str | None = None
    sop_class: str | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a gateway that takes DICOM objects needs of the world. site_key: of the pseudonyms."""

    intake: Intake
    objects: ObjectStore
    vault: IdentityVault
    studies: StudyLedger
    site_key: bytes
    clock: Clock


class Reception:
    """Shared by the C-STORE SCP and STOW-RS. completion: what it tells of arriving images; somebody has to `watch` it."""

    def __init__(self, settings: Gateways, needs: Needs) -> None:
        self.completion = Completion(needs.intake, needs.studies, needs.clock, settings.quiet_study_s)
        self._settings = settings
        self._intake = needs.intake
        self._objects = needs.objects
        self._vault = needs.vault
        self._site_key = needs.site_key
        self._clock = needs.clock
        self._said: OrderedDict[tuple[object, ...], None] = OrderedDict()

    async def receive(self, path: Path, source: str, sop_uid: str | None = None, only_study: str | None = None) -> Outcome:
        """Returns when object store and Kafka have the object. The file at `path` stays the caller's.

        sop_uid: what the C-STORE command called it. only_study: the study it was posted to.
        Raises Refused, which is noted, and Unavailable.
        """
        try:
            header = await asyncio.to_thread(self._read, path)
            if (header.uid("SOPClassUID") or header.media_sop_class) == MEDIA_STORAGE_DIRECTORY:
                await self._intake.ignore(await self._origin_of_bytes(path), "dicomdir")
                return Outcome("ignored", "dicomdir", None, header.media_sop_instance, MEDIA_STORAGE_DIRECTORY)
            now = self._clock.now()
            said = self._settings
            instance = understand(header, sop_uid, self._site_key, said.assigning_authority, self._zone(source), now, said.dicom_medium)
            if only_study is not None and instance.study_uid != only_study:
                raise Refused("wrong-key", "the object is of another study than it was posted to")
            if instance.rejection is not None and instance.rejection.code is None:
                await self._intake.ignore(await self._origin_of_bytes(path), "retention-expired")
                return Outcome("ignored", "retention-expired", instance.study_uid, instance.sop_uid, instance.sop_class)
        except Refused as refusal:
            await self._intake.refuse(await self._origin_of_bytes(path), refusal.reason)
            log.info("dicom_object_refused", reason=refusal.reason, source=source)
            raise
        chunks = file_chunks(path, header, instance.sop_class, instance.sop_uid)
        stored = await self._objects.put(instance.study_uid, instance.series_uid, instance.sop_uid, chunks)
        patient = await self._patient(instance)
        duplicate = await self._announce(instance, stored, patient, source)
        if instance.rejection is None:  # a note begins no study, and a study is not the longer in coming for it
            study = Study(instance.study_uid, patient, source, self._clock.now(), stored.instances)
            await self.completion.image_arrived(study, instance.expected)
        outcome, reason = ("ignored", "duplicate") if duplicate else ("accepted", None)
        log.info(
            "dicom_object_accepted", outcome=outcome, stored=stored.outcome, modality=instance.modality, damaged_text=instance.damaged_text
        )
        return Outcome(outcome, reason, instance.study_uid, instance.sop_uid, instance.sop_class)

    def _read(self, path: Path) -> Header:
        if path.stat().st_size > self._settings.object_max_bytes:
            raise Refused("too-large", "the object is larger than this gateway accepts")
        return read_header(path, Limits())

    def _zone(self, source: str) -> ZoneInfo:
        return ZoneInfo(self._settings.time_zones.get(source, self._settings.default_time_zone))

    async def _patient(self, instance: Instance) -> str:
        """By PatientID, else by what is known of the accession, the order or the study, else a key of the study's own."""
        if instance.identity is not None:
            return instance.identity.pseudonym
        known = await self._vault.linked(numbers := self._numbers(instance))
        return next((known[number] for number in numbers if number in known), unmatched_patient_key(self._site_key, instance.study_uid))

    def _numbers(self, instance: Instance) -> list[str]:
        """What other messages, or other objects of the study, may name together with the patient."""
        study = pseudonym(self._site_key, "study", instance.study_uid)
        return [number for number in (instance.accession, instance.order, study) if number is not None]

    async def _announce(self, instance: Instance, stored: StoredObject, patient: str, source: str) -> bool:
        """Sends the event; True when this very object was accepted before."""
        origin, now = Origin(SYSTEM, "instance", f"{instance.sop_uid}|{stored.sha256}"), self._clock.now()
        # Every object of a study says the same of its patient; what the vault was told once need not be said with each slice.
        statement = (instance.study_uid, patient, *instance.numbers)
        said = statement in self._said
        arrival = Arrival(
            origin,
            [(IMAGING, event) for event in _events(origin, instance, stored, patient, source, now)],
            identities=(instance.identity,) if instance.identity is not None and not said else (),
            numbers={} if said else dict(instance.numbers),
            links={} if said else dict.fromkeys(self._numbers(instance), patient),
        )
        receipt = await self._intake.accept(arrival)
        self._said[statement] = None
        if len(self._said) > _STATEMENTS_MAX:
            self._said.popitem(last=False)
        return receipt.received_at < now

    async def _origin_of_bytes(self, path: Path) -> Origin:
        return Origin(SYSTEM, "instance", await asyncio.to_thread(_digest, path))


def _events(origin: Origin, instance: Instance, stored: StoredObject, patient: str, source: str, now: datetime) -> Iterator[ImagingEvent]:
    """The object's own; and, of a rejection note, one for each other study that it rejects images of."""
    event = _event(origin, instance, stored, patient, source, now)
    note = instance.rejection
    if note is None or note.code is None:
        yield event
        return
    yield replace(event, rejection=Rejection(code=note.code, instances=note.instances.get(instance.study_uid, ())))
    for study, instances in note.instances.items():
        if study != instance.study_uid:
            yield ImagingEvent(
                event_id=origin.event_id(study),
                patient=patient,
                source=source,
                recorded_at=now,
                study_uid=study,
                acquired=instance.acquired,
                sop_uid=instance.sop_uid,
                sop_class=instance.sop_class,
                rejection=Rejection(code=note.code, instances=instances),
            )


def _event(origin: Origin, instance: Instance, stored: StoredObject, patient: str, source: str, now: datetime) -> ImagingEvent:
    return ImagingEvent(
        event_id=origin.event_id(),
        patient=patient,
        source=source,
        recorded_at=now,
        study_uid=instance.study_uid,
        series_uid=instance.series_uid,
        sop_uid=instance.sop_uid,
        sop_class=instance.sop_class,
        acquired=instance.acquired,
        modality=instance.modality,
        body_part=instance.body_part,
        laterality=instance.laterality,
        view=instance.view,
        study_description=instance.study_description,
        series_description=instance.series_description,
        accession=instance.accession,
        order=instance.order,
        priority=instance.priority,
        location=instance.location,
        demographics=instance.demographics,
        instances=stored.instances,
        uri=stored.uri,
        sha256=stored.sha256,
        size=stored.size,
        transfer_syntax=instance.transfer_syntax,
        conflict=stored.outcome == "conflict" or "~" in stored.uri,
        unmatched=patient.startswith(UNMATCHED) or instance.derived_study,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "bytes|" + hashlib.file_digest(file, "sha256").hexdigest()
