"""SIU: clinic appointments."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.adapters.hl7v2.reader import Ignored
from pipeline.adapters.hl7v2.refusal import Hl7Refused
from schemas.events import AdtEvent, Appointment
from schemas.identifiers import accession_key, order_key
from schemas.topics import ADT
from tests.unit.hl7.messages import KEY, PID, arrival, message, only, read

AT = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
SCH = "SCH|P1|F1|||||CHECKUP"


def booked(trigger: str, *segments: str, sch: str = SCH) -> Appointment:
    event = only(message(f"SIU^{trigger}", sch, *segments, PID, "RGS|1"), ADT)
    assert isinstance(event, AdtEvent) and event.trigger == trigger and event.appointment is not None
    return event.appointment


@pytest.mark.parametrize(
    ("segments", "sch"),
    [
        (["TQ1|||||||20261125103000|20261125110000"], SCH + "||||^^^20200101"),
        ([], SCH + "||||^^30^20261125103000^20261125110000"),
        ([], "SCH||F1|||||||||^^30^20261125093000+0000"),
    ],
)
def test_a_visit_begins_when_the_message_says(segments: list[str], sch: str) -> None:
    """TQ1-7 before SCH-11.4, which many leave at some old date, in the sender's zone."""
    assert booked("S12", *segments, sch=sch).at == AT


@pytest.mark.parametrize(
    "resource", ["AIS|1|A|123^Visit|20261125103000", "AIL|1|A|C^Clinic|||20261125103000", "AIG|1|A|x|||||20261125103000"]
)
def test_a_visit_begins_with_its_first_resource(resource: str) -> None:
    """Where the message has no time of its own: AIS-4, AIL-6, AIG-8."""
    raw = message("SIU^S12", SCH, PID, "RGS|1", resource, "AIP|1|A|9^Doctor|||20261125120000")
    [(_, event)] = arrival(raw).events
    assert isinstance(event, AdtEvent) and event.appointment is not None and event.appointment.at == AT


def test_moved_is_the_same_appointment_and_cancelled_has_no_time() -> None:
    """By the filler's number, whatever the placer's; S15, S16, S17 and a status say that it does not stand."""
    first, moved = booked("S12", "TQ1|||||||20261125103000"), booked("S13", "TQ1|||||||20261126103000", sch="SCH||F1")
    assert first.key == moved.key and (moved.at or AT) > AT
    for gone in (booked("S15", "TQ1|||||||20261125103000"), booked("S16"), booked("S17"), booked("S26")):
        assert (gone.key, gone.at) == (first.key, None)
    status = SCH + "|" * 18 + "Noshow"
    assert booked("S14", "TQ1|||||||20261125103000", sch=status).at is None


def test_the_order_that_it_is_about() -> None:
    """SCH-26 and SCH-27 as pseudonyms; their numbers lead to the patient from now on."""
    raw = message("SIU^S12", SCH + "|" * 19 + "PL1|ACC1", "TQ1|||||||20261125103000", PID)
    found = arrival(raw)
    [(_, event)] = found.events
    assert isinstance(event, AdtEvent) and event.appointment is not None
    assert (event.appointment.order, event.appointment.accession) == (order_key(KEY, "PL1"), accession_key(KEY, "ACC1"))
    assert found.numbers == {order_key(KEY, "PL1"): "PL1", accession_key(KEY, "ACC1"): "ACC1"}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (message("SIU^S18", SCH, PID), "event-not-used"),
        (message("SIU^S12", SCH, PID), "no-appointment-time"),
        (message("SIU^S12", SCH, "TQ1|||||||20261125", PID), "no-appointment-time"),
        (
            message("SIU^S12", SCH, "TQ1|||||||20261125103000", PID, "AIS|1||42272-5^XR Chest PA^LN", "AIS|2||X^MRI brain"),
            "imaging-appointment",
        ),
    ],
)
def test_what_says_nothing_of_a_visit_is_ignored_with_its_reason(raw: bytes, reason: str) -> None:
    """A booking of the imaging itself among them; one that has other services too is a visit."""
    understood = read(raw)
    assert isinstance(understood, Ignored) and understood.reason == reason


def test_a_visit_with_imaging_among_other_services_counts() -> None:
    """A check-up with a chest film."""
    raw = message("SIU^S12", SCH, "TQ1|||||||20261125103000", PID, "AIS|1||42272-5^XR Chest PA^LN", "AIS|2||58410-2^CBC Panel-Blood^LN")
    assert len(arrival(raw).events) == 1


@pytest.mark.parametrize(
    ("raw", "code", "location"),
    [
        (message("SIU^S12", PID), "100", "SCH^1"),
        (message("SIU^S12", "SCH||", PID), "101", "SCH^1^2"),
        (message("SIU^S12", SCH, "TQ1|||||||20261125103000"), "100", "PID^1"),
        (message("SIU^X12", SCH, PID), "201", "MSH^1^9"),
    ],
)
def test_refusals(raw: bytes, code: str, location: str) -> None:
    """Each with its condition and place."""
    with pytest.raises(Hl7Refused) as refused:
        read(raw)
    assert (refused.value.code, refused.value.location) == (code, location)


def test_real_messages(shared_data: Path) -> None:
    """Samples of three senders: booked, moved and taken back; none is refused."""
    outcomes = {}
    for path in sorted((shared_data / "hl7v2-dev").rglob("*[Ss][Ii][Uu]*.hl7")):
        understood = read(path.read_bytes())
        if isinstance(understood, Ignored):
            outcomes[path.name] = understood.reason
        else:
            [(_, event)] = understood.events
            assert isinstance(event, AdtEvent) and event.appointment is not None
            outcomes[path.name] = "standing" if event.appointment.at else "taken back"
    assert len(outcomes) >= 9
    assert {said for name, said in outcomes.items() if name.startswith(("SIU-S15", "SIU-S16", "SIU-S17"))} == {"taken back"}
    assert {said for name, said in outcomes.items() if name.startswith(("SIU-S12", "SIU-S13", "SIU-S14", "siu-s12"))} == {"standing"}
