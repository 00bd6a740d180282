"""ORU^R01: laboratory results, vital signs and radiology reports of one patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pipeline.adapters.hl7v2.envelope import Envelope
from pipeline.adapters.hl7v2.groups import OrderGroup
from pipeline.adapters.hl7v2.message import Segment
from pipeline.adapters.hl7v2.observations import ENCAPSULATED, STATUSES, code_of, is_result, is_vital, observation
from pipeline.adapters.hl7v2.orders import accession_number, coding, order_numbers, study_uid
from pipeline.adapters.hl7v2.person import Person
from pipeline.adapters.hl7v2.procedures import SECTIONS, is_imaging, procedure_text
from schemas.codes import Coding
from schemas.events import Observation, ObservationEvent, ReportEvent
from schemas.identifiers import pseudonym
from schemas.topics import LABS, VITALS, Topic

ReportStatus = Literal["preliminary", "final", "corrected", "addendum", "cancelled"]

REPORT_MAX = 64_000
"""Longest report text kept, characters."""
_REPORT_STATUSES: dict[str, ReportStatus] = {
    **dict.fromkeys(("F", "U", "V"), "final"),
    **dict.fromkeys(("P", "R", "A", "I", "S", "B"), "preliminary"),
    "C": "corrected",
    **dict.fromkeys(("X", "D", "W"), "cancelled"),
}
"""OBR-25 (table 0123) and OBX-11 (table 0085). An order or a scheduled examination (O, S without text) is no report."""
_TEXTS = ("TX", "FT", "ST", "")
_CODED = ("CE", "CWE", "CNE")
_VITAL_PANELS = re.compile(r"\b(?:85353-1|8716-3|vital ?signs?|vitals|vitalparameter|monitor)\b", re.IGNORECASE)


def is_report(group: OrderGroup) -> bool:
    """An imaging procedure, or a text under an accession number that no laboratory section claims."""
    if not group.results:
        return False
    if is_imaging(group.obr, more=group.zds is not None or study_uid(group) is not None):
        return True
    obr = group.obr
    if obr is None or not obr.text(18) or (obr.text(24) and obr.text(24).upper() not in SECTIONS):
        return False
    return all(obx.text(2).upper() in (*_TEXTS, *_CODED, *ENCAPSULATED) for obx in group.results)


def report_event(group: OrderGroup, person: Person, envelope: Envelope, part: str) -> tuple[ReportEvent, Mapping[str, str]] | None:
    """The event and its numbers for the vault; None where there is no text, code or cancellation."""
    obr = group.obr
    status = _report_status(group)
    if status is None:
        return None
    numbers = order_numbers(group, envelope.site.key)
    text = "\n".join(line for obx in group.results if obx.text(2).upper() in _TEXTS for line in _lines(obx))
    codes = [coding(obx, 5) for obx in group.results if obx.text(2).upper() in _CODED]
    name = accession_number(group) or numbers.order or study_uid(group) or envelope.origin.identity
    issued = envelope.first_time(obr.text(22) if obr else "", *(obx.text(14) for obx in group.results), obr.text(7) if obr else "")
    event = ReportEvent(
        event_id=envelope.origin.event_id(part),
        patient=person.key,
        source=envelope.origin.source,
        recorded_at=envelope.received,
        report=pseudonym(envelope.site.key, "report", name),
        status=status,
        issued=issued or envelope.sent,
        study_uid=study_uid(group),
        accession=numbers.accession,
        order=numbers.order,
        text=person.clean(text, REPORT_MAX),
        impression=[_scrubbed(code, person) for code in codes if code is not None],
    )
    return event, numbers.known


def observation_events(
    groups: list[OrderGroup], person: Person, envelope: Envelope, part: str, unmapped: Counter[str]
) -> list[tuple[Topic, ObservationEvent]]:
    """At most one event for labs and one for vitals."""
    sorted_by_topic: dict[str, list[Observation]] = {LABS.name: [], VITALS.name: []}
    for group in groups:
        panel_is_vital = group.obr is not None and bool(_VITAL_PANELS.search(procedure_text(group.obr)))
        for obx in group.results:
            if not is_result(obx):
                unmapped["no-result"] += 1
                continue
            code = code_of(obx)
            vital = is_vital(code)
            topic = VITALS if vital or (vital is None and panel_is_vital) else LABS
            sorted_by_topic[topic.name].append(observation(obx, code, group, person, envelope, unmapped))
    return [
        (
            topic,
            ObservationEvent(
                event_id=envelope.origin.event_id(f"{part}|{topic.name}"),
                patient=person.key,
                source=envelope.origin.source,
                recorded_at=envelope.received,
                observations=sorted_by_topic[topic.name],
            ),
        )
        for topic in (LABS, VITALS)
        if sorted_by_topic[topic.name]
    ]


def _scrubbed(code: Coding, person: Person) -> Coding:
    """Some senders write sentences where a code belongs."""
    return Coding(person.clean(code.code) or "", code.system, person.clean(code.display) if code.display else None)


def _report_status(group: OrderGroup) -> ReportStatus | None:
    """OBR-25, else the least finished OBX-11. A text marked ADT (IHE) or addendum adds to a finished report."""
    written = [obx for obx in group.results if obx.text(11).upper() in STATUSES]
    declared = group.obr.text(25).upper() if group.obr else ""
    if not written:
        return "cancelled" if declared == "X" else None
    codes = [declared] if declared in _REPORT_STATUSES else [obx.text(11).upper() or "F" for obx in written]
    statuses = {_REPORT_STATUSES[code] for code in codes if code in _REPORT_STATUSES}
    order: tuple[ReportStatus, ...] = ("preliminary", "corrected", "final", "cancelled")
    status = next((known for known in order if known in statuses), None)
    return "addendum" if status in ("final", "corrected") and any(_is_addendum(obx) for obx in written) else status


def _is_addendum(obx: Segment) -> bool:
    value = obx.value(3)
    return value.text(1, 2).upper() == "ADT" or "addendum" in value.text(2).lower()


def _lines(obx: Segment) -> list[str]:
    return [value.words() for value in obx.repetitions(5)]
