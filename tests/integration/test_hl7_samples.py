"""Every HL7 file of the real sample data ends as accepted, ignored with a reason or refused with a reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.adapters.hl7v2.envelope import Site
from pipeline.adapters.hl7v2.message import split_batch
from pipeline.adapters.hl7v2.reader import Ignored, Reader
from pipeline.adapters.hl7v2.refusal import Hl7Refused
from pipeline.settings import Gateways
from schemas import codec

NOW = datetime(2026, 11, 24, tzinfo=UTC)
READ_TYPES = ("ADT", "SIU", "ORM", "OMG", "OML", "OMI", "ORU")

REFUSED = {
    "FHIRConverterTest_007_ORU-R01.hl7": ("101", "PID^1^3"),  # PID without any id
    "HL7EventTypeFHIRConversionTest_122_ADT-A01-ADT_.hl7": ("100", "PID^1"),
    "HL7EventTypeFHIRConversionTest_124_ADT-A01-ADT_.hl7": ("100", "PID^1"),
    "HL7MergeFHIRConversionTest_125_ADT-A34.hl7": ("101", "MSH^1^10"),  # no message control id
    "HL7OMLMessageTest_036_OML-O21-OML_.hl7": ("101", "MSH^1^10"),
    "HL7OMLMessageTest_038_OML-O21-OML_.hl7": ("101", "MSH^1^10"),
    "HL7OMLMessageTest_040_OML-O21-OML_.hl7": ("101", "MSH^1^10"),
    "Hl7ObservationFHIRConversionTest_252_ADT-A01.hl7": ("101", "MSH^1^10"),
    "ResourceExpressionTest_022_ADT-A01.hl7": ("101", "MSH^1^10"),
    "samples_16.hl7": ("100", "PID^1"),  # a batch header in the middle of a message
    "Example3.txt": ("100", "MSH^1"),  # segments without a header, scanned from a document
    "invalid-missing-msh.hl7": ("100", "MSH^1"),
    "test_validation_17.hl7": ("201", "MSH^1^9"),  # OML^O33, specimens
}
"""Files of the types we read that are refused, each looked at: none of them is a valid message."""


def files(shared_data: Path) -> list[Path]:
    return sorted(path for path in (shared_data / "hl7v2-dev").rglob("*") if path.suffix in (".hl7", ".txt"))


def outcome(reader: Reader, raw: bytes) -> tuple[str, str, str]:
    """(outcome, reason or topics, place)."""
    try:
        understood = reader.read(raw, NOW)
    except Hl7Refused as refusal:
        return "refused", refusal.code, refusal.location
    if isinstance(understood, Ignored):
        return "ignored", understood.reason, ""
    for topic, event in understood.events:
        assert codec.decode(topic, codec.encode(event)) == event
    return "accepted", ",".join(sorted({topic.name for topic, _ in understood.events})), ""


def test_every_sample_has_one_of_three_outcomes(shared_data: Path) -> None:
    """And no valid message of a type that we read is refused."""
    reader = Reader(Site.of(b"k" * 32, Gateways()))
    found = {path.name: [outcome(reader, raw) for raw in split_batch(path.read_bytes())] for path in files(shared_data)}
    assert len(found) == 116 and sum(map(len, found.values())) > len(found)
    refused = {name: (reason, place) for name, results in found.items() for kind, reason, place in results if kind == "refused"}
    assert {name: why for name, why in refused.items() if why[0] not in ("200",) and name in REFUSED} == REFUSED
    others = {name for name, (reason, _) in refused.items() if name not in REFUSED and reason != "200"}
    assert others == {"test_parser_08.hl7"}  # MSH-9 is empty
    kinds = {kind for results in found.values() for kind, _, _ in results}
    assert kinds == {"accepted", "ignored", "refused"}


def test_unsupported_types_are_those_we_do_not_read(shared_data: Path) -> None:
    """ERR-3 = 200 never meets an ADT, an order or a result."""
    reader = Reader(Site.of(b"k" * 32, Gateways()))
    for path in files(shared_data):
        for raw in split_batch(path.read_bytes()):
            if outcome(reader, raw)[:2] == ("refused", "200"):
                kind = raw.split(b"\r")[0].split(b"\n")[0].decode("utf-8-sig").split("|")[8]
                assert not kind.startswith(READ_TYPES), path.name


@pytest.mark.parametrize(
    ("name", "topics"),
    [
        ("oru_r01-2.hl7", "labs"),
        ("LAB-ORU-2.hl7", "labs"),
        ("ORM-O01-02.hl7", "orders"),
        ("edge-custom-delimiters.hl7", "adt"),
        ("edge-non-ascii.hl7", "adt"),
        ("ADT04-23.hl7", "adt"),
        ("HL7MergeFHIRConversionTest_127_ADT-A40-ADT_.hl7", "adt"),
    ],
)
def test_known_samples_are_taken(shared_data: Path, name: str, topics: str) -> None:
    """A few by name: results, an imaging order, odd delimiters, umlauts, a byte order mark, merges."""
    (path,) = (path for path in files(shared_data) if path.name == name)
    assert [outcome(Reader(Site.of(b"k" * 32, Gateways())), raw)[:2] for raw in split_batch(path.read_bytes())] == [("accepted", topics)]
