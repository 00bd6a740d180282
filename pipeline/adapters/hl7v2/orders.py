"""ORM, OMG, OML and OMI: each imaging order of a message as an OrderEvent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from pipeline.adapters.hl7v2.envelope import Envelope
from pipeline.adapters.hl7v2.groups import OrderGroup, PatientGroup
from pipeline.adapters.hl7v2.message import Segment
from pipeline.adapters.hl7v2.person import Person, location, patient_class
from pipeline.adapters.hl7v2.procedures import body_part, is_imaging, modality
from pipeline.adapters.hl7v2.refusal import missing_field
from pipeline.domain import priorities
from schemas.codes import LOINC, SNOMED, Coding
from schemas.events import OrderEvent
from schemas.identifiers import accession_key, order_key
from schemas.time import Timestamp

Control = Literal["new", "change", "cancel", "complete"]

_CONTROLS: dict[str, Control] = {
    **dict.fromkeys(("NW", "PA", "CH", "RN", ""), "new"),
    **dict.fromkeys(("CA", "OC", "CR", "DC", "OD", "DR"), "cancel"),
}
"""ORC-1 (table 0119); every other code changes an order or tells about it."""
_STATES: dict[str, Control] = {"CM": "complete", "CA": "cancel", "DC": "cancel"}
"""ORC-5 (table 0038)."""
_SYSTEMS = {
    "LN": LOINC,
    "LOINC": LOINC,
    "SCT": SNOMED,
    "SNM": SNOMED,
    "CPT": "http://www.ama-assn.org/go/cpt",
    "C4": "http://www.ama-assn.org/go/cpt",
}
_UID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+", re.ASCII)
INDICATION_MAX = 1000


@dataclass(slots=True)
class Numbers:
    """Order and accession numbers of a group. known: pseudonym -> number, for the vault."""

    order: str | None = None
    accession: str | None = None
    known: dict[str, str] = field(default_factory=dict)


def is_imaging_order(group: OrderGroup, message_code: str) -> bool:
    """OMI^O23 is for imaging alone; elsewhere IPC, ZDS, OBR-24 or the procedure's words say so."""
    return is_imaging(group.obr, more=message_code == "OMI" or bool(group.procedures) or group.zds is not None)


def order_event(
    group: OrderGroup, patient: PatientGroup, person: Person, envelope: Envelope, part: str
) -> tuple[OrderEvent, Mapping[str, str]]:
    """The event and its numbers for the vault. Raises Refused where the order has no number at all."""
    numbers = order_numbers(group, envelope.site.key)
    key = numbers.order or numbers.accession
    if key is None:
        raise missing_field((group.orc or group.obr or _no_segment(patient)).location(2))
    control = _control(group.orc)
    requested = _requested(group, envelope, control)
    code = _priority_code(group)
    priority = priorities.from_hl7(code)
    at = (requested or envelope.sent).utc
    event = OrderEvent(
        event_id=envelope.origin.event_id(part),
        patient=person.key,
        source=envelope.origin.source,
        recorded_at=envelope.received,
        control=control,
        order=key,
        accession=numbers.accession,
        study_uid=study_uid(group),
        priority=priority.level,
        priority_code=code,
        deadline=_deadline(priority, requested, group, envelope),
        requested=requested,
        scheduled=_scheduled(group, envelope),
        procedure=_procedure(group.obr, person),
        modality=modality(group.obr, group.ipc),
        body_part=body_part(group.obr),
        indication=_indication(group, patient, person),
        patient_class=patient_class(patient.pv1),
        location=location(patient.pv1),
        demographics=person.demographics(at),
    )
    return event, numbers.known


def order_numbers(group: OrderGroup, site_key: bytes) -> Numbers:
    """Placer: ORC-2, OBR-2. Accession: IPC-1, OBR-18 (IHE RAD), OBR-20, then the filler's number (OBR-3, ORC-3)."""
    numbers = Numbers()
    placer = next(iter(group.numbers(2, 2)), None)
    if placer:
        numbers.order = order_key(site_key, placer)
        numbers.known[numbers.order] = placer
    accession = accession_number(group)
    if accession:
        numbers.accession = accession_key(site_key, accession)
        numbers.known[numbers.accession] = accession
    return numbers


def accession_number(group: OrderGroup) -> str | None:
    """As `order_numbers` says."""
    explicit = [group.ipc.text(1)] if group.ipc else []
    if group.obr:
        explicit += [group.obr.text(18), group.obr.text(20)]
    return next((number for number in [*explicit, *reversed(group.numbers(3, 3))] if number), None)


def study_uid(group: OrderGroup) -> str | None:
    """IPC-3, ZDS-1, or an OBX that carries it (DCM 113014, 110180, 113012)."""
    found = [segment.text(3) for segment in group.procedures]
    if group.zds is not None:
        found.append(group.zds.text(1))
    found += [obx.text(5) for obx in group.results if obx.text(3) in ("113014", "110180", "113012")]
    return next((uid for uid in found if len(uid) <= 64 and _UID.fullmatch(uid)), None)


def coding(segment: Segment, field_number: int) -> Coding | None:
    """The first coded element of a field."""
    value = segment.value(field_number)
    if not value.text(1) and not value.text(2):
        return None
    return Coding((value.text(1) or value.text(2))[:80], _SYSTEMS.get(value.text(3).upper()), value.text(2)[:200] or None)


def _control(orc: Segment | None) -> Control:
    if orc is None:
        return "new"
    control = _CONTROLS.get(orc.text(1).upper(), "change")
    return _STATES.get(orc.text(5).upper(), control) if control == "change" else control


def _requested(group: OrderGroup, envelope: Envelope, control: Control) -> Timestamp | None:
    """ORC-9, else the message's own time. None for a change without ORC-9: it says nothing about when the order was placed."""
    written = envelope.first_time(group.orc.text(9)) if group.orc else None
    if written is None and control == "new":
        written = envelope.first_time(group.obr.text(6)) if group.obr else None
        return written or envelope.sent
    return written


def _deadline(priority: priorities.Priority, requested: Timestamp | None, group: OrderGroup, envelope: Envelope) -> datetime | None:
    """The soonest of the priority's own (`TM30`) and the end that the order names (TQ1-8, ORC-7.5, OBR-27.5); of a day its last moment."""
    texts = [timing.text(8) for timing in group.timings]
    texts += [group.orc.text(7, 5)] if group.orc else []
    texts += [group.obr.text(27, 5)] if group.obr else []
    end = envelope.first_time(*texts)
    found = [(requested or envelope.sent).utc + priority.within] if priority.within is not None else []
    found += [end.utc + (timedelta(days=1) if end.precision == "day" else timedelta())] if end else []
    return min(found, default=None)


def _scheduled(group: OrderGroup, envelope: Envelope) -> Timestamp | None:
    """TQ1-7, ORC-7.4, OBR-27.4 or OBR-36."""
    texts = [timing.text(7) for timing in group.timings]
    texts += [group.orc.text(7, 4)] if group.orc else []
    texts += [group.obr.text(27, 4), group.obr.text(36)] if group.obr else []
    return envelope.first_time(*texts)


def _priority_code(group: OrderGroup) -> str | None:
    """TQ1-9, ORC-7.6, OBR-27.6 or OBR-5, the first that is there, with its repetitions."""
    timings = [value.text(1) for timing in group.timings for value in timing.repetitions(9)]
    orc = [value.text(6) for value in group.orc.repetitions(7)] if group.orc else []
    obr = [value.text(6) for value in group.obr.repetitions(27)] if group.obr else []
    old = [value.text(1) for value in group.obr.repetitions(5)] if group.obr else []
    for codes in (timings, orc, obr, old):
        if any(codes):
            return "~".join(code for code in codes if code)[:40]
    return None


def _procedure(obr: Segment | None, person: Person) -> Coding | None:
    if obr is None:
        return None
    found = coding(obr, 4) or coding(obr, 44)
    return Coding(found.code, found.system, person.clean(found.display) if found.display else None) if found else None


def _indication(group: OrderGroup, patient: PatientGroup, person: Person) -> str | None:
    """OBR-31, OBR-13, ORC-16, diagnoses and notes, each once."""
    texts: list[str] = []
    if group.obr:
        texts += [value.text(2) or value.text(1) for value in group.obr.repetitions(31)]
        texts += [value.words() for value in group.obr.repetitions(13)]
    if group.orc:
        texts += [value.text(2) or value.text(1) for value in group.orc.repetitions(16)]
    texts += [dg1.text(4) or dg1.text(3, 2) or dg1.text(3) for dg1 in (*group.diagnoses, *patient.diagnoses)]
    texts += [value.words() for note in group.notes for value in note.repetitions(3)]
    joined = "; ".join(dict.fromkeys(text for text in texts if text))
    return person.clean(joined, INDICATION_MAX)


def _no_segment(patient: PatientGroup) -> Segment:
    assert patient.pid is not None  # an order group begins with ORC or OBR, and a patient group with PID
    return patient.pid
