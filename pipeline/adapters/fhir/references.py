"""What a FHIR reference means: from the resources at hand, from what earlier messages brought, or as a number to be claimed later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.domain.demographics import sex_of
from pipeline.ports import Identity
from schemas.codes import Sex
from schemas.identifiers import patient_key, pseudonym, unmatched_patient_key

MEDICAL_RECORD = "MR"
_LOCAL = re.compile(r"((?:Patient|Encounter|ServiceRequest|ImagingStudy)/[A-Za-z0-9\-.]{1,64})(?:/_history/.*)?$")


@dataclass(slots=True)
class People:
    """The patients that one message speaks of, found by any of their references.

    names, ids: pseudonym -> what must not stand in free text.
    links: number of a FHIR reference -> patient, so that a later message that only has the reference finds its person.
    recalled: number of a FHIR reference -> patient, order or study UID, of references that earlier messages explained.
    """

    site_key: bytes
    source: str
    authority: str
    authorities: Mapping[str, str]
    known: dict[str, str] = field(default_factory=dict)
    birth_dates: dict[str, str] = field(default_factory=dict)
    sexes: dict[str, Sex] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)
    identities: list[Identity] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    recalled: Mapping[str, str] = field(default_factory=dict)

    def meet(self, patient: Any, url: str | None) -> None:
        """Learns a Patient resource; nothing of one that has no identifier, id or url."""
        identifier = _identifier(patient.identifier or [])
        references = [name for name in (url, f"Patient/{patient.id}" if patient.id else None) if name]
        if identifier is not None and identifier.value:
            authority, value = self._authority(identifier.system), identifier.value
        elif references:
            authority, value = f"fhir:{self.source}", references[0]
        else:
            return
        key = patient_key(self.site_key, authority, value)
        for reference in references:
            self.known[reference] = key
            self.links[self.number(reference)] = key
        self.birth_dates[key] = str(patient.birthDate) if patient.birthDate else ""
        self.sexes[key] = sex_of(patient.gender)
        self.names[key] = [part for name in patient.name or [] for part in (name.family, *(name.given or []), name.text) if part]
        self.ids[key] = [value, *(each.value for each in patient.identifier or [] if each.value)]
        self.identities.append(Identity(key, value, authority, _name(patient), self.birth_dates[key] or None, self.sexes[key]))

    def key(self, reference: Any) -> tuple[str, str | None] | None:
        """(pseudonym, number by which it can be claimed or None) of a Reference to a patient; None where it says nothing."""
        found = self._found(reference) if reference is not None else None
        if found is not None and reference.display:
            self.names.setdefault(found[0], []).append(reference.display)
        return found

    def _found(self, reference: Any) -> tuple[str, str | None] | None:
        if reference.identifier is not None and reference.identifier.value:
            key = patient_key(self.site_key, self._authority(reference.identifier.system), reference.identifier.value)
            self.ids.setdefault(key, []).append(reference.identifier.value)
            return key, None
        return self.behind(reference.reference) if reference.reference else None

    def behind(self, text: str) -> tuple[str, str | None]:
        """As `key`, of the reference's text: to a patient, or to an encounter that says whose it is."""
        relative, number = _relative(text), self.number(text)
        patient = self.known.get(text) or self.known.get(relative) or self.recalled.get(number)
        return (patient, None) if patient else (unmatched_patient_key(self.site_key, f"fhir|{self.source}|{relative}"), number)

    def number(self, reference: str) -> str:
        """The pseudonym under which the vault remembers what a reference of this source means."""
        return pseudonym(self.site_key, f"fhir:{self.source}", _relative(reference))

    def _authority(self, system: str | None) -> str:
        return self.authorities.get(system or "", system or self.authority)


def _identifier(identifiers: Iterable[Any]) -> Any | None:
    """The medical record number; the first identifier with a value where none is marked as one."""
    with_value = [each for each in identifiers if each.value]
    marked = [each for each in with_value if any(coding.code == MEDICAL_RECORD for coding in (each.type.coding or [] if each.type else []))]
    return next(iter(marked or with_value), None)


def _name(patient: Any) -> str | None:
    for name in patient.name or []:
        if name.family or name.given:
            return f"{name.family or ''}^{' '.join(filter(None, name.given or []))}"
        if name.text:
            return str(name.text)
    return None


def _relative(reference: str) -> str:
    """`https://server/fhir/Patient/1/_history/2` and `Patient/1` are the same of one source."""
    match = _LOCAL.search(reference)
    return match[1] if match else reference


def references(resources: list[Any]) -> Iterator[str]:
    """All that these JSON resources refer to."""
    layer = [*resources]
    while layer:
        each = layer.pop()
        if isinstance(each, dict):
            if isinstance(text := each.get("reference"), str):
                yield text
            layer += each.values()
        elif isinstance(each, list):
            layer += each
