"""FHIR R4B resources become events, and what cannot be read says why."""

from __future__ import annotations

import contextlib
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.fhir.message import VALUES_MAX, Entry, Source, read
from pipeline.errors import Refused
from pipeline.services.intake import Arrival
from schemas.codec import encode
from schemas.codes import LOINC, Coding
from schemas.events import AdtEvent, Appointment, ImagingEvent, Observation, ObservationEvent, OrderEvent, ReportEvent
from schemas.identifiers import UNMATCHED, accession_key, order_key, patient_key

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SOURCE = Source("ehr", b"k" * 32, "HOSP", ZoneInfo("Europe/Berlin"), {"urn:oid:1.2.3": "HOSP"})
MRN = {"type": {"coding": [{"code": "MR"}]}, "system": "urn:oid:1.2.3", "value": "4711"}
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [MRN],
    "name": [{"family": "Doe", "given": ["Jane"]}],
    "birthDate": "1950-01-01",
    "gender": "female",
}
KEY = patient_key(b"k" * 32, "HOSP", "4711")


OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]},
    "subject": {"reference": "Patient/p1"},
    "valueQuantity": {"value": 6.8, "code": "mmol/L"},
}
ORDER = {
    "resourceType": "ServiceRequest",
    "id": "s1",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/p1"},
    "category": [{"coding": [{"code": "RAD"}]}],
}
NUMBERED = {**ORDER, "identifier": [{"type": {"coding": [{"code": "PLAC"}]}, "value": "PL-1"}]}
STUDY = {
    "resourceType": "ImagingStudy",
    "id": "i1",
    "status": "registered",
    "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
    "subject": {"reference": "Patient/p1"},
    "basedOn": [{"reference": "ServiceRequest/s1"}],
}
REPORT = {
    "resourceType": "DiagnosticReport",
    "status": "final",
    "code": {"coding": [{"code": "18748-4"}]},
    "subject": {"reference": "Patient/p1"},
    "imagingStudy": [{"reference": "ImagingStudy/i1"}],
    "basedOn": [{"reference": "https://ehr/fhir/ServiceRequest/s1"}],
}


def understood(text: bytes) -> tuple[Arrival, list[Entry]]:
    """By one source, received at noon."""
    return read(text, SOURCE, NOW)


def body(*resources: dict[str, Any], kind: str = "batch") -> bytes:
    """One resource, or a Bundle of several."""
    if len(resources) == 1:
        return json.dumps(resources[0]).encode()
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": [{"resource": each} for each in resources]}).encode()


def events(*resources: dict[str, Any]) -> list[Any]:
    """The events of a bundle."""
    return [event for _, event in understood(body(*resources))[0].events]


def observed(**said: Any) -> Observation:
    """The one value of an Observation that says so."""
    (event,) = events({**OBSERVATION, **said})
    (found,) = event.observations
    assert isinstance(found, Observation)
    return found


def test_a_patient_in_the_bundle_gives_the_key_of_its_record_number() -> None:
    """A reference inside the bundle leads to the same pseudonym that HL7 and DICOM make of the record number."""
    order = {
        "resourceType": "ServiceRequest",
        "id": "s",
        "status": "active",
        "intent": "order",
        "priority": "stat",
        "subject": {"reference": "Patient/p1"},
        "category": [{"coding": [{"code": "363679005"}]}],
        "reasonCode": [{"text": "Jane Doe fell"}],
        "identifier": [{"type": {"coding": [{"code": "ACSN"}]}, "value": "A1"}],
    }
    found = [event for event in events(PATIENT, order) if isinstance(event, OrderEvent)]

    assert [(e.patient, e.priority, e.control, e.demographics.sex) for e in found] == [(KEY, "stat", "new", "F")]
    assert "Doe" not in (found[0].indication or "")
    assert found[0].accession == found[0].order


def test_an_unknown_reference_is_held_until_its_patient_comes() -> None:
    """A patient known by reference alone gets a stand-in, linked so that the Patient resource claims it later."""
    first, _ = understood(body(OBSERVATION))
    later, _ = understood(body(PATIENT))

    assert first.events[0][1].patient.startswith(UNMATCHED)
    assert set(first.links) <= set(later.links)


def test_blood_pressure_components_are_observations_of_their_own() -> None:
    """Panel values keep their LOINC codes and units, and go to vitals."""
    panel = {
        "resourceType": "Observation",
        "id": "bp",
        "status": "amended",
        "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-11-24T10:00:00+01:00",
        "component": [
            {"code": {"coding": [{"system": "http://loinc.org", "code": code}]}, "valueQuantity": {"value": value, "code": "mm[Hg]"}}
            for code, value in (("8480-6", 90), ("8462-4", 50))
        ],
    }
    arrival, _ = understood(body(panel))
    topic, event = arrival.events[0]

    assert isinstance(event, ObservationEvent)
    assert ("vitals", [90.0, 50.0], {"corrected"}) == (
        topic.name,
        [o.value for o in event.observations],
        {o.status for o in event.observations},
    )
    assert datetime(2026, 11, 24, 9, tzinfo=UTC) == event.observations[0].effective.utc


def test_observations_without_an_id_are_different_ones() -> None:
    """A potassium must not pass for a correction of another message's heart rate; with an id it is one of itself."""
    potassium, other = (
        observed(),
        observed(code={"coding": [{"system": LOINC, "code": "8867-4"}]}, valueQuantity={"value": 80, "code": "/min"}),
    )
    sent, corrected = observed(id="o1"), observed(id="o1", status="corrected", valueQuantity={"value": 4.8, "code": "mmol/L"})

    assert potassium.key != other.key
    assert sent.key == corrected.key


@pytest.mark.parametrize(
    ("quantity", "expected", "counted"),
    [
        ({"value": 5.5, "code": "mmol/L"}, (99.0858, "mg/dL"), {}),
        ({"value": 5.5, "unit": "mmol/L", "code": "millimoles"}, (99.0858, "mg/dL"), {}),
        ({"value": 5.5}, (None, None), {"unit-missing": 1}),
        ({"value": 5.5, "unit": "furlongs"}, (None, None), {"unit-mismatch": 1}),
    ],
)
def test_a_value_whose_unit_does_not_fit_is_kept_counted_and_not_believed(
    quantity: dict[str, Any], expected: tuple[float | None, str | None], counted: dict[str, int]
) -> None:
    """As of an HL7 message with the same glucose: its text stays."""
    glucose = {"coding": [{"system": LOINC, "code": "2345-7"}]}
    arrival, _ = understood(body({**OBSERVATION, "code": glucose, "valueQuantity": quantity}))
    ((_, event),) = arrival.events
    assert isinstance(event, ObservationEvent)
    (found,) = event.observations

    assert (found.value, found.unit) == expected
    assert (found.loinc, found.value_text, arrival.unmapped) == ("2345-7", "5.5", counted)


def test_what_the_catalogue_does_not_know_keeps_code_unit_name_and_its_most_severe_flag() -> None:
    """LOINC and UCUM as the source has them; the laboratory's own mark may be critical."""
    found = observed(
        code={"coding": [{"system": LOINC, "code": "4544-9", "display": "Something"}]},
        valueQuantity={"value": 12, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
        interpretation=[{"coding": [{"code": "H"}, {"code": "AA"}, {"code": "N"}]}],
        issued="2026-11-24T11:00:00Z",
    )

    assert (found.loinc, found.value, found.unit, found.local) == ("4544-9", 12.0, "mg/dL", Coding("4544-9", LOINC, "Something"))
    assert found.flag == "AA"
    assert found.issued is not None and found.issued.utc == found.effective.utc == datetime(2026, 11, 24, 11, tzinfo=UTC)


def test_no_identifier_hides_in_text() -> None:
    """Wherever somebody may type: values, names of codes, procedures, places, impressions; the name may stand in the reference alone."""
    subject = {"identifier": {"system": "urn:oid:1.2.3", "value": "4711"}, "display": "Jane Doe"}
    typed = "haemolysed, Jane Doe 4711"
    coded = {"coding": [{"code": typed, "display": typed}], "text": typed}
    study = {"system": "urn:dicom:uid", "value": "urn:oid:1.2.Doe"}
    resources = [
        {**OBSERVATION, "subject": subject, "valueQuantity": None, "valueString": typed, "code": {"text": typed}},
        {**OBSERVATION, "subject": subject, "code": coded},
        {
            "resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": subject,
            "category": [{"coding": [{"code": "RAD"}]}], "code": {"text": typed},
        },
        {
            "resourceType": "DiagnosticReport", "status": "final", "subject": subject, "code": {"coding": [{"code": "18748-4"}]},
            "conclusionCode": [coded], "imagingStudy": [{"identifier": study}],
        },
        {
            "resourceType": "ImagingStudy", "status": "available", "subject": subject, "identifier": [study], "description": typed,
            "series": [{"uid": "1.2", "modality": {"code": "CT"}, "bodySite": {"display": typed}}],
        },
    ]  # fmt: skip
    arrival, entries = understood(body(*resources))
    sent = b"".join(encode(event) for _, event in arrival.events).decode()

    assert [entry.outcome for entry in entries] == ["accepted"] * 5
    assert "haemolysed" in sent
    assert [secret for secret in ("Jane", "Doe", "4711") if secret in sent] == []


def visit(**fields: Any) -> dict[str, Any]:
    said = {
        "resourceType": "Appointment",
        "id": "v",
        "status": "booked",
        "start": "2026-11-25T09:30:00+01:00",
        "participant": [
            {"actor": {"reference": "Practitioner/7"}, "status": "accepted"},
            {"actor": {"reference": "Patient/p1"}, "status": "accepted"},
        ],
    }
    return {**said, **fields}


def booked(**fields: Any) -> Appointment:
    [event] = [event for event in events(PATIENT, visit(**fields)) if isinstance(event, AdtEvent) and event.appointment]
    assert event.patient == KEY and event.appointment is not None
    return event.appointment


def test_an_appointment_is_of_its_patient_and_stands_while_it_is_booked() -> None:
    """Moved, it is the same one at another time; cancelled, or without a fixed time, it has none."""
    first, moved = booked(), booked(start="2026-11-26T09:30:00+01:00", status="fulfilled")

    assert (first.at, moved.key) == (datetime(2026, 11, 25, 8, 30, tzinfo=UTC), first.key)
    assert moved.at == datetime(2026, 11, 26, 8, 30, tzinfo=UTC)
    for status in ("cancelled", "noshow", "entered-in-error", "waitlist"):
        assert booked(status=status).at is None


def test_an_appointment_names_the_order_that_it_is_about() -> None:
    """By the request's number, or as the request itself is known that has none."""
    request = {
        "resourceType": "ServiceRequest",
        "id": "s",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
        "category": [{"coding": [{"code": "363679005"}]}],
    }
    [order] = [event for event in events(PATIENT, request) if isinstance(event, OrderEvent)]
    number = {"type": {"coding": [{"code": "ACSN"}]}, "value": "A1"}

    assert booked(basedOn=[{"reference": "ServiceRequest/s"}]).order == order.order
    assert booked(basedOn=[{"identifier": number}]).accession == accession_key(b"k" * 32, "A1")


@pytest.mark.parametrize(
    "fields",
    [
        {"serviceType": [{"coding": [{"code": "363679005"}]}]},
        {"specialty": [{"coding": [{"code": "394914008"}]}]},
        {"start": None},
        {"participant": [{"actor": {"reference": "Location/1"}, "status": "accepted"}]},
    ],
)
def test_what_is_no_visit_of_a_patient_is_ignored(fields: dict[str, Any]) -> None:
    """Bookings of the imaging itself, of no time, of no patient."""
    said = {name: value for name, value in visit(**fields).items() if value is not None}
    _, [entry] = understood(body(said))

    assert entry.outcome == "ignored"


def test_an_encounter_says_when_the_visit_began() -> None:
    """Also when it is over; not where it never was."""
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "EMER"},
        "subject": {"reference": "Patient/p1"},
        "period": {"start": "2026-11-24T08:15:00Z", "end": "2026-11-24T11:00:00Z"},
    }

    def arrived(**fields: Any) -> Any:
        [event] = [event for event in events(PATIENT, {**encounter, **fields}) if isinstance(event, AdtEvent) and event.trigger != "A31"]
        return event.arrived and event.arrived.utc

    assert arrived() == arrived(status="in-progress") == datetime(2026, 11, 24, 8, 15, tzinfo=UTC)
    assert arrived(status="entered-in-error") is None


def test_replaced_by_is_a_merge_under_both_keys() -> None:
    """Patient.link moves the retired record's story to the survivor."""
    old = {**PATIENT, "link": [{"type": "replaced-by", "other": {"identifier": {"system": "urn:oid:1.2.3", "value": "4712"}}}]}
    merges = [event for event in events(old) if isinstance(event, AdtEvent) and event.kind == "merge"]
    survivor = patient_key(b"k" * 32, "HOSP", "4712")

    assert {KEY, survivor} == {event.patient for event in merges}
    assert {(KEY, survivor)} == {(event.retired, event.survivor) for event in merges}


def test_study_and_report_of_it_name_the_same_study() -> None:
    """urn:oid identifiers become plain DICOM UIDs."""
    uid = [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.1"}]
    study = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "identifier": uid,
        "subject": {"reference": "Patient/p1"},
        "numberOfInstances": 3,
    }
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "code": {"coding": [{"code": "18748-4"}]},
        "subject": {"reference": "Patient/p1"},
        "imagingStudy": [{"identifier": uid[0]}],
        "conclusion": "Nothing acute in Doe.",
    }
    found = events(PATIENT, study, report)

    assert [event.kind for event in found if isinstance(event, ImagingEvent)] == ["instance", "complete"]
    assert {"1.2.840.1"} == {event.study_uid for event in found if isinstance(event, ImagingEvent | ReportEvent)}
    assert len({event.event_id for event in found}) == len(found)


def test_references_within_a_message_are_followed() -> None:
    """As servers write them: a report that only refers to study and order closes that study, and the study finds its order."""
    ordered, arrived, reported = events(ORDER, STUDY, REPORT)
    (alone,) = events({key: value for key, value in REPORT.items() if key != "imagingStudy"})
    with_number, its_study = events(NUMBERED, STUDY)

    assert reported.study_uid == arrived.study_uid == "1.2.3"
    assert ordered.order == arrived.order == reported.order == alone.order
    assert with_number.order == its_study.order == order_key(b"k" * 32, "PL-1")


def test_what_earlier_messages_brought_is_found_by_reference_alone() -> None:
    """Patient, order, study and visit came before, each in a message of its own: what refers to them by id reaches the same ones."""
    links: dict[str, str] = {}

    def told(resource: dict[str, Any]) -> Any:
        arrival, _ = read(body(resource), SOURCE, NOW, lambda numbers: {number: links[number] for number in numbers if number in links})
        links.update(arrival.links)
        return arrival.events[-1][1]

    told(PATIENT)
    visit = {"resourceType": "Encounter", "id": "e1", "status": "in-progress", "class": {"code": "EMER"}}
    assert told({**visit, "subject": {"reference": "https://ehr/fhir/Patient/p1/_history/3"}}).patient == KEY
    report = {**{name: said for name, said in REPORT.items() if name != "subject"}, "encounter": {"reference": "Encounter/e1"}}
    ordered, arrived, reported = told(NUMBERED), told(STUDY), told(report)
    measured = told({**{name: said for name, said in OBSERVATION.items() if name != "subject"}, "encounter": {"reference": "Encounter/e1"}})

    assert ordered.patient == arrived.patient == reported.patient == measured.patient == KEY
    assert ordered.order == arrived.order == reported.order == order_key(b"k" * 32, "PL-1")
    assert reported.study_uid == "1.2.3"
    assert not any(plain in number + meaning for number, meaning in links.items() for plain in ("4711", "PL-1", "p1"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff\xfe{", "undecodable-text"),
        (b"<Patient/>", "malformed"),
        (b"[]", "malformed"),
        (b'{"resourceType":"Patient","a":' + b"[" * 80 + b"]" * 80 + b"}", "invalid"),
        (b'{"resourceType":"Bundle","entry":[' + b"{}," * (VALUES_MAX // 2) + b"{}]}", "too-large"),
        (gzip.compress(b'{"resourceType":"Bundle"}' + b" " * (64 << 20), mtime=0), "too-large"),
        (gzip.compress(b'{"resourceType":"Bundle"}', mtime=0)[:-9], "malformed"),
        (b"\x1f\x8bnot gzip at all", "malformed"),
    ],
)
def test_what_is_not_fhir_json_is_refused(text: bytes, reason: str) -> None:
    """Each refusal has its own reason."""
    with pytest.raises(Refused) as caught:
        understood(text)

    assert reason == caught.value.reason


def test_an_invalid_entry_refuses_a_transaction_and_only_itself_in_a_batch() -> None:
    """Transactions are all or nothing."""
    bad = {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/p1"}}
    arrival, entries = understood(body(PATIENT, bad))

    assert [entry.outcome for entry in entries] == ["accepted", "refused"]
    assert len(arrival.events) == 1
    with pytest.raises(Refused):
        understood(body(PATIENT, bad, kind="transaction"))


def test_a_nul_is_refused() -> None:
    """FHIR forbids it in strings, and one in an order's text would stop what Postgres reads of all orders."""
    _, entries = understood(body({**PATIENT, "name": [{"text": "Doe\0"}]}, PATIENT))

    assert [(entry.outcome, entry.reason) for entry in entries] == [("refused", "a NUL in a text, which FHIR forbids"), ("accepted", None)]


def test_each_entry_has_an_outcome() -> None:
    """Also those without a resource, and those whose type is no word."""
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [
            {"request": {"method": "DELETE", "url": "Observation/1"}},
            {"fullUrl": {"a": 1}, "resource": PATIENT},
            {"resource": {"resourceType": []}},
            7,
        ],
    }
    _, entries = understood(json.dumps(bundle).encode())

    assert [entry.outcome for entry in entries] == ["ignored", "accepted", "ignored", "ignored"]


def test_a_packed_body_is_read() -> None:
    """As some clients send it."""
    assert understood(gzip.compress(body(PATIENT)))[1] == [Entry("Patient", "accepted")]


NAMES = st.sampled_from(["resourceType", "entry", "resource", "subject", "identifier", "code"])
TREES = st.recursive(
    st.none() | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
)


@given(st.binary(max_size=200) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_nothing_but_refused_ever_leaves_the_reader(text: bytes) -> None:
    """Whatever comes, the reader answers or refuses."""
    with contextlib.suppress(Refused):
        understood(text)


def test_every_sample_file_ends_in_one_of_three_ways(shared_data: Path) -> None:
    """The collected FHIR files are accepted, ignored or refused with a reason."""
    outcomes = set()
    for path in sorted((shared_data / "fhir-dev").glob("*/*")):
        for text in path.read_bytes().splitlines() if path.suffix == ".ndjson" else [path.read_bytes()]:
            try:
                outcomes |= {(entry.outcome, entry.reason is None) for entry in understood(text)[1]}
            except Refused as refusal:
                outcomes.add(("refused", not refusal.explanation))

    assert {("accepted", True), ("ignored", False), ("refused", False)} == outcomes
