"""SIU: appointments in a clinic, booked, moved and taken back; those of the imaging department itself are not a clinic's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pipeline.adapters.hl7v2.envelope import Envelope
from pipeline.adapters.hl7v2.message import Message, Segment
from pipeline.adapters.hl7v2.person import Person
from pipeline.adapters.hl7v2.procedures import names_imaging
from pipeline.adapters.hl7v2.refusal import missing_field, missing_segment
from schemas.events import AdtEvent, Appointment
from schemas.identifiers import accession_key, order_key

BOOKED = frozenset(("S12", "S13", "S14"))
TAKEN_BACK = frozenset(("S15", "S16", "S17", "S26"))
"""Cancelled, discontinued, deleted; the patient did not come."""
USED = BOOKED | TAKEN_BACK

_NOT_STANDING = frozenset(("CANCELLED", "DC", "DELETED", "BLOCKED", "NOSHOW", "PENDING", "WAITLIST"))
"""SCH-25 (table 0278) of what takes no patient's time."""
_STARTS = {"AIS": 4, "AIL": 6, "AIP": 6, "AIG": 8}
_EXACT = frozenset(("microsecond", "second", "minute"))


def is_imagings_own(message: Message) -> bool:
    """Whether all that is booked (AIS-3) is imaging. The reason in words (SCH-7) may be a talk about images."""
    services = [segment.value(3).words() for segment in message.all("AIS")]
    return bool(services) and all(map(names_imaging, services))


def appointment_event(message: Message, trigger: str, person: Person, envelope: Envelope) -> tuple[AdtEvent, Mapping[str, str]] | None:
    """The event and its order numbers (SCH-26, SCH-27) for the vault; None where a booking has no time.

    An appointment's own number is the filler's (SCH-2): it stays when it is moved. Raises Refused without SCH or without the number.
    """
    sch = message.first("SCH")
    if sch is None:
        raise missing_segment("SCH")
    number = sch.text(2) or sch.text(1)
    if not number:
        raise missing_field(sch.location(2))
    standing = trigger in BOOKED and sch.text(25).upper() not in _NOT_STANDING
    at = _starts(message, sch, envelope) if standing else None
    if standing and at is None:
        return None
    key, placer, filler = envelope.site.key, sch.text(26), sch.text(27)
    order = order_key(key, placer) if placer else None
    accession = accession_key(key, filler) if filler else None
    numbers = {made: text for made, text in ((order, placer), (accession, filler)) if made is not None}
    event = AdtEvent(
        event_id=envelope.origin.event_id("appointment"),
        patient=person.key,
        source=envelope.origin.source,
        recorded_at=envelope.received,
        trigger=trigger,
        occurred=envelope.sent,
        demographics=person.demographics(envelope.sent.utc),
        appointment=Appointment(key=order_key(key, f"{envelope.origin.source}|{number}"), at=at, order=order, accession=accession),
    )
    return event, numbers


def _starts(message: Message, sch: Segment, envelope: Envelope) -> datetime | None:
    """TQ1-7, the earliest of the resources, SCH-11.4 of old; a day alone is no time to be ready by."""
    timings = [segment.text(7) for segment in message.all("TQ1")]
    resources = [segment.text(_STARTS[segment.name]) for segment in message.all(*_STARTS)]
    for texts in (timings, resources, [sch.text(11, 4)]):
        times = [envelope.time(text) for text in texts if text]
        exact = [time.utc for time in times if time.precision in _EXACT]
        if exact:
            return min(exact)
    return None
