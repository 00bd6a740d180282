"""Orders: which are imaging, how urgent, under which numbers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.adapters.hl7v2.reader import Ignored
from pipeline.adapters.hl7v2.refusal import Hl7Refused
from schemas.events import OrderEvent
from schemas.identifiers import accession_key, order_key
from schemas.topics import ORDERS
from tests.unit.hl7.messages import KEY, PID, arrival, message, only, read

ORC = "ORC|NW|PL1^RIS|FI1^RIS||||||20261124095500+0100"
UID = "1.2.840.113619.2.1"


def order(*segments: str, kind: str = "ORM^O01") -> OrderEvent:
    event = only(message(kind, PID, "PV1|1|E|ED^2", *segments), ORDERS)
    assert isinstance(event, OrderEvent)
    return event


def obr(
    section: str = "CT", four: str = "CTHEAD^CT head^L", five: str = "", thirteen: str = "", eighteen: str = "", quantity: str = ""
) -> str:
    fields = {4: four, 5: five, 13: thirteen, 18: eighteen, 24: section, 27: quantity}
    return "OBR|" + "|".join(fields.get(number, "1" if number == 1 else "") for number in range(1, 45))


def test_an_imaging_order() -> None:
    """Numbers, modality, part of the body, class and place."""
    found = order(ORC, obr(eighteen="ACC1", thirteen="thunderclap headache"))
    assert (found.order, found.accession) == (order_key(KEY, "PL1"), accession_key(KEY, "ACC1"))
    assert (found.control, found.modality, found.body_part) == ("new", "CT", "HEAD")
    assert (found.indication, found.patient_class, found.location) == ("thunderclap headache", "E", "ED 2")
    assert found.requested is not None and found.requested.utc == datetime(2026, 11, 24, 8, 55, tzinfo=UTC)


@pytest.mark.parametrize(
    ("four", "section"),
    [
        ("24725-4^CT Head^LN", ""),
        ("71045^Xray exam chest 1 view^C4", ""),
        ("XY12^MRI brain without contrast^L", ""),
        ("U1^US abdomen^L", ""),
        ("CXR^^L", ""),
        ("S1^Spezialuntersuchung^L", "RAD"),
        ("S1^Spezialuntersuchung^L", "NMR"),
    ],
)
@pytest.mark.parametrize("kind", ["ORM^O01", "OML^O21", "OMG^O19"])
def test_what_is_imaging(four: str, section: str, kind: str) -> None:
    """OBR-24, CPT's radiology section, or the words; in any kind of order."""
    assert order(ORC, obr(section, four), kind=kind).control == "new"


@pytest.mark.parametrize(
    ("four", "section"),
    [
        ("80053^Comprehensive Metabolic Panel^CPT", ""),
        ("CT^Chlamydia trachomatis PCR urine^L", ""),
        ("PT^Physical Therapy Evaluation^LN", ""),
        ("CREAT^Creatinine^L", ""),
        ("58410-2^CBC panel^LN", ""),
        ("S1^Abdomen^L", "LAB"),
        ("77300^Radiation therapy dose plan^CPT", ""),
        ("MRSA^MRSA screen^L", ""),
        ("HPT^Heart rate monitoring^L", ""),
    ],
)
@pytest.mark.parametrize("kind", ["ORM^O01", "OML^O21", "OMG^O19"])
def test_what_is_not_imaging_is_ignored(four: str, section: str, kind: str) -> None:
    """Laboratory and other orders are counted, not sent on."""
    understood = read(message(kind, PID, ORC, obr(section, four)))
    assert isinstance(understood, Ignored) and understood.reason == "not-an-imaging-order"


def test_omi_and_its_imaging_segment() -> None:
    """OMI^O23: IPC has accession, study UID and modality."""
    found = order(ORC, "TQ1|1||||||20261124130000+0100||S", obr("", "X^whatever^L"), f"IPC|ACC9|RP9|{UID}|SPS9|MR", kind="OMI^O23")
    assert (found.accession, found.study_uid, found.modality, found.priority) == (accession_key(KEY, "ACC9"), UID, "MR", "stat")
    assert found.scheduled is not None and found.scheduled.utc.hour == 12


def test_zds_names_the_study() -> None:
    """IHE's Z segment of the older orders."""
    assert order(ORC, obr(""), f"ZDS|{UID}^RIS^Application^DICOM").study_uid == UID
    assert order(ORC, obr(), "ZDS|Müller^RIS").study_uid is None


@pytest.mark.parametrize(
    ("segments", "level", "code"),
    [
        ((ORC, "TQ1|1||||||||S", obr(five="R")), "stat", "S"),
        (("ORC|NW|PL1|||||^^^^^A", obr(five="R")), "asap", "A"),
        ((ORC, obr(five="R", quantity="^^^^^S")), "stat", "S"),
        ((ORC, obr(five="R")), "routine", "R"),
        ((ORC, obr()), None, None),
        ((ORC, obr(five="XYZ")), None, "XYZ"),
    ],
)
def test_priority_is_where_the_version_puts_it(segments: tuple[str, ...], level: str | None, code: str | None) -> None:
    """TQ1-9, ORC-7.6, OBR-27.6, OBR-5; unknown codes are kept, not guessed."""
    found = order(*segments)
    assert (found.priority, found.priority_code) == (level, code)


def test_the_end_that_an_order_names_is_a_deadline() -> None:
    """TQ1-8, or the fifth component of ORC-7 and OBR-27 before version 2.5; with a timed priority the sooner; of a day its end."""
    assert order(ORC, "TQ1|1||||||202611240900|202611241200+0000|R", obr()).deadline == datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert order(ORC, "TQ1|1|||||||202611241200+0000|TM30", obr()).deadline == datetime(2026, 11, 24, 9, 25, tzinfo=UTC)
    assert order(ORC, "TQ1|1|||||||20261124|R", obr()).deadline == datetime(2026, 11, 24, 23, tzinfo=UTC)
    assert order(ORC, "TQ1|1|||||||soon|R", obr()).deadline is None


def test_a_timed_priority_is_a_deadline() -> None:
    """TM30: thirty minutes from the order's time."""
    assert order(ORC, "TQ1|1||||||||TM30", obr()).deadline == datetime(2026, 11, 24, 9, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("orc", "control"),
    [
        ("ORC|NW|PL1", "new"),
        ("ORC|CA|PL1", "cancel"),
        ("ORC|DC|PL1", "cancel"),
        ("ORC|OC|PL1", "cancel"),
        ("ORC|XO|PL1", "change"),
        ("ORC|SC|PL1|||CM", "complete"),
        ("ORC|SC|PL1|||CA", "cancel"),
        ("ORC|SC|PL1|||IP", "change"),
    ],
)
def test_order_control(orc: str, control: str) -> None:
    """ORC-1, with ORC-5 for status changes."""
    assert order(orc, obr()).control == control


def test_a_change_says_only_what_it_says() -> None:
    """Without ORC-9 the time of the request stays what it was."""
    assert order("ORC|XO|PL1", obr(five="S")).requested is None


def test_several_orders_in_one_message() -> None:
    """Each imaging order is an event of its own; the laboratory's is left out."""
    found = arrival(message("ORM^O01", PID, "ORC|NW|A", obr(), "ORC|NW|B", obr("LAB", "CBC^CBC^L"), "ORC|NW|C", obr("MR")))
    assert [event.order for _, event in found.events if isinstance(event, OrderEvent)] == [order_key(KEY, "A"), order_key(KEY, "C")]
    assert len({event.event_id for _, event in found.events}) == 2


def test_the_accession_stands_in_for_a_missing_placer_number() -> None:
    """And an order without any number is refused."""
    assert order("ORC|NW", obr(eighteen="ACC1")).order == accession_key(KEY, "ACC1")
    with pytest.raises(Hl7Refused) as refused:
        read(message("ORM^O01", PID, "ORC|NW", obr()))
    assert (refused.value.code, refused.value.location) == ("101", "ORC^1^2")


def test_diagnosis_notes_and_reason_make_the_indication() -> None:
    """Each text once."""
    found = order(ORC, obr(thirteen="fall"), "NTE|1||on anticoagulants", "DG1|1||S06.9^Traumatic brain injury^I10|fall")
    assert found.indication == "fall; on anticoagulants"
