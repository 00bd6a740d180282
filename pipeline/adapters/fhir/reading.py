"""One FHIR message being read: what all its resources share, and how they lead to each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.adapters.dicom.instance import sound_uid
from pipeline.adapters.fhir.references import People
from pipeline.domain import timestamps
from pipeline.domain.deidentify import scrub
from pipeline.domain.demographics import age_at
from pipeline.services.intake import Origin
from schemas.codes import Coding
from schemas.events import Demographics
from schemas.identifiers import accession_key, order_key
from schemas.time import Timestamp

DICOM_UID = "urn:dicom:uid"
TEXT_MAX, CODE_MAX = 2_000, 100
"""Longest free text and code kept, characters."""
_REQUEST = re.compile(r"ServiceRequest/[A-Za-z0-9\-.]{1,64}")


@dataclass(slots=True)
class Reading:
    """One message being read: who, when received, from whom.

    at_hand: the message's own resources, by their references. `numbers` and `links` gather what the vault must remember, `unmapped` counts
    why observations stay outside the catalogue.
    """

    origin: Origin
    people: People
    received: datetime
    zone: ZoneInfo
    at_hand: Mapping[str, Any]
    numbers: dict[str, str]
    links: dict[str, str]
    unmapped: Counter[str]

    def common(self, subject: Any, part: str, encounter: Any = None) -> dict[str, Any] | None:
        """The fields all events share; None where the resource names neither patient nor encounter."""
        found = self.people.key(subject) or self._of_encounter(encounter)
        if found is None:
            return None
        key, number = found
        if number is not None:
            self.links[number] = key
        return {"event_id": self.origin.event_id(part), "patient": key, "source": self.origin.source, "recorded_at": self.received}

    def _of_encounter(self, encounter: Any) -> tuple[str, str | None] | None:
        """Whose visit it is: by the Encounter in this message, or in another."""
        if encounter is None or not encounter.reference:
            return None
        visit = self.at_hand.get(encounter.reference)
        return self.people.key(visit.subject) if visit is not None else self.people.behind(encounter.reference)

    def explain(self, resource: Any, meaning: str) -> None:
        """Later messages may refer to this resource by its id alone."""
        if resource.id:
            self.links[self.people.number(f"{resource.get_resource_type()}/{resource.id}")] = meaning

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

    def order(self, request: Any, part: str = "") -> str:
        """The pseudonym under which a ServiceRequest is known: of its placer number, its accession, or what it is called."""
        numbers = (self.number(request.identifier, kind) for kind in ("PLAC", "ACSN"))
        return next((number for number in numbers if number), None) or order_key(self.people.site_key, self.name(request, part))

    def order_behind(self, references: Any) -> str | None:
        """The order that `basedOn` leads to: by number, by the request in this or an earlier message, or by what the request is called.

        A request that has a number, and comes later than what refers to it by its id, is another order: matched by what else it says.
        """
        for each in references or []:
            request, named = self.at_hand.get(each.reference or ""), _REQUEST.search(each.reference or "")
            if each.identifier and (number := self.number([each.identifier], "PLAC")):
                return number
            if request is not None and request.get_resource_type() == "ServiceRequest":
                return self.order(request)
            if each.reference and (order := self.people.recalled.get(self.people.number(each.reference))):
                return order
            if named:
                return order_key(self.people.site_key, f"{self.origin.source}|{named[0]}")
        return None

    def study_behind(self, reference: str) -> str | None:
        """UID of the ImagingStudy in this or an earlier message."""
        study = self.at_hand.get(reference)
        return study_uid(study) if study is not None else self.people.recalled.get(self.people.number(reference))

    def name(self, resource: Any, part: str) -> str:
        """What the resource is called each time it is sent: its id, else its identifier; without either it is this message's own."""
        kind, identifiers = resource.get_resource_type(), resource.identifier or []
        said = resource.id or next((each.value for each in identifiers if each.value), None) or f"{self.origin.identity}|{part}"
        return f"{self.origin.source}|{kind}/{said}"

    def text(self, patient: str, text: str | None, longest: int = TEXT_MAX) -> str | None:
        """Free text without the patient's own identifiers."""
        people = self.people
        if not text:
            return None
        return scrub(text[:longest], people.names.get(patient, ()), people.ids.get(patient, ()), people.birth_dates.get(patient))

    def coding(self, patient: str, coding: Any) -> Coding:
        """Some senders write sentences where a code belongs."""
        code = self.text(patient, coding.code, CODE_MAX) or ""
        return Coding(code, coding.system, self.text(patient, coding.display, CODE_MAX))

    def concept(self, patient: str, concept: Any) -> Coding | None:
        """The first code of a CodeableConcept, else its text in place of one."""
        coding = next((each for each in concept.coding or [] if each.code), None) if concept is not None else None
        if coding is not None:
            return self.coding(patient, coding)
        return Coding(self.text(patient, concept.text, CODE_MAX) or "") if concept is not None and concept.text else None

    def demographics(self, patient: str) -> Demographics:
        """Age at receipt and sex, where the message brought the Patient."""
        return Demographics(age_at(self.people.birth_dates.get(patient), self.received), self.people.sexes.get(patient, "U"))


def study_uid(resource: Any) -> str | None:
    """Of an ImagingStudy."""
    return dicom_uid(each for each in resource.identifier or [] if each.system == DICOM_UID)


def dicom_uid(identifiers: Iterable[Any]) -> str | None:
    """The first that is one."""
    return next((sound_uid(each.value.removeprefix("urn:oid:")) for each in identifiers if each.value), None)
