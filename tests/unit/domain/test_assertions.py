"""What sentences say of findings."""

from __future__ import annotations

import pytest

from pipeline.domain.assertions import Assertion, assertion, sentences

# The reference page's 26 assertions, of 22 sentences.
VECTORS: list[tuple[str, str, Assertion]] = [
    ("No pneumothorax.", "pneumothorax", "denied"),
    ("There is no evidence of acute intracranial hemorrhage.", "intracranial hemorrhage", "denied"),
    ("Cannot exclude small pneumothorax.", "pneumothorax", "uncertain"),
    ("Pneumothorax not excluded.", "pneumothorax", "uncertain"),
    ("No significant change in pneumothorax.", "pneumothorax", "affirmed"),
    ("Interval resolution of pneumothorax.", "pneumothorax", "denied"),
    ("Evaluate for pulmonary embolism.", "pulmonary embolism", "asked"),
    ("Rule out stroke.", "stroke", "asked"),
    ("r/o stroke", "stroke", "asked"),
    ("Pulmonary embolism is unlikely.", "pulmonary embolism", "denied"),
    ("Possible pneumonia versus atelectasis.", "pneumonia", "uncertain"),
    ("Possible pneumonia versus atelectasis.", "atelectasis", "uncertain"),
    ("No pleural effusion or pneumothorax, but there is consolidation.", "pneumothorax", "denied"),
    ("No pleural effusion or pneumothorax, but there is consolidation.", "consolidation", "affirmed"),
    ("History of stroke.", "stroke", "historical"),
    ("Negative for fracture; pneumothorax is present.", "fracture", "denied"),
    ("Negative for fracture; pneumothorax is present.", "pneumothorax", "affirmed"),
    ("Without pneumothorax, effusion, consolidation, edema or fracture.", "fracture", "denied"),
    ("Small pneumothorax has resolved.", "pneumothorax", "denied"),
    ("No new pneumothorax.", "pneumothorax", "denied"),
    ("Stable subdural hematoma without midline shift.", "subdural hematoma", "affirmed"),
    ("Stable subdural hematoma without midline shift.", "midline shift", "denied"),
    ("Family history of stroke.", "stroke", "family"),
    ("Intracranial hemorrhage cannot be excluded.", "intracranial hemorrhage", "uncertain"),
    ("No consolidation, however edema is present.", "edema", "affirmed"),
    ("Pneumothorax has been ruled out.", "pneumothorax", "denied"),
]


def said(text: str, finding: str) -> Assertion:
    [found] = [assertion(one, one.index(finding), one.index(finding) + len(finding)) for one in sentences(text) if finding in one]
    return found


@pytest.mark.parametrize(("text", "finding", "word"), VECTORS)
def test_the_reference_sentences(text: str, finding: str, word: Assertion) -> None:
    """Each finding of each."""
    assert len(VECTORS) == 26
    assert said(text, finding) == word


@pytest.mark.parametrize(
    ("text", "finding", "word"),
    [
        ("Kein Nachweis eines Pneumothorax.", "pneumothorax", "denied"),
        ("Pneumothorax nicht nachweisbar.", "pneumothorax", "denied"),
        ("Ein Pneumothorax ist nicht sicher ausgeschlossen.", "pneumothorax", "uncertain"),
        ("Kein Erguss, jedoch Pneumothorax links.", "pneumothorax", "affirmed"),
        ("V.a. Pneumonie im Unterlappen.", "pneumonie", "uncertain"),
        ("Keine wesentliche Änderung des Pneumothorax.", "pneumothorax", "affirmed"),
    ],
)
def test_german_sentences(text: str, finding: str, word: Assertion) -> None:
    """The same rules."""
    assert said(text, finding) == word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("There is no evidence\nof pneumothorax", "denied"),
        ("Nothing acute: no\nPneumothorax, 3.5 cm", "affirmed"),
        ("Pneumothorax with a tube in place, effusion not seen", "affirmed"),
        ("no " + "word " * 9 + "pneumothorax", "affirmed"),
        ("no mass, nodule, scar, effusion, oedema, cyst, bulla, fibrosis, plaque or pneumothorax", "denied"),
    ],
)
def test_how_far_a_word_reaches(text: str, word: Assertion) -> None:
    """Through a wrapped line and a list; not over a new line, a comma behind, or many words."""
    assert said(text, "pneumothorax") == word
