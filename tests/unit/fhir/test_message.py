"""FHIR R4B resources become events, and what cannot be read says why."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.fhir.message import Source, read
from pipeline.errors import Refused
from schemas.events import AdtEvent, ImagingEvent, ObservationEvent, OrderEvent, ReportEvent
from schemas.identifiers import UNMATCHED, patient_key

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


def body(*resources: dict[str, Any], kind: str = "batch") -> bytes:
    """One resource, or a Bundle of several."""
    if len(resources) == 1:
        return json.dumps(resources[0]).encode()
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": [{"resource": each} for each in resources]}).encode()


def events(*resources: dict[str, Any]) -> list[Any]:
    """The events of a bundle."""
    return [event for _, event in read(body(*resources), SOURCE, NOW)[0].events]


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
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]},
        "subject": {"reference": "Patient/p1"},
        "valueQuantity": {"value": 6.8, "code": "mmol/L"},
    }
    first, _ = read(body(observation), SOURCE, NOW)
    later, _ = read(body(PATIENT), SOURCE, NOW)

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
    arrival, _ = read(body(panel), SOURCE, NOW)
    topic, event = arrival.events[0]

    assert isinstance(event, ObservationEvent)
    assert ("vitals", [90.0, 50.0], {"corrected"}) == (
        topic.name,
        [o.value for o in event.observations],
        {o.status for o in event.observations},
    )
    assert datetime(2026, 11, 24, 9, tzinfo=UTC) == event.observations[0].effective.utc


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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff\xfe{", "undecodable-text"),
        (b"<Patient/>", "malformed"),
        (b"[]", "malformed"),
        (b'{"resourceType":"Patient","a":' + b"[" * 80 + b"]" * 80 + b"}", "invalid"),
    ],
)
def test_what_is_not_fhir_json_is_refused(text: bytes, reason: str) -> None:
    """Each refusal has its own reason."""
    with pytest.raises(Refused) as caught:
        read(text, SOURCE, NOW)

    assert reason == caught.value.reason


def test_an_invalid_entry_refuses_a_transaction_and_only_itself_in_a_batch() -> None:
    """Transactions are all or nothing."""
    bad = {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/p1"}}
    arrival, entries = read(body(PATIENT, bad), SOURCE, NOW)

    assert [entry.outcome for entry in entries] == ["accepted", "refused"]
    assert len(arrival.events) == 1
    with pytest.raises(Refused):
        read(body(PATIENT, bad, kind="transaction"), SOURCE, NOW)


NAMES = st.sampled_from(["resourceType", "entry", "resource", "subject", "identifier", "code"])
TREES = st.recursive(
    st.none() | st.text(max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
)


@given(st.binary(max_size=200) | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_nothing_but_refused_ever_leaves_the_reader(text: bytes) -> None:
    """Whatever comes, the reader answers or refuses."""
    with contextlib.suppress(Refused):
        read(text, SOURCE, NOW)


def test_every_sample_file_ends_in_one_of_three_ways(shared_data: Path) -> None:
    """The collected FHIR files are accepted, ignored or refused with a reason."""
    outcomes = set()
    for path in sorted((shared_data / "fhir-dev").glob("*/*")):
        for text in path.read_bytes().splitlines() if path.suffix == ".ndjson" else [path.read_bytes()]:
            try:
                outcomes |= {(entry.outcome, entry.reason is None) for entry in read(text, SOURCE, NOW)[1]}
            except Refused as refusal:
                outcomes.add(("refused", not refusal.explanation))

    assert {("accepted", True), ("ignored", False), ("refused", False)} == outcomes
