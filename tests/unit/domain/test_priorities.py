"""Priority codes of every protocol, and what is not one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipeline.domain.priorities import Priority, from_dicom, from_fhir, from_hl7, from_ups


@pytest.mark.parametrize(
    ("code", "level"),
    [
        ("S", "stat"),
        ("A", "asap"),
        ("R", "routine"),
        ("P", "urgent"),
        ("C", "urgent"),
        ("T", "urgent"),
        ("PRN", "routine"),
        ("s", "stat"),
        (" S^Stat ", "stat"),
    ],
)
def test_hl7(code, level):
    """HL7 tables 0485 and 0027."""
    assert Priority(level) == from_hl7(code)


@pytest.mark.parametrize(
    ("code", "within"),
    [
        ("TS90", timedelta(seconds=90)),
        ("TM30", timedelta(minutes=30)),
        ("TH2", timedelta(hours=2)),
        ("TD1", timedelta(days=1)),
        ("TW2", timedelta(weeks=2)),
        ("TL1", timedelta(days=30)),
        ("TM0", timedelta()),
    ],
)
def test_timing_critical(code, within):
    """T<unit><n> is an urgent order with a time of its own."""
    assert Priority("urgent", within) == from_hl7(code)


def test_repetitions():
    """Of several priorities the most urgent counts, with the shortest time."""
    assert Priority("stat", timedelta(minutes=30)) == from_hl7("R~TM30~S~TH4")


@pytest.mark.parametrize("code", ["X", "TM", "TM-3", "TH99999999", "TL9999", "T30", "S S", "ß"])
def test_unknown_hl7(code):
    """What is in no table, or is longer than a year, has no level and says so; it is not guessed to be routine."""
    assert Priority(None, None, "unknown-code") == from_hl7(code)


@pytest.mark.parametrize("read", [from_hl7, from_dicom, from_fhir, from_ups])
@pytest.mark.parametrize("empty", [None, "", "  "])
def test_empty(read, empty):
    """An empty field is missing, not routine."""
    assert Priority(None, None, "missing") == read(empty)


def test_dicom():
    """(0040,1003): defined terms, with MEDIUM as the site reads it, and others tolerated."""
    levels = [from_dicom(term).level for term in ("STAT", "HIGH", "MEDIUM", "ROUTINE", "LOW ", "stat")]

    assert levels == ["stat", "asap", "urgent", "routine", "routine", "stat"]
    assert from_dicom("MEDIUM", medium="routine").level == "routine"
    assert from_dicom("EMERGENT").quality == "unknown-code"


def test_fhir_and_ups():
    """FHIR request-priority one to one; a UPS of HIGH is a STAT, and STAT is not legal there."""
    assert [from_fhir(code).level for code in ("routine", "urgent", "asap", "stat")] == ["routine", "urgent", "asap", "stat"]
    assert [from_ups(code).level for code in ("HIGH", "MEDIUM", "LOW")] == ["stat", "urgent", "routine"]
    assert from_ups("STAT").quality == "unknown-code"
