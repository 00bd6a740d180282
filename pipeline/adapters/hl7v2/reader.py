"""From the bytes of one HL7 v2 message to what it means: an arrival, or ignored with a reason, or refused."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pipeline.adapters.hl7v2 import appointments
from pipeline.adapters.hl7v2.envelope import Envelope, Site
from pipeline.adapters.hl7v2.groups import PatientGroup, patient_groups
from pipeline.adapters.hl7v2.header import Header
from pipeline.adapters.hl7v2.message import Message, parse
from pipeline.adapters.hl7v2.movements import MERGES, UNMERGES, USED, encounter_event, joining_events, joinings
from pipeline.adapters.hl7v2.orders import is_imaging_order, order_event
from pipeline.adapters.hl7v2.person import Person, read_person
from pipeline.adapters.hl7v2.refusal import missing_field, missing_segment, unsupported
from pipeline.adapters.hl7v2.results import is_report, observation_events, report_event
from pipeline.domain.timestamps import from_hl7
from pipeline.ports import Identity
from pipeline.services.intake import Arrival, Origin
from schemas.events import AnyEvent
from schemas.topics import ADT, ORDERS, REPORTS, Topic

IgnoredReason = Literal["event-not-used", "not-an-imaging-order", "no-result", "self-merge", "imaging-appointment", "no-appointment-time"]

TRIGGERS = {"ORM": "O01", "OMI": "O23", "OMG": "O19", "OML": "O21", "ORU": "R01"}
"""Message code -> its one event; ADT and SIU have many."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """The message is well understood and changes nothing."""

    reason: IgnoredReason


@dataclass(slots=True)
class _Gathered:
    events: list[tuple[Topic, AnyEvent]] = field(default_factory=list)
    identities: dict[str, Identity] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    unmapped: Counter[str] = field(default_factory=Counter)

    def numbered(self, topic: Topic, event: AnyEvent, numbers: dict[str, str], person: Person) -> None:
        """An event with order numbers, which from now on lead to this patient."""
        self.events.append((topic, event))
        self.numbers.update(numbers)
        self.links.update(dict.fromkeys(numbers, person.key))
        self.identities[person.key] = person.identity


class Reader:
    """Holds nothing of what it reads: several threads may use it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def read(self, raw: bytes, received: datetime) -> Arrival | Ignored:
        """Raises Refused (Hl7Refused, with its code of table 0357), and nothing else."""
        message = parse(raw, self._site.charset)
        code, trigger = self._accepted(message)
        envelope = self._envelope(message, raw, received)
        groups = patient_groups(message)
        if code == "ADT":
            return self._adt(message, groups, trigger, envelope)
        if code == "SIU":
            return self._siu(message, groups, trigger, envelope)
        return self._oru(groups, envelope) if code == "ORU" else self._order(groups, code, envelope)

    def _accepted(self, message: Message) -> tuple[str, str]:
        msh = message.msh
        code, trigger = msh.text(9, 1).upper(), msh.text(9, 2).upper()
        if not msh.text(9):
            raise missing_field("MSH^1^9", "invalid")
        if not msh.text(10):
            raise missing_field("MSH^1^10", "invalid")
        if msh.text(12) and not ((2, 1) <= message.header.version < (2, 10) and msh.text(12).startswith("2.")):
            raise unsupported("203", "MSH^1^12", "only versions 2.1 to 2.9 are read")
        if code not in ("ADT", "SIU") and code not in TRIGGERS:
            raise unsupported("200", "MSH^1^9", "message types read: ADT, SIU, ORM, OMG, OML, OMI, ORU")
        if (msh.text(11) or "P").upper() not in self._site.processing_ids:
            raise unsupported("202", "MSH^1^11", "this port does not take messages with this processing id")
        return code, self._trigger(message, code, trigger)

    def _trigger(self, message: Message, code: str, trigger: str) -> str:
        """In the oldest versions MSH-9 may be the message code alone."""
        evn = message.first("EVN")
        trigger = trigger or (evn.text(1).upper() if code == "ADT" and evn else TRIGGERS.get(code, ""))
        if code in ("ADT", "SIU"):
            letter = "A" if code == "ADT" else "S"
            if not (len(trigger) == 3 and trigger[0] == letter and trigger[1:].isdigit()):
                raise unsupported("201", "MSH^1^9", f"events of {code} begin with {letter} and have two digits")
        elif trigger != TRIGGERS[code]:
            raise unsupported("201", "MSH^1^9", f"of {code} only {TRIGGERS[code]} is read")
        return trigger

    def _envelope(self, message: Message, raw: bytes, received: datetime) -> Envelope:
        msh = message.msh
        zone = self._site.zone_of(msh.text(4), msh.text(3))
        return Envelope(self._site, origin_of(message.header, raw), received, zone, from_hl7(msh.text(7), zone, received))

    def _adt(self, message: Message, groups: list[PatientGroup], trigger: str, envelope: Envelope) -> Arrival | Ignored:
        if trigger not in USED:
            return Ignored("event-not-used")
        if trigger in MERGES | UNMERGES:
            return self._joined(groups, trigger, envelope)
        person = _person(groups[0], envelope)
        event = encounter_event(groups[0], person, trigger, message.first("EVN"), envelope)
        return Arrival(envelope.origin, [(ADT, event)], [person.identity])

    def _joined(self, groups: list[PatientGroup], trigger: str, envelope: Envelope) -> Arrival | Ignored:
        gathered = _Gathered()
        kind: Literal["merge", "unmerge"] = "unmerge" if trigger in UNMERGES else "merge"
        for number, joining in enumerate(joinings(groups, trigger, envelope)):
            if joining.retired == joining.survivor.key:
                continue
            gathered.events += [(ADT, event) for event in joining_events(joining, kind, trigger, number, envelope)]
            gathered.identities[joining.survivor.key] = joining.survivor.identity
            gathered.identities.setdefault(joining.retired, joining.retired_identity)
        return _arrival(gathered, envelope, "self-merge")

    def _siu(self, message: Message, groups: list[PatientGroup], trigger: str, envelope: Envelope) -> Arrival | Ignored:
        if trigger not in appointments.USED:
            return Ignored("event-not-used")
        if appointments.is_imagings_own(message):
            return Ignored("imaging-appointment")
        gathered, person = _Gathered(), _person(groups[0], envelope)
        if found := appointments.appointment_event(message, trigger, person, envelope):
            gathered.numbered(ADT, found[0], dict(found[1]), person)
        return _arrival(gathered, envelope, "no-appointment-time")

    def _order(self, groups: list[PatientGroup], code: str, envelope: Envelope) -> Arrival | Ignored:
        gathered = _Gathered()
        for p, group in enumerate(groups):
            imaging = [order for order in group.orders if is_imaging_order(order, code)]
            if not imaging:
                continue
            person = _person(group, envelope)
            for n, order in enumerate(imaging):
                event, numbers = order_event(order, group, person, envelope, f"order|{p}|{n}")
                gathered.numbered(ORDERS, event, dict(numbers), person)
        return _arrival(gathered, envelope, "not-an-imaging-order")

    def _oru(self, groups: list[PatientGroup], envelope: Envelope) -> Arrival | Ignored:
        gathered = _Gathered()
        for p, group in enumerate(groups):
            if group.pid is None and not group.orders and len(groups) > 1:
                continue
            person = _person(group, envelope)
            reports = [order for order in group.orders if is_report(order)]
            for n, order in enumerate(reports):
                found = report_event(order, person, envelope, f"report|{p}|{n}")
                if found is not None:
                    gathered.numbered(REPORTS, found[0], dict(found[1]), person)
            read = set(reports)
            observed = observation_events(
                [order for order in group.orders if order not in read], person, envelope, f"observations|{p}", gathered.unmapped
            )
            if observed:
                gathered.events += observed
                gathered.identities[person.key] = person.identity
        return _arrival(gathered, envelope, "no-result")


def origin_of(header: Header | None, raw: bytes) -> Origin:
    """source: MSH-3 and MSH-4. identity: MSH-10 and the digest of all bytes, so that an id used twice is two messages."""
    header = header or Header()
    source = f"{header.text(3)[:60]}|{header.text(4)[:60]}"
    return Origin(source, "hl7", f"{header.control_id.decode('latin-1')[:200]}|{hashlib.sha256(raw).hexdigest()}")


def _person(group: PatientGroup, envelope: Envelope) -> Person:
    if group.pid is None:
        raise missing_segment("PID")
    return read_person(group.pid, envelope)


def _arrival(gathered: _Gathered, envelope: Envelope, otherwise: IgnoredReason) -> Arrival | Ignored:
    if not gathered.events:
        return Ignored(otherwise)
    identities = list(gathered.identities.values())
    return Arrival(envelope.origin, gathered.events, identities, gathered.numbers, gathered.links, gathered.unmapped)
