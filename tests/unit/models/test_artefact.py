"""What is shipped belongs together: weights, reference, metrics, card."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pipeline.adapters.onnx.artefact import REFERENCE_FILE, SHIPPED, load, load_reference
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain import features
from pipeline.errors import StackError
from pipeline.models.clinical import card
from schemas.assessments import Features

METRICS = msgspec.json.decode((SHIPPED / "metrics.json").read_bytes())


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    """The shipped one."""
    return OnnxModel(load())


def seen(**values: float) -> Features:
    named = {f"{name}.{part}": number for name, value in values.items() for part, number in (("last", value), ("age_h", 1.0))}
    return Features(values=named, age=60.0, sex="M")


def probability(model: OnnxModel, *patients: Features) -> list[float]:
    return model.run(features.matrix(patients)).risk[:, 0].tolist()


def test_the_card_is_written_from_the_metrics() -> None:
    """A figure changed by hand, in either, fails."""
    assert (SHIPPED / "CARD.md").read_text() == card.render(METRICS, load().reference)


def test_the_figures_reach_the_target() -> None:
    """Of set b: calibrated at every length of history, above every shortcut; and of eICU, on which nothing was trained."""
    results = METRICS["results"]

    assert results["auc"] >= 0.871
    assert results["min_se_ppv"] >= 0.55
    assert results["ece"] <= 0.02
    assert max(row["ece"] for row in METRICS["hours"].values()) <= 0.03
    assert METRICS["eicu"]["results"]["auc"] >= 0.8
    assert max(row["auc"] for row in METRICS["shortcuts"].values()) < METRICS["intervals"]["auc"][0]
    assert METRICS["onnx_max_difference"] < 1e-4


@pytest.mark.parametrize(
    ("told", "loads"),
    [
        ({"side": 64, "values": ["crp"], "concepts": ["sepsis"]}, True),  # as a site made them before its inputs had groups
        ({"side": 64, "values": ["crp"], "concepts": ["sepsis"], "groups": [*features.GROUPS, "image", "words", "crp"]}, True),
        ({"values": ["crp"], "groups": [*features.GROUPS, "crp"]}, True),
        ({"groups": [*features.GROUPS, "image"]}, False),
        ({"side": 64, "groups": [*features.GROUPS, "words"]}, False),
    ],
)
def test_a_sites_further_inputs_are_declared(tmp_path: Path, told: dict[str, object], loads: bool) -> None:
    """The shipped model reads none; a version whose groups are not those of its inputs is refused."""
    assert (load_reference().side, load_reference().values, load_reference().concepts) == (None, (), ())
    document = msgspec.json.decode((SHIPPED / REFERENCE_FILE).read_bytes())
    (tmp_path / REFERENCE_FILE).write_bytes(msgspec.json.encode({**document, **told}))
    if loads:
        assert load_reference(tmp_path).side == told.get("side")
    else:
        with pytest.raises(StackError, match="layout"):
            load_reference(tmp_path)


def test_missing_inputs_degrade_gently() -> None:
    """The more is missing, the less is known; but a quarter gone costs less than 0.04, and calibration holds."""
    thinned = [METRICS["results"], *METRICS["observables missing at random"].values(), METRICS["modalities"]["demographics only"]]
    auc = [row["auc"] for row in thinned]

    assert auc == sorted(auc, reverse=True)
    assert auc[0] - auc[1] < 0.04
    assert max(row["ece"] for row in thinned) < 0.04


def test_it_is_small() -> None:
    """The whole artefact stays under 10 MB."""
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 10_000_000


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"gcs": 15}, {"gcs": 4}),
        ({"lactate": 1.2}, {"lactate": 9.0}),
        ({"heart_rate": 75, "systolic_bp": 125}, {"heart_rate": 135, "systolic_bp": 72}),
        ({"urea_nitrogen": 14}, {"urea_nitrogen": 90}),
        ({"ph": 7.4, "bicarbonate": 24}, {"ph": 7.05, "bicarbonate": 9}),
    ],
)
def test_sicker_is_riskier(model: OnnxModel, better: dict[str, float], worse: dict[str, float]) -> None:
    """Values that any clinician would order are ordered so."""
    low, high = probability(model, seen(**better), seen(**worse))

    assert high > low * 1.3


def test_an_unknown_patient_gets_about_the_base_rate(model: OnnxModel) -> None:
    """Nothing known: near the 14 % of the training set, and no contributions."""
    risk, contributions, _, novelty = model.run(features.matrix([Features()]))

    assert 0.05 < float(risk[0, 0]) < 0.25
    assert (contributions == 0).all()
    assert novelty[0, 0] == 0


def test_a_large_batch_is_the_same_as_single_rows(model: OnnxModel) -> None:
    """Beyond the size of one run the answers stay in order."""
    patients = features.matrix([seen(lactate=0.5 + i / 40, gcs=3 + i % 13) for i in range(300)])
    risk = model.run(patients).risk

    assert np.abs(risk[[0, 255, 256, 299]] - np.concatenate([model.run(patients[i : i + 1])[0] for i in (0, 255, 256, 299)])).max() < 1e-6


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    """A file that is not the one described, or of another layout, is an error that says what to do."""
    folder = tmp_path / "artefact"
    shutil.copytree(SHIPPED, folder)
    with (folder / MODEL_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(StackError, match="SHA-256") as caught:
        load(folder)
    assert caught.value.remedy

    reference = (folder / REFERENCE_FILE).read_text()
    (folder / REFERENCE_FILE).write_text(reference.replace('"layout": 2', '"layout": 99'))
    with pytest.raises(StackError, match="layout 99"):
        load(folder)

    (folder / REFERENCE_FILE).unlink()
    with pytest.raises(StackError, match="cannot be read"):
        load(folder)
