"""ADT: admissions, transfers, discharges and their cancellations; merges and unmerges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.adapters.hl7v2.envelope import Envelope
from pipeline.adapters.hl7v2.groups import PatientGroup
from pipeline.adapters.hl7v2.message import Segment
from pipeline.adapters.hl7v2.person import Person, choose_id, location, patient_class, read_person
from pipeline.adapters.hl7v2.refusal import missing_field, missing_segment
from pipeline.ports import Identity
from schemas.events import AdtEvent
from schemas.identifiers import patient_key

ENCOUNTERS = frozenset(f"A0{number}" for number in range(1, 9))
CANCELLATIONS = frozenset(("A11", "A12", "A13"))
MERGES = frozenset(("A18", "A34", "A39", "A40", "A47"))
"""Those that end a patient id. A35, A41 and A44 move accounts, A45 and A49 visits: the patient ids live on."""
UNMERGES = frozenset(("A37",))
USED = ENCOUNTERS | CANCELLATIONS | MERGES | UNMERGES


@dataclass(frozen=True, slots=True)
class Joining:
    """A merge or unmerge of two ids."""

    retired: str
    survivor: Person
    retired_identity: Identity


def encounter_event(group: PatientGroup, person: Person, trigger: str, evn: Segment | None, envelope: Envelope) -> AdtEvent:
    """The time is EVN-6 (occurred), the movement's own in PV1, EVN-2 (recorded), or the message's."""
    pv1 = group.pv1
    own = {"A01": 44, "A04": 44, "A11": 44, "A03": 45, "A13": 45}.get(trigger)
    texts = [evn.text(6) if evn else "", pv1.text(own) if pv1 and own else "", evn.text(2) if evn else ""]
    occurred = envelope.first_time(*texts) or envelope.sent
    return AdtEvent(
        event_id=envelope.origin.event_id("adt"),
        patient=person.key,
        source=envelope.origin.source,
        recorded_at=envelope.received,
        trigger=trigger,
        occurred=occurred,
        kind="cancel" if trigger in CANCELLATIONS else "encounter",
        patient_class=patient_class(pv1),
        location=location(pv1),
        discharged=trigger == "A03",
        arrived=envelope.first_time(pv1.text(44)) if pv1 else None,
        demographics=person.demographics(occurred.utc),
    )


def joinings(groups: list[PatientGroup], trigger: str, envelope: Envelope) -> Iterator[Joining]:
    """PID survives, MRG is retired; of the two PIDs of A37 the second had been joined to the first. Raises Refused without MRG."""
    if trigger in UNMERGES and not any(group.merges for group in groups):
        if len(groups) < 2:
            raise missing_segment("PID")
        survivor, other = (read_person(_pid(group), envelope) for group in groups[:2])
        yield Joining(other.key, survivor, other.identity)
        return
    if not any(group.merges for group in groups):
        raise missing_segment("MRG")
    for group in groups:
        survivor = read_person(_pid(group), envelope)
        for mrg in group.merges:
            yield _retired(mrg, survivor, envelope)


def joining_events(joining: Joining, kind: Literal["merge", "unmerge"], trigger: str, number: int, envelope: Envelope) -> list[AdtEvent]:
    """One under each key, so that the workers of both patients learn of it."""
    name = kind if number == 0 else f"{kind}|{number}"
    return [
        AdtEvent(
            event_id=envelope.origin.event_id(f"{name}|{key}"),
            patient=key,
            source=envelope.origin.source,
            recorded_at=envelope.received,
            trigger=trigger,
            occurred=envelope.sent,
            kind=kind,
            demographics=joining.survivor.demographics(envelope.sent.utc),
            retired=joining.retired,
            survivor=joining.survivor.key,
        )
        for key in (joining.retired, joining.survivor.key)
    ]


def _pid(group: PatientGroup) -> Segment:
    if group.pid is None:
        raise missing_segment("PID")
    return group.pid


def _retired(mrg: Segment, survivor: Person, envelope: Envelope) -> Joining:
    """MRG-1, or MRG-4 of the oldest versions; an id without authority is of the survivor's."""
    candidates = mrg.repetitions(1) or mrg.repetitions(4)
    chosen = choose_id(candidates, envelope.site.authority, survivor.id.authority)
    if chosen is None:
        raise missing_field(mrg.location(1))
    key = patient_key(envelope.site.key, chosen.authority, chosen.identifier)
    name = mrg.value(7)
    shown = "^".join(name.text(part) for part in (1, 2, 3)).rstrip("^") or None
    return Joining(key, survivor, Identity(key, chosen.identifier, chosen.authority, name=shown))
