"""What a report says of the findings that models look for."""

from __future__ import annotations

import time

import pytest

from pipeline.domain.report_words import finding, said
from schemas.codes import Coding

REPORT = """EXAM: CT CHEST WITH CONTRAST
INDICATION: Rule out PE. Pneumothorax on outside film.
COMPARISON: None.
FINDINGS: No pulmonary embolism. There is no evidence
of pneumothorax. Small left pleural effusion. The heart is normal.
IMPRESSION:
1. No PE.
2. Left basal consolidation, suspicious for pneumonia."""


def words(text: str | None, *impression: Coding) -> dict[str, str] | None:
    found = said(text, impression)
    return None if found is None else {each.code: each.word for each in found}


def test_a_whole_report() -> None:
    """What was asked and known before is not its word; the impression is."""
    assert words(REPORT) == {
        "pneumothorax": "denied",
        "pneumonia": "uncertain",
        "pulmonary-embolism": "denied",
        "pleural-effusion": "affirmed",
        "consolidation": "affirmed",
    }


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("Lungs clear. No focal consolidation.", "pneumonia", "denied"),
        ("Right lower lobe opacity.", "pneumonia", "uncertain"),
        ("No acute intracranial hemorrhage.", "intracranial-haemorrhage", "denied"),
        ("Acute left subdural haematoma, unchanged.", "intracranial-haemorrhage", "affirmed"),
        ("No haemorrhage.", "intracranial-haemorrhage", "denied"),
        ("No pneumothorax on the right. Small pneumothorax on the left.", "pneumothorax", "affirmed"),
        ("No pneumothorax. Pneumothorax cannot be excluded in this position.", "pneumothorax", "uncertain"),
        ("History of pneumothorax.", "pneumothorax", "uncertain"),
        ("Klinische Angaben: V.a. Pneumothorax. Befund: Kein Nachweis eines Pneumothorax.", "pneumothorax", "denied"),
        ("Spannungspneumothorax rechts.", "pneumothorax", "affirmed"),
    ],
)
def test_one_finding(text: str, code: str, word: str) -> None:
    """Named, or by its signs; of several mentions the one that affirms, then the one that leaves open."""
    assert (words(text) or {})[code] == word


def test_a_coded_impression_is_a_report() -> None:
    """By its words, whatever section the text ended with."""
    assert words(None, Coding("36118008", "http://snomed.info/sct", "Pneumothorax")) == {"pneumothorax": "affirmed"}
    assert words("COMPARISON: none", Coding("x", display="No pneumothorax")) == {"pneumothorax": "denied"}


def test_what_is_not_understood_is_not_normal() -> None:
    """A report that refers elsewhere is no report of a normal study; one that calls all normal is."""
    assert words(None) is words("See report in archive.") is words("INDICATION: pneumothorax?") is None
    assert words("Normal chest radiograph.") == words("Altersentsprechender Befund.") == {}


def test_what_models_call_a_finding() -> None:
    """Codes in whatever spelling; none where reports are not searched for it."""
    assert [found.code for code in ("Pneumothorax", "ICH", "LVO", "pulmonary_embolism") if (found := finding(code))] == [
        "pneumothorax", "intracranial-haemorrhage", "vessel-occlusion", "pulmonary-embolism"
    ]  # fmt: skip
    assert finding("intensive-care-7d") is None


@pytest.mark.parametrize("text", ["no pneumothorax " * 4000, "pe, " * 20_000, "no " * 30_000 + "pe", "A b/c " * 20_000 + ":"])
def test_no_report_takes_long(text: str) -> None:
    """Whatever somebody sends."""
    started = time.process_time()
    said(text, ())
    assert time.process_time() - started < 2
