"""Whom a FHIR reference means: the patient's pseudonym, from the resources at hand or as a number to be claimed later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.domain.demographics import sex_of
from pipeline.ports import Identity
from schemas.codes import Sex
from schemas.identifiers import patient_key, pseudonym, unmatched_patient_key

MEDICAL_RECORD = "MR"


@dataclass(slots=True)
class People:
    """The patients that one message speaks of, found by any of their references.

    links: pseudonym of a FHIR reference -> patient, so that a later message that only has the reference finds its person.
    """

    site_key: bytes
    source: str
    authority: str
    authorities: Mapping[str, str]
    known: dict[str, str] = field(default_factory=dict)
    birth_dates: dict[str, str] = field(default_factory=dict)
    sexes: dict[str, Sex] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    identities: list[Identity] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)

    def meet(self, patient: Any, urls: Iterable[str | None]) -> str | None:
        """Learns a Patient resource; its pseudonym, None where it has no identifier and no id."""
        identifier = _identifier(patient.identifier or [])
        references = [url for url in (*urls, f"Patient/{patient.id}" if patient.id else None) if url]
        if identifier is not None and identifier.value:
            authority, value = self._authority(identifier.system), identifier.value
        elif references:
            authority, value = f"fhir:{self.source}", references[0]
        else:
            return None
        key = patient_key(self.site_key, authority, value)
        for reference in references:
            self.known[reference] = key
            self.links[self._number(reference)] = key
        name = _name(patient)
        self.birth_dates[key] = str(patient.birthDate) if patient.birthDate else ""
        self.sexes[key] = sex_of(patient.gender)
        self.names[key] = [part for part in (name or "").split("^") if part]
        self.identities.append(Identity(key, value, authority, name, self.birth_dates[key] or None, self.sexes[key]))
        return key

    def key(self, reference: Any) -> tuple[str, str | None] | None:
        """(pseudonym, number by which it can be claimed or None) of a Reference to a patient; None where it says nothing."""
        if reference is None:
            return None
        if reference.identifier is not None and reference.identifier.value:
            return patient_key(self.site_key, self._authority(reference.identifier.system), reference.identifier.value), None
        text = reference.reference
        if not text:
            return None
        relative = _relative(text)
        if text in self.known or relative in self.known:
            return self.known.get(text) or self.known[relative], None
        number = self._number(relative)
        return unmatched_patient_key(self.site_key, f"fhir|{self.source}|{relative}"), number

    def _authority(self, system: str | None) -> str:
        return self.authorities.get(system or "", system or self.authority)

    def _number(self, reference: str) -> str:
        return pseudonym(self.site_key, f"fhir:{self.source}", reference)


def _identifier(identifiers: Iterable[Any]) -> Any | None:
    """The medical record number; the first identifier with a value where none is marked as one."""
    with_value = [each for each in identifiers if each.value]
    marked = [each for each in with_value if any(coding.code == MEDICAL_RECORD for coding in (each.type.coding or [] if each.type else []))]
    return next(iter(marked or with_value), None)


def _name(patient: Any) -> str | None:
    for name in patient.name or []:
        if name.family or name.given:
            return f"{name.family or ''}^{' '.join(name.given or [])}"
        if name.text:
            return str(name.text)
    return None


def _relative(reference: str) -> str:
    """`https://server/fhir/Patient/1/_history/2` and `Patient/1` are the same person of one source."""
    match = re.search(r"(Patient/[A-Za-z0-9\-.]{1,64})(?:/_history/.*)?$", reference)
    return match[1] if match else reference
