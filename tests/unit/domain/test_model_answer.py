"""A model's numbers as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from msgspec.structs import replace

from pipeline.adapters.onnx.artefact import load_reference
from pipeline.domain import features
from pipeline.domain.model_answer import Answer, risks
from schemas.assessments import AssessRequest, Contribution, Features

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REFERENCE = load_reference()


def request() -> AssessRequest:
    values = {"potassium.last": 6.8, "systolic_bp.last": 85.0, "gcs.last": 14.0, "ph.last": 7.1, "temperature.last": 38.5}
    return AssessRequest(
        event_id="e",
        patient="p",
        context_version=1,
        as_of=NOW,
        recorded_at=NOW,
        urgency=1,
        studies=[],
        features=Features(values=values, age=81.0, sex="F"),
    )


def changes(**of: float) -> np.ndarray:
    return np.array([[of.get(group, 0.0) for group in features.GROUPS]], dtype=np.float32)


def answer(probability: np.ndarray, contributions: np.ndarray) -> Answer:
    """With a spread of 0.05 and one and a half ranges beyond what is known."""
    return Answer(probability, contributions, np.full((1, 1), 0.05), np.full((1, 1), 1.5))


def test_the_strongest_five_by_size() -> None:
    """Largest absolute change first, with label, value and sign; those that changed nothing are left out."""
    seven = changes(potassium=0.2, systolic_bp=-0.3, gcs=0.01, ph=0.02, temperature=0.03, age=0.05, sex=-0.04)
    (risk,) = risks([request()], answer(np.array([[0.4]]), seven), REFERENCE, "triton", NOW, "7")

    assert risk.contributions == [
        Contribution(feature="systolic_bp", label="SBP 85 mmHg", change=-0.3, value=85.0),
        Contribution(feature="potassium", label="K 6.8 mmol/L", change=0.2, value=6.8),
        Contribution(feature="age", label="age 81", change=0.05, value=81.0),
        Contribution(feature="sex", label="female", change=-0.04),
        Contribution(feature="temperature", label="Temp 38.5 °C", change=0.03, value=38.5),
    ]
    assert (risk.scorer, risk.probability, risk.model, risk.model_version, risk.scored_at) == ("triton", 0.4, "clinical_risk", "7", NOW)
    assert risk.outcome == REFERENCE.outcome
    assert (risk.spread, risk.novelty) == (0.05, 1.5)
    assert risk.coverage == pytest.approx(7 / 35, abs=1e-3)


def test_what_a_sites_version_was_given_is_told_by_name() -> None:
    """Film, words and further values have groups of their own; coverage counts them, and a film that is not there says why."""
    further = {"side": 8, "values": ("haemoglobin", "site_score"), "concepts": ("sepsis", "stroke")}
    site = replace(REFERENCE, groups=(*features.GROUPS, "image", "words", *further["values"]), **further)
    asked = replace(request(), picture="u", values={"haemoglobin": 7.1, "crp": 90.0}, concepts=("sepsis",))
    moved = np.hstack([changes(potassium=0.1), [[0.3, 0.2, -0.15, 0.0]]]).astype(np.float32)
    (seen,), (gone,) = (
        risks([asked], answer(np.array([[0.4]]), moved), site, "triton", NOW, films=films)
        for films in ({"u": np.zeros((8, 8), np.uint8)}, {"u": "gone"})
    )

    assert [(one.feature, one.label, one.value) for one in seen.contributions] == [
        ("image", "chest film", None),
        ("words", "sepsis suspected", None),
        ("haemoglobin", "Hb 7.1 g/dL", 7.1),
        ("potassium", "K 6.8 mmol/L", 6.8),
    ]
    assert (seen.inputs, seen.unseen) == (("image", "words", "haemoglobin"), None)
    assert (gone.inputs, gone.unseen) == (("words", "haemoglobin"), "gone")
    assert (seen.coverage, gone.coverage) == (pytest.approx(9 / 38, abs=1e-3), pytest.approx(8 / 38, abs=1e-3))


def test_nothing_moved_nothing_said() -> None:
    """No contributions rather than five zeros; the reference's version where no other answered."""
    (risk,) = risks([request()], answer(np.array([[0.4]]), changes()), REFERENCE, "onnxruntime", NOW)

    assert (risk.contributions, risk.model_version) == ([], REFERENCE.version)


@pytest.mark.parametrize("part", Answer._fields)
@pytest.mark.parametrize("number", [np.nan, np.inf, 1.01, -0.1])
def test_a_row_that_is_no_answer_harms_no_other(part: str, number: float) -> None:
    """Not finite in any part, or a risk out of range: that row has no probability, never a rank; those beside it have theirs."""
    parts = {name: np.vstack([row] * 3) for name, row in answer(np.array([[0.4]]), changes())._asdict().items()}
    parts[part][1, 0] = number
    first, bad, last = risks([request()] * 3, Answer(**parts), REFERENCE, "triton", NOW)

    assert [(one.scorer, one.probability) for one in (first, last)] == [("triton", 0.4)] * 2
    if np.isfinite(number) and part != "risk":
        assert bad.probability == 0.4
    else:
        assert (bad.scorer, bad.probability, bad.contributions, bad.coverage) == ("rules", None, [], first.coverage)


@pytest.mark.parametrize("probability", [np.array([0.5]), np.array([[0.5], [0.5]])])
def test_an_answer_to_others_is_refused(probability: np.ndarray) -> None:
    """The wrong shape: an error, since nobody knows whose row is whose."""
    with pytest.raises(ValueError, match="answer"):
        risks([request()], answer(probability, changes()), REFERENCE, "triton", NOW)
