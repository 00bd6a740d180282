"""Results: laboratory, vital signs and radiology reports."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.adapters.hl7v2.reader import Ignored
from schemas.codes import LOINC, Coding
from schemas.events import Observation, ObservationEvent, ReportEvent
from schemas.identifiers import accession_key
from schemas.topics import LABS, REPORTS, VITALS
from tests.unit.hl7.messages import KEY, PID, arrival, message, only, read

OBR = "OBR|1|PL1|FI1|24323-8^Chemistry^LN|||20261124080000+0100|||||||||||||||20261124093000+0100||CH|F"


def observed(obx: str, obr: str = OBR) -> Observation:
    ((_, event),) = arrival(message("ORU^R01", PID, obr, obx)).events
    assert isinstance(event, ObservationEvent)
    (found,) = event.observations
    return found


def test_a_laboratory_value() -> None:
    """Code, value, unit, flag, times."""
    found = observed("OBX|1|NM|2823-3^Potassium^LN||6.8|mmol/L|3.5-5.1|HH|||F|||20261124080500+0100")
    assert (found.loinc, found.value, found.unit, found.flag, found.status) == ("2823-3", 6.8, "mmol/L", "HH", "final")
    assert found.effective.utc == datetime(2026, 11, 24, 7, 5, tzinfo=UTC)
    assert found.issued is not None and found.issued.utc == datetime(2026, 11, 24, 8, 30, tzinfo=UTC)


def test_a_local_code_and_unit_are_mapped_and_kept() -> None:
    """Creatinine in µmol/l by its German name."""
    found = observed("OBX|1|NM|KREA^Kreatinin^99LAB||177|µmol/l|||||F")
    assert (found.loinc, found.unit, found.unit_text, found.value_text) == ("2160-0", "mg/dL", "µmol/l", "177")
    assert found.value is not None and abs(found.value - 2.0) < 0.01
    assert found.local == Coding("KREA", None, "Kreatinin")


def test_loinc_may_be_the_alternate_code() -> None:
    """OBX-3.4 to 3.6."""
    assert observed("OBX|1|NM|NA^Natrium^L^2951-2^Sodium^LN||140|mmol/L|||||F").loinc == "2951-2"


@pytest.mark.parametrize(
    ("obx", "value", "comparator", "text"),
    [
        ("OBX|1|NM|6598-7^TnT^LN||<0.01|ng/mL|||||F", 0.01, "<", "<0.01"),
        ("OBX|1|SN|6598-7^TnT^LN||<^0.01|ng/mL|||||F", 0.01, "<", "< 0.01"),
        ("OBX|1|SN|2823-3^K^LN||^4.1|mmol/L|||||F", 4.1, None, "4.1"),
        ("OBX|1|SN|2823-3^K^LN||^4^-^5|mmol/L|||||F", None, None, "4 - 5"),
        ("OBX|1|ST|2823-3^K^LN||4.1|mmol/L|||||F", 4.1, None, "4.1"),
        ("OBX|1|ST|2823-3^K^LN||haemolysed|mmol/L|||||F", None, None, "haemolysed"),
        ("OBX|1|NM|8867-4^HR^LN||60~120|/min|||||F", None, None, "60 ~ 120"),
        ("OBX|1||2823-3^K^LN||4.1|mmol/L|||||F", 4.1, None, "4.1"),
        ("OBX|1|NM|2823-3^K^LN|||mmol/L|||||F", None, None, None),
    ],
)
def test_kinds_of_values(obx: str, value: float | None, comparator: str | None, text: str | None) -> None:
    """NM, SN and ST; what is no single number stays text."""
    found = observed(obx)
    assert (found.value, found.comparator, found.value_text) == (value, comparator, text)


@pytest.mark.parametrize(
    ("obx", "loinc", "value"),
    [
        ("OBX|1|CWE|67775-7^ACVPU^LN||V^Voice^L||||||F", "67775-7", 2.0),
        ("OBX|1|CE|67775-7^ACVPU^LN||LA6560-2^Confused^LN||||||F", "67775-7", 1.0),
        ("OBX|1|ST|AVPU^AVPU^L||Alert||||||F", "67775-7", 0.0),
        ("OBX|1|NM|GCS^Glasgow Coma Scale^L||13||||||F", "9269-2", 13.0),
    ],
)
def test_coded_scales_become_numbers_among_the_vitals(obx: str, loinc: str, value: float) -> None:
    """ACVPU and GCS as text, code or number."""
    event = only(message("ORU^R01", PID, OBR, obx), VITALS)
    assert isinstance(event, ObservationEvent)
    assert (event.observations[0].loinc, event.observations[0].value) == (loinc, value)


def test_a_value_without_its_unit_is_kept_but_not_believed() -> None:
    """Glucose 5.5 in no unit: text kept, no value, counted."""
    raw = message("ORU^R01", PID, OBR, "OBX|1|NM|2345-7^Glucose^LN||5.5||||||F")
    assert arrival(raw).unmapped == {"unit-missing": 1}
    found = observed("OBX|1|NM|2345-7^Glucose^LN||5.5||||||F")
    assert (found.value, found.unit, found.value_text) == (None, None, "5.5")


def test_what_the_catalogue_does_not_know_goes_to_labs_as_it_came() -> None:
    """Its own LOINC code, value and text, and the flag, which may be critical."""
    found = observed("OBX|1|NM|4544-9^Something^LN||12|mg/dL^^UCUM||AA~H|||F")
    assert (found.loinc, found.local, found.value, found.unit, found.flag) == (
        "4544-9",
        Coding("4544-9", LOINC, "Something"),
        12.0,
        "mg/dL",
        "AA",
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("F", "final"),
        ("P", "preliminary"),
        ("R", "preliminary"),
        ("C", "corrected"),
        ("D", "deleted"),
        ("W", "deleted"),
        ("X", "deleted"),
        ("U", "final"),
    ],
)
def test_obx_11_is_the_status(status: str, expected: str) -> None:
    """C corrects; D, W and X retract: then there is no value, and none is checked."""
    found = observed(f"OBX|1|NM|2823-3^K^LN||4.1|mmol/L|||||{status}")
    assert found.status == expected and (found.value is None) == (expected == "deleted")


@pytest.mark.parametrize("status", ["I", "N", "O"])
def test_pending_results_are_none(status: str) -> None:
    """Specimen in the laboratory, not asked, order detail."""
    understood = read(message("ORU^R01", PID, OBR, f"OBX|1|NM|2823-3^K^LN|||mmol/L|||||{status}"))
    assert isinstance(understood, Ignored) and understood.reason == "no-result"


def test_a_correction_has_the_key_of_what_it_corrects() -> None:
    """Order, code, sub-id and specimen time; another specimen is another observation."""
    first = observed("OBX|1|NM|2823-3^K^LN||6.8|mmol/L|||||F")
    corrected = observed("OBX|1|NM|2823-3^K^LN||4.8|mmol/L|||||C")
    retracted = observed("OBX|1|NM|2823-3^K^LN|||mmol/L|||||W")
    later = observed("OBX|1|NM|2823-3^K^LN||6.8|mmol/L|||||F", OBR.replace("20261124080000", "20261124100000"))
    assert first.key == corrected.key == retracted.key != later.key
    assert first.key != observed("OBX|1|NM|2951-2^Na^LN||140|mmol/L|||||F").key


def test_labs_and_vitals_of_one_message_go_their_ways() -> None:
    """By the catalogue's kind; an unknown code follows its panel."""
    raw = message(
        "ORU^R01",
        PID,
        OBR,
        "OBX|1|NM|2823-3^K^LN||4.1|mmol/L|||||F",
        "OBX|2|NM|8867-4^HR^LN||80|/min|||||F",
        "OBR|2|||VS^Vital signs^L|||20261124080000",
        "OBX|1|NM|X1^Something new^L||1||||||F",
    )
    events = arrival(raw).events
    assert [(topic.name, len(event.observations)) for topic, event in events if isinstance(event, ObservationEvent)] == [
        ("labs", 1),
        ("vitals", 2),
    ]
    assert len({event.event_id for _, event in events}) == 2


def test_several_patients_in_one_message() -> None:
    """ORU^R01 may repeat PID: each result is its own patient's."""
    raw = message("ORU^R01", PID, OBR, "OBX|1|NM|2823-3^K^LN||4.1|mmol/L|||||F", "PID|2||P2", OBR, "OBX|1|NM|2823-3^K^LN||5.1|mmol/L|||||F")
    found = arrival(raw)
    assert len({event.patient for _, event in found.events}) == 2 == len({event.event_id for _, event in found.events})
    assert len(found.identities) == 2


def radiology(
    status: str = "F", more: str = "", section: str = "RAD", obx: str = "TX|18748-4^Report^LN||No bleed in Frau Müller||||||F"
) -> ReportEvent:
    obr = f"OBR|1|PL1|FI1|CTHEAD^CT head^L|||20261124080000|||||||||||ACC1||||20261124093000||{section}|{status}"
    event = only(message("ORU^R01", PID, obr, f"OBX|1|{obx}", *([more] if more else [])), REPORTS)
    assert isinstance(event, ReportEvent)
    return event


@pytest.mark.parametrize(
    ("code", "status"), [("P", "preliminary"), ("R", "preliminary"), ("F", "final"), ("C", "corrected"), ("X", "cancelled")]
)
def test_a_radiology_report(code: str, status: str) -> None:
    """OBR-24 says imaging, OBR-25 how final; the text is scrubbed; OBR-18 leads to the study."""
    found = radiology(code)
    assert (found.status, found.accession, found.text) == (status, accession_key(KEY, "ACC1"), "No bleed in Frau [removed]")


def test_a_text_under_an_accession_number_is_a_report() -> None:
    """Even without OBR-24; the study's UID and coded findings are taken along."""
    found = radiology(section="", more="OBX|2|ST|113014^DICOM Study^DCM||1.2.3.4||||||O")
    assert found.study_uid == "1.2.3.4"
    coded = radiology(more="OBX|2|CWE|X^Impression^L||RID4700^intracranial hemorrhage^RadLex||||||F")
    assert coded.impression == [Coding("RID4700", None, "intracranial hemorrhage")]


def test_an_addendum_is_one() -> None:
    """IHE marks it by the suffix ADT of OBX-3."""
    assert radiology(obx="TX|18748-4&ADT^Report^LN||also a rib fracture||||||F").status == "addendum"


def test_status_from_the_lines_where_obr_25_is_empty() -> None:
    """The least finished line decides."""
    assert radiology("", obx="TX|A^Report^L||text||||||P").status == "preliminary"


def test_a_laboratory_comment_is_no_report() -> None:
    """Text results of the laboratory stay observations."""
    event = only(message("ORU^R01", PID, OBR, "OBX|1|TX|600-7^Culture^LN||no growth||||||F"), LABS)
    assert isinstance(event, ObservationEvent)


def test_a_value_that_looks_like_the_patients_number_is_still_a_value() -> None:
    """PID-3 is 140, and so is the sodium; in words it is taken out."""
    raw = message("ORU^R01", "PID|1||140", OBR, "OBX|1|NM|2951-2^Na^LN||140|mmol/L|||||F", "OBX|2|ST|X^Note^L||patient 140||||||F")
    event = only(raw, LABS)
    assert isinstance(event, ObservationEvent)
    assert [found.value_text for found in event.observations] == ["140", "patient [removed]"]


def test_sentences_in_place_of_codes_are_scrubbed() -> None:
    """A coded impression with the patient's name."""
    found = radiology(more="OBX|2|CWE|X^Impression^L||Bleed in Frau Müller||||||F")
    assert found.impression == [Coding("Bleed in Frau [removed]")]
