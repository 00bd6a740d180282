"""What an order's words suspect, and what they only deny or remember."""

from __future__ import annotations

import pytest

from pipeline.domain.indications import find


def codes(*texts):
    return {suspicion.bundle.code for suspicion in find(*texts)}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Suspected stroke", "stroke"),
        ("rule out stroke", "stroke"),
        ("h/o CVA, now left hemiparesis", "stroke"),
        ("65 year old stroke", "stroke"),
        ("patient not able to move left arm, stroke", "stroke"),
        ("CT Head Stroke protocol", "stroke"),
        ("V.a. Schlaganfall", "stroke"),
        ("Schlaganfall nicht ausgeschlossen", "stroke"),
        ("no fall, stroke?", "stroke"),
        ("THUNDERCLAP HEADACHE", "intracranial-bleed"),
        ("Z.n. Sturz, V.a. Hirnblutung", "intracranial-bleed"),
        ("internal bleeding", "bleeding"),
        ("innere Blutung", "bleeding"),
        ("R/O PE", "pulmonary-embolism"),
        ("Ausschluss Lungenembolie", "pulmonary-embolism"),
        ("75-jährige Pat. mit Aortendissektion", "aortic"),
        ("aortic dissection", "aortic"),
        ("trauma", "trauma"),
        ("s/p MVA", "major-trauma"),
        ("Z.n. Polytrauma", "major-trauma"),
        ("Pneumothorax?", "pneumothorax"),
        ("Spannungspneumothorax", "tension-pneumothorax"),
        ("sepsis, source?", "sepsis"),
        ("Rückenmarkskompression", "cord-compression"),
        ("bowel perforation cannot be excluded", "perforation"),
        ("free air", "perforation"),
    ],
)
def test_suspicion(text, code):
    """A finding that is named or to be ruled out, in English or German, is a suspicion."""
    assert code in codes(text)


@pytest.mark.parametrize(
    "text",
    [
        "no trauma",
        "no fever, cough or trauma",
        "denies trauma",
        "no evidence of pulmonary embolism",
        "without signs of cord compression",
        "kein Anhalt für Pneumothorax",
        "Schlaganfall ausgeschlossen",
        "stroke was ruled out",
        "not a stroke",
    ],
)
def test_negation(text):
    """A denied finding is none."""
    assert set() == codes(text)


@pytest.mark.parametrize(
    "text",
    [
        "history of stroke",
        "Z.n. Insult",
        "Insult 2019",
        "PE vor 3 Jahren",
        "chronic subdural hematoma",
        "follow-up pneumothorax",
        "Kontrolle nach Pneumothorax",
    ],
)
def test_past(text):
    """A past finding is no emergency now."""
    assert set() == codes(text)


@pytest.mark.parametrize(
    "text", [None, "", "knee pain", "ich habe Husten", "known aortic aneurysm", "screening", "heat stroke", "lumbar disc herniation"]
)
def test_nothing(text):
    """Ordinary words suspect nothing."""
    assert set() == codes(text)


def test_several_texts_most_urgent_first():
    """Indication and description both count, each bundle once, the most urgent first."""
    found = find("sepsis? PE?", "CTA stroke; stroke")

    assert [one.bundle.code for one in found] == ["stroke", "pulmonary-embolism", "sepsis"]


def test_long_text_is_bounded():
    """A text of a megabyte is read in part, and quickly."""
    assert set() == codes("no " * 400_000 + "stroke")
