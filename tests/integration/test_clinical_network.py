"""The network and its ONNX export: NaN is missing, contributions are exact, torch and ONNX agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.domain import features

torch = pytest.importorskip("torch", reason="the extra `train` (torch) is not installed")
pytest.importorskip("onnxscript", reason="the extra `train` (onnxscript) is not installed")

from pipeline.models.clinical import masking  # noqa: E402
from pipeline.models.clinical.export import export  # noqa: E402
from pipeline.models.clinical.network import CalibratedRisk, RiskNetwork, bin_edges, complete  # noqa: E402

Matrix = NDArray[np.float32]


def patients(count: int, seed: int = 0) -> Matrix:
    """Rows with about a third of the observables absent, and some with single values."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 20.0, (count, len(features.NAMES))).astype(np.float32)
    x[:, -1] = rng.integers(0, 2, count)
    x = masking.keep(x, rng.random((count, len(features.GROUPS))) > 0.3)
    return masking.newest_only(x, rng.random(count) < 0.3)


@pytest.fixture(scope="module")
def model() -> CalibratedRisk:
    """Random weights, but all of them in play."""
    torch.manual_seed(1)
    network = RiskNetwork(bin_edges(patients(500), 6), members=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return CalibratedRisk(network, 0.9, -0.2).eval()


def answer(model: CalibratedRisk, x: Matrix) -> tuple[Matrix, Matrix]:
    with torch.no_grad():
        risk, contributions = model(torch.from_numpy(x))
    return risk.numpy(), contributions.numpy()


def test_contributions_are_what_leaving_out_does(model: CalibratedRisk) -> None:
    """The graph's short cut gives the same as asking again without the observable."""
    x = patients(20, seed=5)
    risk, contributions = answer(model, x)
    for index in range(len(features.GROUPS)):
        without, _ = answer(model, masking.keep(x, np.arange(len(features.GROUPS)) != index))

        assert contributions[:, index] == pytest.approx((risk - without)[:, 0], abs=2e-6)


def test_what_is_absent_contributes_nothing(model: CalibratedRisk) -> None:
    """Exactly zero, also for a patient of whom nothing is known, who still gets a probability."""
    x = patients(50, seed=6)
    x[0] = np.nan
    risk, contributions = answer(model, x)

    assert (contributions[~masking.present(x)] == 0).all()
    assert ((risk > 0) & (risk < 1)).all()


def test_a_row_does_not_depend_on_its_neighbours(model: CalibratedRisk) -> None:
    """Batching changes nothing."""
    x = patients(9, seed=7)

    assert answer(model, x)[0][4] == pytest.approx(answer(model, x[4:5])[0][0], abs=1e-6)


def test_a_single_value_is_its_own_minimum_and_maximum() -> None:
    """The statistics of one value are filled in; those of an absent observable are not."""
    x = np.full((1, len(features.NAMES)), np.nan, dtype=np.float32)
    x[0, features.NAMES.index("lactate.last")] = 4.0
    filled = dict(zip(features.NAMES, complete(x)[0].tolist(), strict=True))

    assert [filled[f"lactate.{name}"] for name in ("min", "max", "mean", "delta", "span_h")] == [4, 4, 4, 0, 0]
    assert np.isnan(filled["ph.min"])


@pytest.mark.timeout(120)
def test_onnx_agrees_with_torch(model: CalibratedRisk, tmp_path: Path) -> None:
    """To 1e-4, for any batch size, absent inputs and absurd ones."""
    import onnxruntime as ort

    file = tmp_path / "model.onnx"
    export(model, file, "1")
    session = ort.InferenceSession(str(file))
    x = patients(33, seed=8)
    x[0], x[1, :40], x[2] = np.nan, 1e9, -1e9

    for rows in (x, x[:1], x[5:7]):
        for mine, theirs in zip(answer(model, rows), session.run(["risk", "contributions"], {"features": rows}), strict=True):
            assert np.abs(mine - theirs).max() < 1e-4


def test_training_is_repeatable_and_learns() -> None:
    """The same recipe gives the same weights, and a plain signal is found by members that have not seen the patient."""
    from pipeline.models.clinical.dataset import Examples
    from pipeline.models.clinical.training import Recipe, train
    from pipeline.models.metrics import auc

    rng = np.random.default_rng(0)
    x = patients(300, seed=9)
    lactate = features.NAMES.index("lactate.last")
    x[:, lactate] = rng.gamma(2.0, 20.0, len(x))
    died = x[:, lactate] > np.quantile(x[:, lactate], 0.8)
    stay, hours = np.repeat(np.arange(len(x)), 2), np.tile([48, 3], len(x)).astype(np.float32)
    examples = Examples(np.repeat(x, 2, 0), np.repeat(died, 2), stay, hours)
    recipe = Recipe(members=2, folds=2, epochs=10, batch=50, learning_rate=0.02, cuts=1)
    first, second = (train(examples, recipe) for _ in range(2))

    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert auc(examples.died, first.out_of_fold) > 0.8
