"""Appointment: a patient's visits to a clinic, booked, moved and taken back; those of the imaging department itself are not a clinic's."""

from __future__ import annotations

import re
from typing import Any

from pipeline.adapters.fhir.reading import Reading
from pipeline.adapters.fhir.resources import IMAGING_CATEGORIES, Events, codes_of
from schemas.events import AdtEvent, Appointment
from schemas.identifiers import order_key
from schemas.topics import ADT

STANDING = frozenset({"booked", "arrived", "checked-in", "fulfilled"})
"""Of the others some have no time yet (proposed, pending, waitlist), some are taken back (cancelled, noshow, entered-in-error)."""

_IMAGING = IMAGING_CATEGORIES | {"394914008"}
"""SNOMED CT Radiology as a specialty beside what marks a request as imaging."""


def appointment(reading: Reading, resource: Any, part: str) -> Events:
    """Of the patient among its participants; one without a time that should have one yields nothing."""
    if codes_of([*(resource.serviceCategory or []), *(resource.serviceType or []), *(resource.specialty or [])]) & _IMAGING:
        return
    actors = [each.actor for each in resource.participant if each.actor is not None and _is_patient(each.actor)]
    common = reading.common(actors[0], part) if actors else None
    at = reading.time(resource.start) if resource.start and resource.status in STANDING else None
    if common is None or (at is None and resource.status in STANDING):
        return
    yield (
        ADT,
        AdtEvent(
            trigger="S12" if at else "S15",
            occurred=reading.time(resource.created),
            demographics=reading.demographics(common["patient"]),
            appointment=Appointment(
                key=order_key(reading.people.site_key, reading.name(resource, part)),
                at=at.utc if at else None,
                order=reading.order_behind(resource.basedOn),
                accession=reading.number([each.identifier for each in resource.basedOn or [] if each.identifier], "ACSN"),
            ),
            **common,
        ),
    )


def _is_patient(actor: Any) -> bool:
    return actor.type == "Patient" or re.search(r"(?:^|/)Patient/", actor.reference or "") is not None
