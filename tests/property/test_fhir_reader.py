"""Whatever stands in a resource, the FHIR reader understands, ignores or refuses it, and what it sends on can be read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.fhir.message import READERS, Source, read
from pipeline.errors import Refused
from schemas import codec

SOURCE = Source("ehr", b"k" * 32, "HOSP", ZoneInfo("Europe/Berlin"))
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOON = "2026-11-24T12:00:00Z"
SUBJECT = {"reference": "Patient/p1", "display": "Jane Doe"}


def number(kind: str, value: str) -> dict[str, Any]:
    """An Identifier of that type."""
    return {"type": {"coding": [{"code": kind}]}, "system": "urn:x", "value": value}


RESOURCES: dict[str, dict[str, Any]] = {
    "Patient": {
        "identifier": [number("MR", "4711")],
        "name": [{"family": "Doe", "given": ["Jane", "A"], "text": "x"}],
        "birthDate": "1950-01-01",
        "gender": "female",
        "link": [{"type": "replaced-by", "other": {"reference": "Patient/p2"}}],
    },
    "Encounter": {
        "status": "in-progress",
        "class": {"code": "EMER"},
        "subject": SUBJECT,
        "period": {"start": NOON, "end": "2026-11-24"},
        "location": [{"location": {"display": "ED 3"}}],
    },
    "ServiceRequest": {
        "status": "active",
        "intent": "order",
        "priority": "stat",
        "subject": SUBJECT,
        "category": [{"coding": [{"code": "RAD"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "1-8", "display": "CT"}], "text": "CT"},
        "reasonCode": [{"text": "fall", "coding": [{"code": "x"}]}],
        "identifier": [number("ACSN", "A1"), number("PLAC", "P1")],
        "authoredOn": NOON,
        "occurrenceDateTime": "2026-11-24",
    },
    "ImagingStudy": {
        "status": "available",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}, number("ACSN", "A1")],
        "subject": SUBJECT,
        "started": NOON,
        "numberOfInstances": 3,
        "modality": [{"code": "CT"}],
        "description": "CT head",
        "basedOn": [{"reference": "ServiceRequest/r1"}],
        "series": [{"uid": "1.2", "modality": {"code": "CT"}, "bodySite": {"display": "HEAD"}}],
    },
    "Observation": {
        "status": "final",
        "category": [{"coding": [{"code": "vital-signs"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}, {"code": "HR"}], "text": "HR"},
        "subject": SUBJECT,
        "effectiveDateTime": NOON,
        "issued": NOON,
        "valueQuantity": {"value": 80.5, "unit": "/min", "code": "/min", "system": "http://unitsofmeasure.org", "comparator": "<"},
        "interpretation": [{"coding": [{"code": "HH"}]}],
        "component": [
            {"code": {"text": "x"}, "valueString": "y"},
            {"code": {"text": "x"}, "valueInteger": 3},
            {"code": {"text": "x"}, "valueCodeableConcept": {"text": "q"}},
        ],
    },
    "DiagnosticReport": {
        "status": "final",
        "category": [{"coding": [{"code": "RAD"}]}],
        "code": {"coding": [{"code": "18748-4"}]},
        "subject": SUBJECT,
        "issued": NOON,
        "imagingStudy": [{"reference": "ImagingStudy/r1"}, {"identifier": {"system": "urn:dicom:uid", "value": "1.2.3"}}],
        "basedOn": [{"reference": "ServiceRequest/r1"}, {"identifier": number("PLAC", "P1")}],
        "conclusion": "no bleed",
        "conclusionCode": [{"coding": [{"code": "1", "display": "x"}]}],
    },
    "Appointment": {
        "status": "booked",
        "start": NOON,
        "end": "2026-11-24T13:00:00Z",
        "participant": [{"actor": SUBJECT, "status": "accepted"}],
        "basedOn": [{"reference": "ServiceRequest/r1"}],
    },
}
ODD = st.sampled_from(
    [
        None, 0, -1, 1e308, 10**400, True,
        "", " ", "x", "x" * 5000, "\x00", "😀", "2026", "2026-13-45", "0001-01-01", "9999-12-31T23:59:59Z", "Patient/p1", "cancelled",
        [], [None], ["x"],
        {}, {"value": 1}, {"coding": None}, {"coding": [{}]}, {"reference": "#x"}, {"identifier": {}},
    ]
).map(deepcopy)  # fmt: skip


def places(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value of a document."""
    for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*way, key)
        yield from places(inner, (*way, key))


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A whole resource in which some values are gone or are something else."""
    kind = draw(st.sampled_from(sorted(RESOURCES)))
    resource = {"resourceType": kind, "id": "r1", **deepcopy(RESOURCES[kind])}
    for _ in range(draw(st.integers(1, 3))):
        ways = [way for way in places(resource) if way != ("resourceType",)]
        *way, last = draw(st.sampled_from(ways))
        node: Any = resource
        for key in way:
            node = node[key]
        if draw(st.booleans()):
            node[last] = draw(ODD)
        else:
            del node[last]
    return resource


def test_there_is_a_whole_resource_of_each_kind_that_is_read() -> None:
    """And each leads to an event."""
    assert set(RESOURCES) == set(READERS)
    for kind, said in RESOURCES.items():
        arrival, (entry,) = read(json.dumps({"resourceType": kind, "id": "p1", **said}).encode(), SOURCE, NOW)
        assert (entry.outcome, bool(arrival.events)) == ("accepted", True), kind


@settings(max_examples=600, deadline=None)
@given(damaged(), st.booleans())
def test_a_damaged_resource_is_understood_ignored_or_refused(resource: dict[str, Any], alone: bool) -> None:
    """By itself, and among others that refer to it."""
    others = [{"resourceType": kind, "id": "r1", **said} for kind, said in RESOURCES.items() if kind != resource["resourceType"]]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": each} for each in [*others, resource]]}
    with suppress(Refused):
        arrival, entries = read(json.dumps(resource if alone else bundle).encode(), SOURCE, NOW)
        assert {entry.outcome for entry in entries} <= {"accepted", "ignored", "refused"}
        for topic, event in arrival.events:
            assert codec.decode(topic, codec.encode(event)) == event
