"""One function for each resource that Readfirst reads: FHIR R4B in, events out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, get_args

from pipeline.adapters.fhir.reading import Reading, dicom_uid, study_uid
from pipeline.domain.catalogue import OBSERVABLES
from pipeline.domain.priorities import from_fhir
from pipeline.domain.terminology import Mapped, map_observation, most_severe, observable_of
from schemas.codes import LOINC, UCUM, Comparator, ObservationStatus, PatientClass
from schemas.events import AdtEvent, AnyEvent, ImagingEvent, Observation, ObservationEvent, OrderEvent, ReportEvent
from schemas.identifiers import pseudonym
from schemas.time import Timestamp
from schemas.topics import ADT, IMAGING, LABS, ORDERS, REPORTS, VITALS, Topic

REPORT_MAX, VALUE_MAX = 64_000, 500
"""Longest report and value kept, characters."""
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
_NEVER = ("planned", "cancelled", "entered-in-error")
"""States of an Encounter that has not begun."""
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
    reading.explain(resource, common["patient"])
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
            arrived=reading.time(period.start) if period and period.start and resource.status not in _NEVER else None,
            demographics=reading.demographics(common["patient"]),
            **common,
        ),
    )


def service_request(reading: Reading, resource: Any, part: str) -> Events:
    """ServiceRequest of imaging; others yield nothing."""
    if not codes_of(resource.category) & IMAGING_CATEGORIES and not _is_radiology(resource.code):
        return
    common = reading.common(resource.subject, part)
    if common is None:
        return
    reason = next((each.text or _display(each) for each in resource.reasonCode or []), None)
    reading.explain(resource, order := reading.order(resource, part))
    yield (
        ORDERS,
        OrderEvent(
            control=_CONTROL.get(resource.status, "change"),
            order=order,
            accession=reading.number(resource.identifier, "ACSN"),
            priority=from_fhir(resource.priority).level,
            priority_code=resource.priority,
            requested=reading.time(resource.authoredOn) if resource.authoredOn else None,
            scheduled=reading.time(resource.occurrenceDateTime) if resource.occurrenceDateTime else None,
            procedure=reading.concept(common["patient"], resource.code),
            indication=reading.text(common["patient"], reason),
            demographics=reading.demographics(common["patient"]),
            **common,
        ),
    )


def imaging_study(reading: Reading, resource: Any, part: str) -> Events:
    """ImagingStudy: its metadata as an arrival, without pixels."""
    uid = study_uid(resource)
    common = reading.common(resource.subject, part)
    if common is None or uid is None:
        return
    reading.explain(resource, uid)
    series = next(iter(resource.series or []), None)
    modality = next((each.code for each in [*(resource.modality or []), *([series.modality] if series else [])]), None)
    shared = {
        "study_uid": uid,
        "acquired": reading.time(resource.started),
        "modality": modality,
        "body_part": reading.text(common["patient"], series.bodySite.display) if series and series.bodySite else None,
        "accession": reading.number(resource.identifier, "ACSN"),
        "order": reading.order_behind(resource.basedOn),
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
    common = reading.common(resource.subject, part, resource.encounter)
    if common is None:
        return
    effective = resource.effectiveDateTime or resource.effectiveInstant or (resource.effectivePeriod and resource.effectivePeriod.end)
    shared = {
        "effective": reading.time(effective or resource.issued),
        "status": _OBSERVATION.get(resource.status, "preliminary"),
        "issued": reading.time(resource.issued) if resource.issued else None,
    }
    name = reading.name(resource, part)
    found = [
        _observation(reading, common["patient"], each, f"{name}|{n}", shared)
        for n, each in enumerate([resource, *(resource.component or [])])
        if each is not resource or _value(each) is not None or not resource.component
    ]
    vital = "vital-signs" in codes_of(resource.category) or any(
        o.loinc in OBSERVABLES and OBSERVABLES[o.loinc].kind == "vital" for o in found
    )
    yield VITALS if vital else LABS, ObservationEvent(observations=found, **common)


def diagnostic_report(reading: Reading, resource: Any, part: str) -> Events:
    """DiagnosticReport of imaging; others yield nothing."""
    if not (codes_of(resource.category) & IMAGING_CATEGORIES or codes_of([resource.code]) & IMAGING_REPORTS or resource.imagingStudy):
        return
    common = reading.common(resource.subject, part, resource.encounter)
    if common is None:
        return
    based_on = [each.identifier for each in resource.basedOn or [] if each.identifier]
    studies = resource.imagingStudy or []
    named = dicom_uid(each.identifier for each in studies if each.identifier)
    referred = (reading.study_behind(each.reference) for each in studies if each.reference)
    yield (
        REPORTS,
        ReportEvent(
            report=pseudonym(reading.people.site_key, "report", reading.name(resource, part)),
            status=_REPORT.get(resource.status, "preliminary"),
            issued=reading.time(resource.issued),
            study_uid=named or next((uid for uid in referred if uid), None),
            accession=reading.number(resource.identifier, "ACSN") or reading.number(based_on, "ACSN"),
            order=reading.order_behind(resource.basedOn),
            text=reading.text(common["patient"], resource.conclusion, REPORT_MAX),
            impression=[
                reading.coding(common["patient"], each) for code in resource.conclusionCode or [] for each in code.coding or [] if each.code
            ],
            **common,
        ),
    )


def _observation(reading: Reading, patient: str, each: Any, key: str, shared: dict[str, Any]) -> Observation:
    """Of an Observation or one of its components. key: what tells it from all others."""
    codings = [coding for coding in (each.code and each.code.coding) or [] if coding.code]
    loinc = next((coding.code for coding in codings if coding.system == LOINC), None)
    local = next((coding for coding in codings if coding.system != LOINC), codings[0] if codings else None)
    quantity, raw = each.valueQuantity, _value(each)
    name, local_code = each.code and each.code.text, local.code if local else None
    code, value, unit = _mapped(loinc, local_code, name, raw, quantity, reading.unmapped)
    return Observation(
        key=pseudonym(reading.people.site_key, "observation", key),
        loinc=code,
        local=reading.coding(patient, local) if local else reading.concept(patient, each.code),
        value=value,
        unit=unit,
        value_text=reading.text(patient, raw, VALUE_MAX) if isinstance(raw, str) else None if raw is None else str(raw),
        unit_text=(quantity.unit or quantity.code) if quantity is not None else None,
        comparator=quantity.comparator if quantity is not None and quantity.comparator in get_args(Comparator) else None,
        flag=most_severe(codes_of(each.interpretation)),
        **shared,
    )


def _mapped(
    loinc: str | None, code: str | None, name: str | None, raw: float | str | None, quantity: Any, unmapped: Counter[str]
) -> tuple[str | None, float | None, str | None]:
    """loinc, value and unit. A value that the catalogue knows but whose unit it doesn't is left out: its text stays."""
    observable = observable_of(loinc, code, name)
    if raw is None:
        return observable or loinc, None, None
    reason = "code-unknown"
    for unit in [text for text in ((quantity.code, quantity.unit) if quantity is not None else ()) if text] or [None]:
        result = map_observation(loinc, code, name, raw, unit)
        if isinstance(result, Mapped):
            return result.loinc, result.value, result.unit
        reason = result.reason
    unmapped[reason] += 1
    if observable is not None or isinstance(raw, str):
        return observable or loinc, None, None
    return loinc, float(raw), quantity.code if quantity is not None and quantity.system == UCUM else None


def _value(each: Any) -> float | str | None:
    if each.valueQuantity is not None and each.valueQuantity.value is not None:
        return float(each.valueQuantity.value)
    if each.valueInteger is not None:
        return int(each.valueInteger)
    return each.valueString or (_display(each.valueCodeableConcept) if each.valueCodeableConcept else None)


def codes_of(concepts: Any) -> set[str]:
    """All codes of CodeableConcepts, whatever their systems."""
    return {coding.code for concept in concepts or [] if concept for coding in concept.coding or [] if coding.code}


def _is_radiology(code: Any) -> bool:
    return code is not None and any(
        (c.system or "").endswith("radlex.org") or c.system == "http://loinc.org/playbook" for c in code.coding or []
    )


def _display(concept: Any) -> str | None:
    return concept.text or next((c.display or c.code for c in concept.coding or []), None)
