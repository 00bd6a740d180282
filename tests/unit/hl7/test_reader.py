"""Which messages are taken, and whose they are."""

from __future__ import annotations

import pytest

from pipeline.adapters.hl7v2.reader import Ignored
from pipeline.adapters.hl7v2.refusal import Hl7Refused
from schemas.events import AdtEvent
from schemas.identifiers import patient_key
from schemas.topics import ADT
from tests.unit.hl7.messages import KEY, PID, arrival, message, only, read


@pytest.mark.parametrize(
    ("raw", "code", "location", "answer"),
    [
        (message("MDM^T02", PID), "200", "MSH^1^9", "AR"),
        (message("ORU^R99", PID), "201", "MSH^1^9", "AR"),
        (message("ADT^X01", PID), "201", "MSH^1^9", "AR"),
        (message("ADT^A01", PID, version="3.0"), "203", "MSH^1^12", "AR"),
        (message("ADT^A01", PID, version="1.9"), "203", "MSH^1^12", "AR"),
        (message("ADT^A01", PID, control_id=""), "101", "MSH^1^10", "AE"),
        (message("", PID), "101", "MSH^1^9", "AE"),
        (message("ADT^A01", "PV1|1|I"), "100", "PID^1", "AE"),
        (message("ADT^A01", "PID|1||||Müller"), "101", "PID^1^3", "AE"),
        (message("ADT^A40", PID), "100", "MRG^1", "AE"),
        (message("ADT^A40", PID, "MRG|"), "101", "MRG^1^1", "AE"),
        (
            message("ORU^R01", PID, "OBR|1|||X", "OBX|1|TX|A||x||||||F", "OBX|2|TX|B||x||||||F", "OBX|3|NM|C||soft||||||F"),
            "102",
            "OBX^3^5",
            "AE",
        ),
    ],
)
def test_refusals_name_the_condition_and_the_place(raw: bytes, code: str, location: str, answer: str) -> None:
    """16, 17, 24: ERR-3 by table 0357, ERR-2 where it is."""
    with pytest.raises(Hl7Refused) as refused:
        read(raw)
    assert (refused.value.code, refused.value.location, refused.value.answer) == (code, location, answer)


def test_a_production_port_does_not_take_test_messages() -> None:
    """16: MSH-11 = T is refused with 202 where the site takes production messages only."""
    raw = message("ADT^A01", PID).replace(b"|C1|P|", b"|C1|T|")
    assert arrival(raw).events
    with pytest.raises(Hl7Refused) as refused:
        read(raw, hl7_processing_ids=["P"])
    assert (refused.value.code, refused.value.location) == ("202", "MSH^1^11")


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.2"])
def test_versions_two_one_to_two_eight_are_read(version: str) -> None:
    """The fields we read have kept their places."""
    assert arrival(message("ADT^A01", PID, version=version)).events


def test_the_oldest_form_of_patient_id_and_message_type() -> None:
    """v2.1: MSH-9 without event, PID-2 as the patient's id."""
    event = only(message("ADT", "EVN|A04|20261124", "PID|1|4711|||Doe", version="2.1"), ADT)
    assert isinstance(event, AdtEvent)
    assert (event.trigger, event.patient) == ("A04", patient_key(KEY, "HOSP", "4711"))


@pytest.mark.parametrize("trigger", ["A09", "A10", "A17", "A24", "A28", "A31", "A38", "A44", "A45", "A60"])
def test_other_adt_events_are_ignored_with_a_reason(trigger: str) -> None:
    """They are understood, and change nothing that triage knows."""
    understood = read(message(f"ADT^{trigger}", PID))
    assert isinstance(understood, Ignored) and understood.reason == "event-not-used"


@pytest.mark.parametrize(
    ("pid_3", "authority", "identifier"),
    [
        ("1^^^HOSP^MR", "HOSP", "1"),
        ("9^^^SSA^SS~1^^^KIS^MR", "KIS", "1"),
        ("9^^^A^PI~1^^^B^MR", "B", "1"),
        ("1^^^X^MR~2^^^HOSP^MR", "HOSP", "2"),
        ("1", "HOSP", "1"),
        ("1^^^&1.2.3&ISO^MR", "1.2.3", "1"),
        ("9^^^SSA^SS", "SSA", "9"),
        ("0012^^^HOSP^MR", "HOSP", "0012"),
    ],
)
def test_the_record_number_is_chosen_by_type_and_authority(pid_3: str, authority: str, identifier: str) -> None:
    """MR first, the site's authority first, social security numbers last."""
    event = only(message("ADT^A01", f"PID|1||{pid_3}||Doe"), ADT)
    assert event.patient == patient_key(KEY, authority, identifier)


def test_direct_identifiers_go_to_the_vault_only() -> None:
    """No event holds a name, a number or a birth date; the vault's share has them."""
    from schemas.codec import encode

    order = message(
        "ORM^O01",
        PID,
        "ORC|NW|PL-77^RIS|FI-88^RIS||||||20261124095500+0100",
        "OBR|1|PL-77^RIS|FI-88^RIS|CTHEAD^CT head Müller^L|||||||||Frau Mueller, geb. 02.01.1970, P1|||||ACC-99||||||CT",
    )
    found = arrival(order)
    (identity,) = found.identities
    assert (identity.patient_id, identity.name, identity.birth_date, identity.sex) == ("P1", "Müller^Änne", "19700102", "F")
    assert sorted(found.numbers.values()) == ["ACC-99", "PL-77"]
    assert set(found.links.values()) == {identity.pseudonym}
    sent = b"".join(encode(event) for _, event in found.events).decode()
    for secret in ("Müller", "Mueller", "Änne", "1970", "P1", "PL-77", "FI-88", "ACC-99"):
        assert secret not in sent


def test_age_and_sex_are_what_is_left_of_pid() -> None:
    """Whole years at the event; 90 stands for 90 and over."""
    event = only(message("ADT^A01", PID, "EVN|A01|20261124"), ADT)
    assert isinstance(event, AdtEvent)
    assert (event.demographics.age, event.demographics.sex) == (56.0, "F")
    old = only(message("ADT^A01", "PID|1||1||Doe||19300101|M"), ADT)
    assert isinstance(old, AdtEvent) and old.demographics.age == 90.0


def test_the_same_bytes_are_the_same_message() -> None:
    """Event ids depend on MSH-10 and the bytes, not on when they came."""
    raw = message("ADT^A01", PID)
    assert arrival(raw).events[0][1].event_id == arrival(raw).events[0][1].event_id
    assert arrival(raw).origin.identity != arrival(raw + b"ZZZ|1\r").origin.identity


def test_the_zone_of_the_sender() -> None:
    """A facility with a zone of its own; an offset in the message wins."""
    raw = message("ADT^A01", PID, "EVN|A01|20261124080000")
    settings = {"time_zones": {"HOSP": "America/New_York"}}
    (event,) = (event for _, event in arrival(raw, **settings).events)
    assert isinstance(event, AdtEvent) and event.occurred.utc.hour == 13 and event.occurred.zone == "source"
