"""One function for each resource that Readfirst reads: FHIR R4B in, events out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pipeline.adapters.fhir.references import People
from pipeline.domain import timestamps
from pipeline.domain.catalogue import OBSERVABLES
from pipeline.domain.deidentify import scrub
from pipeline.domain.demographics import age_at
from pipeline.domain.priorities import from_fhir
from pipeline.domain.terminology import Mapped, map_observation
from pipeline.services.intake import Origin
from schemas.codes import LOINC, AbnormalFlag, Coding, ObservationStatus, PatientClass
from schemas.events import AdtEvent, AnyEvent, Demographics, ImagingEvent, Observation, ObservationEvent, OrderEvent, ReportEvent
from schemas.identifiers import accession_key, order_key
from schemas.time import Timestamp
from schemas.topics import ADT, IMAGING, LABS, ORDERS, REPORTS, VITALS, Topic

DICOM_UID = "urn:dicom:uid"
IMAGING_CATEGORIES = {"363679005", "RAD", "IMG", "imaging", "LP29684-5"}
"""SNOMED CT Imaging, HL7 0074 RAD, US Core imaging and LOINC Radiology."""
IMAGING_REPORTS = {"18748-4", "18782-3", "11525-3", "68604-8"}

_CLASSES: dict[str, PatientClass] = {
    "EMER": "E",
    "IMP": "I",
    "ACUTE": "I",
    "NONAC": "I",
    "SS": "I",
    "AMB": "O",
    "VR": "O",
    "HH": "O",
    "PRENC": "P",
}
_OBSERVATION: dict[str, ObservationStatus] = {
    "registered": "preliminary",
    "preliminary": "preliminary",
    "final": "final",
    "amended": "corrected",
    "corrected": "corrected",
    "cancelled": "deleted",
    "entered-in-error": "deleted",
}
_CONTROL: dict[str, Literal["new", "change", "cancel", "complete"]] = {
    "draft": "new",
    "active": "new",
    "on-hold": "change",
    "completed": "complete",
    "revoked": "cancel",
    "entered-in-error": "cancel",
}
_REPORT: dict[str, Literal["preliminary", "final", "corrected", "addendum", "cancelled"]] = {
    "registered": "preliminary",
    "partial": "preliminary",
    "preliminary": "preliminary",
    "final": "final",
    "amended": "corrected",
    "corrected": "corrected",
    "appended": "addendum",
    "cancelled": "cancelled",
    "entered-in-error": "cancelled",
}
_FLAGS: dict[str, AbnormalFlag] = {"LL": "LL", "L": "L", "N": "N", "H": "H", "HH": "HH", "A": "A", "AA": "AA"}


@dataclass(slots=True)
class Reading:
    """One resource being read: who, when received, from whom. `numbers` and `links` gather what the vault must remember."""

    origin: Origin
    people: People
    received: datetime
    zone: ZoneInfo
    numbers: dict[str, str]
    links: dict[str, str]

    def common(self, subject: Any, part: str) -> dict[str, Any] | None:
        """The fields all events share; None where the resource names no patient."""
        found = self.people.key(subject)
        if found is None:
            return None
        key, number = found
        if number is not None:
            self.links[number] = key
        return {"event_id": self.origin.event_id(part), "patient": key, "source": self.origin.source, "recorded_at": self.received}

    def time(self, value: Any) -> Timestamp:
        """A FHIR date or dateTime as the model holds it."""
        return timestamps.from_fhir(value.isoformat() if hasattr(value, "isoformat") else value, self.zone, self.received)

    def number(self, identifiers: Any, kind: str) -> str | None:
        """Pseudonym of the accession (ACSN) or placer number (PLAC) among Identifiers."""
        for each in identifiers or []:
            codes = {coding.code for coding in (each.type.coding or [] if each.type else [])}
            if kind in codes and each.value:
                key = (accession_key if kind == "ACSN" else order_key)(self.people.site_key, each.value)
                self.numbers[key] = each.value
                return key
        return None

    def text(self, patient: str, text: str | None) -> str | None:
        """Free text without the patient's own identifiers."""
        if not text:
            return None
        ids = [identity.patient_id for identity in self.people.identities if identity.pseudonym == patient]
        return scrub(text, self.people.names.get(patient, ()), ids, self.people.birth_dates.get(patient))[:2000]

    def demographics(self, patient: str) -> Demographics:
        """Age at receipt and sex, where the message brought the Patient."""
        return Demographics(age_at(self.people.birth_dates.get(patient), self.received), self.people.sexes.get(patient, "U"))


Events = Iterator[tuple[Topic, AnyEvent]]


def patient(reading: Reading, resource: Any, part: str) -> Events:
    """Patient: demographics, and link (replaced-by, replaces) as a merge."""
    key = reading.people.known.get(f"Patient/{resource.id}")
    if key is None:
        return
    occurred = Timestamp(reading.received, zone="received")
    shared: dict[str, Any] = {"source": reading.origin.source, "recorded_at": reading.received, "occurred": occurred}
    yield (
        ADT,
        AdtEvent(event_id=reading.origin.event_id(part), patient=key, trigger="A31", demographics=reading.demographics(key), **shared),
    )
    for n, link in enumerate(resource.link or []):
        other = reading.people.key(link.other)
        if link.type not in ("replaced-by", "replaces") or other is None or other[0] == key:
            continue
        retired, survivor = (key, other[0]) if link.type == "replaced-by" else (other[0], key)
        for side in (retired, survivor):
            event = reading.origin.event_id(f"{part}|merge{n}|{side}")
            yield ADT, AdtEvent(event_id=event, patient=side, trigger="A40", kind="merge", retired=retired, survivor=survivor, **shared)


def encounter(reading: Reading, resource: Any, part: str) -> Events:
    """Encounter: class and place of the patient."""
    common = reading.common(resource.subject, part)
    if common is None:
        return
    period = resource.period
    done = resource.status in ("finished", "cancelled", "entered-in-error")
    place = next((each.location.display for each in resource.location or [] if each.location and each.location.display), None)
    yield (
        ADT,
        AdtEvent(
            trigger="A03" if done else "A01",
            occurred=reading.time((period.end if done else period.start) if period else None),
            patient_class=_CLASSES.get(resource.class_fhir.code if resource.class_fhir else ""),
            location=reading.text(common["patient"], place),
            discharged=done,
            demographics=reading.demographics(common["patient"]),
            **common,
        ),
    )


def service_request(reading: Reading, resource: Any, part: str) -> Events:
    """ServiceRequest of imaging; others yield nothing."""
    if not _codes(resource.category) & IMAGING_CATEGORIES and not _is_radiology(resource.code):
        return
    common = reading.common(resource.subject, part)
    if common is None:
        return
    accession, placer = reading.number(resource.identifier, "ACSN"), reading.number(resource.identifier, "PLAC")
    fallback = order_key(reading.people.site_key, f"ServiceRequest/{resource.id}")
    reason = next((each.text or _display(each) for each in resource.reasonCode or []), None)
    yield (
        ORDERS,
        OrderEvent(
            control=_CONTROL.get(resource.status, "change"),
            order=placer or accession or fallback,
            accession=accession,
            priority=from_fhir(resource.priority).level,
            priority_code=resource.priority,
            requested=reading.time(resource.authoredOn) if resource.authoredOn else None,
            scheduled=reading.time(resource.occurrenceDateTime) if resource.occurrenceDateTime else None,
            procedure=_coding(resource.code),
            indication=reading.text(common["patient"], reason),
            demographics=reading.demographics(common["patient"]),
            **common,
        ),
    )


def imaging_study(reading: Reading, resource: Any, part: str) -> Events:
    """ImagingStudy: its metadata as an arrival, without pixels."""
    uid = next((each.value.removeprefix("urn:oid:") for each in resource.identifier or [] if each.system == DICOM_UID and each.value), None)
    common = reading.common(resource.subject, part)
    if common is None or uid is None:
        return
    series = next(iter(resource.series or []), None)
    modality = next((each.code for each in [*(resource.modality or []), *([series.modality] if series else [])]), None)
    shared = {
        "study_uid": uid,
        "acquired": reading.time(resource.started),
        "modality": modality,
        "body_part": series.bodySite.display if series and series.bodySite else None,
        "accession": reading.number(resource.identifier, "ACSN"),
        "study_description": reading.text(common["patient"], resource.description),
        "instances": resource.numberOfInstances or 0,
        "demographics": reading.demographics(common["patient"]),
        **common,
    }
    yield IMAGING, ImagingEvent(**shared)
    if resource.status == "available":
        shared["event_id"] = reading.origin.event_id(f"{part}|complete")
        yield IMAGING, ImagingEvent(kind="complete", completed_by="count", **shared)


def observation(reading: Reading, resource: Any, part: str) -> Events:
    """Observation with its components, each a value of its own."""
    common = reading.common(resource.subject, part)
    if common is None:
        return
    effective = resource.effectiveDateTime or resource.effectiveInstant or (resource.effectivePeriod and resource.effectivePeriod.end)
    shared = {"effective": reading.time(effective), "status": _OBSERVATION.get(resource.status, "preliminary"), "issued": None}
    identity = f"{reading.origin.source}|{resource.id or part}"
    found = [
        _observation(each, f"{identity}|{n}", shared)
        for n, each in enumerate([resource, *(resource.component or [])])
        if each is not resource or _has_value(each) or not resource.component
    ]
    vital = "vital-signs" in _codes(resource.category) or any(
        o.loinc in OBSERVABLES and OBSERVABLES[o.loinc].kind == "vital" for o in found
    )
    yield VITALS if vital else LABS, ObservationEvent(observations=found, **common)


def diagnostic_report(reading: Reading, resource: Any, part: str) -> Events:
    """DiagnosticReport of imaging; others yield nothing."""
    codes = {coding.code for coding in resource.code.coding or []}
    if not (_codes(resource.category) & IMAGING_CATEGORIES or codes & IMAGING_REPORTS or resource.imagingStudy):
        return
    common = reading.common(resource.subject, part)
    if common is None:
        return
    studies = [each.identifier.value for each in resource.imagingStudy or [] if each.identifier and each.identifier.value]
    yield (
        REPORTS,
        ReportEvent(
            report=order_key(reading.people.site_key, f"DiagnosticReport/{resource.id}"),
            status=_REPORT.get(resource.status, "preliminary"),
            issued=reading.time(resource.issued),
            study_uid=next((value.removeprefix("urn:oid:") for value in studies), None),
            accession=reading.number(resource.identifier, "ACSN")
            or reading.number([b.identifier for b in resource.basedOn or [] if b.identifier], "ACSN"),
            order=reading.number([b.identifier for b in resource.basedOn or [] if b.identifier], "PLAC"),
            text=reading.text(common["patient"], resource.conclusion),
            impression=[Coding(c.code, c.system, c.display) for code in resource.conclusionCode or [] for c in code.coding or [] if c.code],
            **common,
        ),
    )


READERS = {
    "Patient": patient,
    "Encounter": encounter,
    "ServiceRequest": service_request,
    "ImagingStudy": imaging_study,
    "Observation": observation,
    "DiagnosticReport": diagnostic_report,
}


def _observation(each: Any, key: str, shared: dict[str, Any]) -> Observation:
    codings = each.code.coding or []
    loinc = next((coding.code for coding in codings if coding.system == LOINC), None)
    local = next((Coding(c.code, c.system, c.display) for c in codings if c.system != LOINC and c.code), None)
    quantity = each.valueQuantity
    text = each.valueString or (_display(each.valueCodeableConcept) if each.valueCodeableConcept else None)
    raw = (
        float(quantity.value)
        if quantity is not None and quantity.value is not None
        else (each.valueInteger if each.valueInteger is not None else text)
    )
    unit = (quantity.code or quantity.unit) if quantity is not None else None
    mapped = map_observation(loinc, local.code if local else None, each.code.text, raw, unit) if raw is not None else None
    number = raw if isinstance(raw, int | float) else None
    return Observation(
        key=key,
        loinc=mapped.loinc if isinstance(mapped, Mapped) else loinc,
        local=local or (Coding(each.code.text[:100]) if each.code.text and not loinc else None),
        value=mapped.value if isinstance(mapped, Mapped) else number,
        unit=mapped.unit if isinstance(mapped, Mapped) else None,
        value_text=str(raw)[:200] if raw is not None else None,
        unit_text=(quantity.unit or quantity.code) if quantity is not None else None,
        comparator=quantity.comparator if quantity is not None else None,
        flag=next((_FLAGS[code] for code in _codes(each.interpretation) if code in _FLAGS), None),
        **shared,
    )


def _has_value(each: Any) -> bool:
    return any(value is not None for value in (each.valueQuantity, each.valueString, each.valueInteger, each.valueCodeableConcept))


def _codes(concepts: Any) -> set[str]:
    return {coding.code for concept in concepts or [] for coding in concept.coding or [] if coding.code}


def _is_radiology(code: Any) -> bool:
    return code is not None and any(
        (c.system or "").endswith("radlex.org") or c.system == "http://loinc.org/playbook" for c in code.coding or []
    )


def _coding(concept: Any) -> Coding | None:
    if concept is None:
        return None
    coding = next((c for c in concept.coding or [] if c.code), None)
    return Coding(coding.code, coding.system, coding.display) if coding else (Coding(concept.text[:100]) if concept.text else None)


def _display(concept: Any) -> str | None:
    return concept.text or next((c.display or c.code for c in concept.coding or []), None)
