"""Words for a reader."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from pipeline.ports import Identity, ListedItem
from pipeline.worklist import presentation
from schemas.assessments import Evidence, Rejected, StudyState
from schemas.worklist import Reason
from tests.unit.worklist.web import NOW, item


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (None, "age unknown"),
        (0, "0 d"),
        (3 / 365.25, "3 d"),
        (59 / 365.25, "59 d"),
        (0.5, "6 mo"),
        (1.99, "23 mo"),
        (2, "2 y"),
        (89.9, "89 y"),
        (90, "90+ y"),
    ],
)
def test_ages(age: float | None, words: str) -> None:
    """Newborns in days, infants in months, the oldest as 90+."""
    assert presentation.age_text(age) == words


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Müller^Jörg^Karl", ["Müller, Jörg Karl"]),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", ["Yamada, Tarou", "山田, 太郎", "やまだ, たろう"]),
        ("=山田^太郎", ["山田, 太郎"]),
        ("Meyer", ["Meyer"]),
        ("^Given", ["Given"]),
        ("^^^", []),
        ("", []),
        (None, []),
        ("  double   spaces ^ x ", ["double spaces, x"]),
    ],
)
def test_names(name: str | None, shown: list[str]) -> None:
    """DICOM PN and HL7 XPN, each writing by itself."""
    assert presentation.display_names(name) == shown


@pytest.mark.parametrize(
    ("modality", "description", "part", "words"),
    [
        ("CT", "CT Head", "HEAD", "CT Head"),
        ("CT", "Head", "HEAD", "CT Head"),
        ("CT", None, "HEAD", "CT Head"),
        ("MR", "MRI brain", None, "MR MRI brain"),
        ("CT", "ct head", None, "ct head"),
        (None, None, None, "unknown study"),
        ("DX", None, None, "DX"),
        (None, "Chest", None, "Chest"),
    ],
)
def test_what(modality: str | None, description: str | None, part: str | None, words: str) -> None:
    """The modality is said once."""
    study = StudyState(study_uid="1", ready_at=NOW, modality=modality, description=description, body_part=part)
    assert presentation.what(study) == words


@pytest.mark.parametrize(
    ("patient_class", "location", "words"),
    [
        ("E", "ED^BAY 3", "ED BAY 3"),
        ("E", "BAY^3", "ED BAY 3"),
        ("I", "ICU^2", "ICU 2"),
        ("O", None, "outpatient"),
        (None, None, "place unknown"),
        ("E", "ED", "ED"),
    ],
)
def test_where(patient_class: str | None, location: str | None, words: str) -> None:
    """A place, or at least the kind of patient."""
    study = StudyState(study_uid="1", ready_at=NOW, patient_class=patient_class, location=location)  # type: ignore[arg-type]
    assert presentation.where(study) == words


@pytest.mark.parametrize(("minutes", "words"), [(0, "under 1 min"), (14, "14 min"), (60, "1 h"), (192, "3 h 12 min"), (3000, "2 d 2 h")])
def test_durations(minutes: int, words: str) -> None:
    """As people say them."""
    assert presentation.duration(timedelta(minutes=minutes)) == words


def test_every_doubt_has_a_word_and_a_sentence() -> None:
    """Degraded, conflicting, rejected, unmatched, provisional, stale, missing, preliminary."""
    rejected = (Rejected("113037", 1, NOW), Rejected("113001", 2, NOW))
    study = msgspec.structs.replace(item(0).study, conflict=True, unmatched=True, preliminary_report=True, rejected=rejected)
    stale = Reason(evidence=Evidence(kind="lab", code="x", label="K 6.8", severity=1, stale=True), minutes=1)
    doubtful = item(0, study=study, degraded=True, provisional=True, missing=["lactate"], reasons=[stale])

    marks = presentation.marks(doubtful)

    assert [mark["kind"] for mark in marks] == [
        "degraded",
        "conflict",
        "rejected",
        "unmatched",
        "provisional",
        "stale",
        "missing",
        "prelim",
    ]
    assert all(mark["word"] and mark["sentence"].endswith(".") for mark in marks)
    words = "Image rejected for patient safety, perhaps not of this patient; 2 images rejected for quality reasons: "
    assert marks[2]["sentence"].startswith(words)
    assert presentation.marks(item(0)) == []


@pytest.mark.parametrize(
    ("silence", "state", "words"),
    [(9, "arriving", "labs arriving"), (14, "quiet", "labs silent for 14 min"), (None, "never", "no labs yet")],
)
def test_feeds_in_plain_words(silence: int | None, state: str, words: str) -> None:
    """Arriving, silent for so long, or not heard of yet."""
    told = presentation.feed("labs", None if silence is None else NOW - timedelta(minutes=silence), NOW)
    assert (told["state"], told["words"]) == (state, words)


def test_a_row_holds_no_identifier_of_an_unknown_person() -> None:
    """Without a person from the vault there is the pseudonym and nothing else."""
    shown = presentation.row(ListedItem(item(1), 1), None, NOW)
    assert (shown["patient"], shown["person"]) == ("p1", None)


def test_the_binding_reason_comes_first() -> None:
    """Then by the minutes each would move the deadline."""
    reasons = [
        Reason(evidence=Evidence(kind="k", code=code, label=code, severity=0), minutes=minutes, binding=code == "b")
        for code, minutes in (("a", 5), ("b", 1), ("c", 9))
    ]
    shown = presentation.detail(ListedItem(item(1, reasons=reasons), 1), Identity("p1", "1", "H"), None, [], NOW)
    assert [reason["code"] for reason in shown["reasons"]] == ["b", "c", "a"]
