"""Words of orders as buckets: the same words the same buckets, for ever, since a trained model counts on it."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from pipeline.adapters.onnx.artefact import load_reference
from pipeline.domain import model_inputs
from pipeline.domain.order_words import BUCKETS, buckets
from schemas.assessments import StudyState
from tests.unit.domain.test_model_answer import NOW, request


def test_buckets_never_move() -> None:
    """Fixed numbers: another hash would turn a served model's words into others."""
    assert buckets("Patient unruhig") == (852, 1003)
    assert max(buckets("one two three four five six seven")) < BUCKETS


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("UNRUHIG!", "unruhig"),
        ("Übelkeit", "Uebelkeit"),
        ("fièvre", "fievre"),
        ("cough since 3 days (2026-03-01)", "cough since days"),
        ("restless\nrestless restless", "restless"),
        ("V.a. Pneumonie", "Verdacht auf Pneumonie"),
        ("κόπωση", "κοπωση"),
    ],
)
def test_spelling_counts_for_nothing(text: str, same: str) -> None:
    """Nor do digits, order and number."""
    assert buckets(text) == buckets(same) != ()


def test_no_words_no_buckets() -> None:
    """Nothing, digits and single letters."""
    assert buckets() == buckets(None, "", "12 x 7, a") == ()


def test_they_are_counted_for_a_model_that_reads_them_only() -> None:
    """From the words of the studies that are asked about; another model is given no such input."""
    study = StudyState(study_uid="1.2", ready_at=NOW, indication="Patient unruhig", description="XR chest")
    asked, reader = replace(request(), studies=[study]), replace(load_reference(), buckets=BUCKETS)
    arrays = model_inputs.arrays([asked, request()], reader, {})

    assert np.flatnonzero(arrays["tokens"][0]).tolist() == list(buckets("Patient unruhig XR chest"))
    assert not arrays["tokens"][1].any()
    assert model_inputs.given(asked, reader, {}) == model_inputs.groups(reader) == ("words",)
    assert model_inputs.arrays([asked], load_reference(), {}) == {}
    assert model_inputs.given(asked, load_reference(), {}) == ()
