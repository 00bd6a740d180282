"""Network, trees and their ONNX export: NaN is missing, contributions are exact, torch, LightGBM and ONNX agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.domain import features
from pipeline.domain.model_answer import OUTPUTS

torch = pytest.importorskip("torch", reason="the extra `train` (torch) is not installed")
pytest.importorskip("lightgbm", reason="the extra `train` (lightgbm) is not installed")
pytest.importorskip("onnxscript", reason="the extra `train` (onnxscript) is not installed")

from pipeline.models.clinical import masking, trees  # noqa: E402
from pipeline.models.clinical.dataset import Examples  # noqa: E402
from pipeline.models.clinical.ensemble import CONDITIONS, Answer, Questions  # noqa: E402
from pipeline.models.clinical.export import export  # noqa: E402
from pipeline.models.clinical.network import RiskNetwork, bin_edges, complete, limits  # noqa: E402
from pipeline.models.clinical.recipe import SMALL  # noqa: E402
from pipeline.models.clinical.training import train  # noqa: E402
from pipeline.models.evaluation.discrimination import auc  # noqa: E402

Matrix = NDArray[np.float32]


def patients(count: int, seed: int = 0) -> Matrix:
    """Rows with about a third of the observables absent, and some with single values."""
    rng = np.random.default_rng(seed)
    x = rng.gamma(2.0, 20.0, (count, len(features.NAMES))).astype(np.float32)
    x[:, -1] = rng.integers(0, 2, count)
    x = masking.keep(x, rng.random((count, len(features.GROUPS))) > 0.3)
    return masking.newest_only(x, rng.random(count) < 0.3)


def labelled(count: int, seed: int) -> Examples:
    """Two rows a patient, one of them early; who died had a high lactate."""
    x = patients(count, seed)
    lactate = features.NAMES.index("lactate.last")
    x[:, lactate] = np.random.default_rng(seed).gamma(2.0, 20.0, count)
    died = x[:, lactate] > np.quantile(x[:, lactate], 0.8)
    return Examples(np.repeat(x, 2, 0), np.repeat(died, 2), np.repeat(np.arange(count), 2), np.tile([48, 3], count).astype(np.float32))


@dataclass(frozen=True)
class Model:
    """Random network, boosters that learned something, weights with every condition in play."""

    questions: Questions
    boosters: list[Any]
    answer: Answer

    def ask(self, x: Matrix) -> tuple[Matrix, ...]:
        """risk, contributions, spread, novelty."""
        with torch.no_grad():
            network, variants, there, novelty = self.questions(torch.from_numpy(x))
            of_trees = torch.from_numpy(trees.logits(self.boosters, variants.numpy()))
            return *(part.numpy() for part in self.answer(network, of_trees, there)), novelty.numpy()


@pytest.fixture(scope="module")
def model() -> Model:
    """All its weights in play."""
    torch.manual_seed(1)
    examples = labelled(300, 3)
    network = RiskNetwork(bin_edges(examples.x, 6), members=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    boosters = trees.grow(examples, np.arange(300) % 2, replace(SMALL, rounds=10))
    weights = np.random.default_rng(0).normal(0.5, 0.1, (3, len(CONDITIONS)))
    return Model(Questions(network, limits(examples.x, 6)).eval(), boosters, Answer(weights).eval())


def test_contributions_are_what_leaving_out_does(model: Model) -> None:
    """The graph's short cut gives the same as asking again without the observable, trees and calibration included."""
    x = patients(20, seed=5)
    risk, contributions, _, _ = model.ask(x)
    for index in range(len(features.GROUPS)):
        without = model.ask(masking.keep(x, np.arange(len(features.GROUPS)) != index))[0]

        assert contributions[:, index] == pytest.approx((risk - without)[:, 0], abs=2e-6)


def test_what_is_absent_contributes_nothing(model: Model) -> None:
    """Exactly zero, also for a patient of whom nothing is known, who still gets a probability."""
    x = patients(50, seed=6)
    x[0] = np.nan
    risk, contributions, spread, novelty = model.ask(x)

    assert (contributions[~masking.present(x)] == 0).all()
    assert ((risk > 0) & (risk < 1)).all()
    assert (spread > 0).all()
    assert novelty[0, 0] == 0


def test_novelty_is_how_far_out_an_input_lies(model: Model) -> None:
    """Nothing within the range of training; twice its width above it is 2."""
    x = np.full((2, len(features.NAMES)), np.nan, dtype=np.float32)
    column = features.NAMES.index("sodium.last")
    low, high = model.questions.limits[column].tolist()
    x[:, column] = (low + high) / 2, high + 2 * (high - low)

    assert model.ask(x)[3][:, 0] == pytest.approx([0, 2], abs=1e-4)


def test_a_row_does_not_depend_on_its_neighbours(model: Model) -> None:
    """Batching changes nothing."""
    x = patients(9, seed=7)

    assert model.ask(x)[0][4] == pytest.approx(model.ask(x[4:5])[0][0], abs=1e-6)


def test_a_single_value_is_its_own_minimum_and_maximum() -> None:
    """The statistics of one value are filled in; those of an absent observable are not."""
    x = np.full((1, len(features.NAMES)), np.nan, dtype=np.float32)
    x[0, features.NAMES.index("lactate.last")] = 4.0
    filled = dict(zip(features.NAMES, complete(x)[0].tolist(), strict=True))

    assert [filled[f"lactate.{name}"] for name in features.STATISTICS[2:]] == [0, 0, 4, 4, 4, 1, 0, 0, 4]
    assert np.isnan(filled["ph.min"])


def test_onnx_agrees_with_torch_and_lightgbm(model: Model, tmp_path: Path) -> None:
    """To 1e-4, for any batch size, absent inputs and absurd ones."""
    import onnxruntime as ort

    file = tmp_path / "model.onnx"
    export(model.questions, model.boosters, model.answer, file, "1")
    session = ort.InferenceSession(str(file))
    x = patients(33, seed=8)
    x[0], x[1, :40], x[2] = np.nan, 1e6, -1e6

    for rows in (x, x[:1], x[5:7]):
        for mine, theirs in zip(model.ask(rows), session.run(list(OUTPUTS), {"features": rows}), strict=True):
            assert np.abs(mine - theirs).max() < 1e-4 * max(1, np.abs(mine).max())


def test_training_is_repeatable_and_learns() -> None:
    """The same recipe gives the same weights, and a plain signal is found by parts that have not seen the patient."""
    examples = labelled(300, 9)
    recipe = replace(SMALL, epochs=10, batch=50, learning_rate=0.02, cuts=1)
    first, second = (train(examples, recipe) for _ in range(2))
    unseen = first.unseen

    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True))
    assert [booster.model_to_string() for booster in first.boosters] == [booster.model_to_string() for booster in second.boosters]
    assert (first.weights == second.weights).all()
    assert unseen.whole.sum() == 300
    assert auc(unseen.died[unseen.whole], unseen.network[unseen.whole]) > 0.65
    assert auc(unseen.died[unseen.whole], unseen.trees[unseen.whole]) > 0.9
