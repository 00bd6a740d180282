"""What fine-tuning learns, and on whom: splits by patient, seeds, the encoder's changes, parts that are missing, rows that are few."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="fine-tuning needs the extra train")
pytest.importorskip("onnxscript", reason="fine-tuning needs the extra train")
pytest.importorskip("torch", reason="fine-tuning needs the extra train")

import torch

from pipeline.errors import StackError
from pipeline.models.finetuning import encoder, evaluation, graph, splits, verdict
from pipeline.models.finetuning.audit import audit
from pipeline.models.finetuning.build import Site, build
from pipeline.models.finetuning.fusion import Recipe, learn
from pipeline.models.finetuning.inputs import Inputs, gather, shipped_model
from pipeline.models.finetuning.pairs import Observed, Pair
from tests.made_up_pairs import SIDE, made_up, manifest


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return made_up()


@pytest.fixture(scope="module")
def data(pairs: list[Pair]) -> Inputs:
    torch.set_num_threads(2)
    return gather(pairs, shipped_model(), SIDE)


def test_the_same_seed_gives_the_same_weights(data: Inputs, pairs: list[Pair]) -> None:
    """Repeatable to the last digit, another seed not."""
    every = np.ones(len(pairs), bool)
    first, again, other = (learn(data, every, Recipe("low-rank", 2, seed)) for seed in (1, 1, 2))

    assert first.join == again.join
    assert np.array_equal(first.logits(data, every), again.logits(data, every))
    assert not np.array_equal(first.logits(data, every), other.logits(data, every))


@pytest.mark.parametrize("adapt", ["last-block", "low-rank"])
def test_an_adapted_encoder_is_one_with_its_features(data: Inputs, adapt: encoder.Adapt) -> None:
    """What was learned on kept maps is what the whole encoder computes from the pictures, and it differs from the frozen one."""
    every = np.ones(len(data.positive), bool)
    part = encoder.adapted_for(data, every, 2, adapt, 2, 1)
    pairs = made_up()
    rows = [row for row in range(8) if data.has_image[row]]
    image = graph.ImageTower(part.encoder(), part.readout.weight, part.readout.bias).eval()
    with torch.inference_mode():
        whole = image(torch.from_numpy(np.stack([pairs[row].picture for row in rows])))[:, 0].numpy()

    assert part.logits(data, every)[rows] == pytest.approx(whole, abs=1e-3)
    assert not np.allclose(part.features(data, every)[rows], data.seen.features[rows])


def test_a_merged_low_rank_change_is_the_same_function() -> None:
    """One convolution instead of three."""
    torch.manual_seed(0)
    layer = encoder.LowRank(torch.nn.Conv2d(6, 9, 1, bias=False), 2)
    layer.up.data.normal_()
    x = torch.randn(2, 6, 3, 3)
    with torch.inference_mode():
        before = layer(x)
        assert torch.allclose(before, layer.merged()(x), atol=1e-5)


def test_patients_and_pictures_stay_on_one_side(data: Inputs, pairs: list[Pair]) -> None:
    """In every fold; a split by row is found out."""
    fold = splits.folds(data.positive, data.patient, 5, 1)
    for one in range(fold.max() + 1):
        splits.check_apart(pairs, fold == one)
    with pytest.raises(StackError, match="same patient"):
        splits.check_apart(pairs, np.arange(len(pairs)) % 2 == 0)
    shared = [replace(pair, digest="same") for pair in pairs]
    with pytest.raises(StackError, match="same picture"):
        splits.check_apart(shared, fold == 0)


def test_many_patients_have_a_fifth_held_out() -> None:
    """Whole patients, about a fifth of them; few have none."""
    patient = np.repeat([f"p{n}" for n in range(300)], 2)
    positive = np.repeat(np.arange(300) % 3 == 0, 2)
    test = splits.held_out(positive, patient, 1)

    assert test is not None
    assert 0.15 < test.mean() < 0.25
    assert not set(patient[test]) & set(patient[~test])
    assert splits.held_out(positive[:200], patient[:200], 1) is None


def test_any_part_may_be_missing_altogether(pairs: list[Pair], tmp_path: Path) -> None:
    """No picture in the manifest: learned from the rest, and the file has no input for pictures."""
    blind = [replace(pair, picture=None, digest=None, observations=pair.observations or (Observed("lactate", 1.0, 0.0),)) for pair in pairs]
    folder, metrics = build(blind, audit(manifest(blind)), Site("made up", tmp_path, Recipe(), SIDE))

    assert json.loads((folder / "reference.json").read_text())["side"] is None
    assert "image alone" not in metrics["results"]["auc_by_input"]
    assert metrics["join"]["image"] == 0


def test_one_class_is_refused_before_anything_is_looked_at(pairs: list[Pair], tmp_path: Path) -> None:
    """Nothing is written."""
    sick = [pair for pair in pairs if pair.outcome]
    with pytest.raises(StackError, match="too few"):
        build(sick, audit(manifest(sick)), Site("made up", tmp_path / "out", Recipe(), SIDE))
    assert not (tmp_path / "out").exists()


def test_eight_patients_are_enough_to_run(tmp_path: Path) -> None:
    """Four of each class: figures with an interval as wide as they deserve."""
    few = [pair for pair in made_up(8) if pair.observations]
    data = gather(few, shipped_model(), SIDE)
    tested = evaluation.cross_validated(data, few, Recipe(), lambda done, of: None)
    results = evaluation.report(data, few, tested)

    assert np.isfinite(tested.probability).all()
    low, high = results["auc_by_input_95"]["fused"]
    assert 0 <= low <= high <= 1


def test_pictures_are_looked_at_once(pairs: list[Pair], data: Inputs, tmp_path: Path) -> None:
    """The second time they come out of the cache, the same."""
    seen = gather(pairs[:6], shipped_model(), SIDE, tmp_path).seen
    kept = sorted(tmp_path.glob("*.npz"))
    again = gather(
        [replace(pair, picture=None if pair.picture is None else pair.picture * 0) for pair in pairs[:6]], shipped_model(), SIDE, tmp_path
    )

    assert len(kept) == int(data.has_image[:6].sum())
    assert np.array_equal(seen.maps, again.seen.maps)
    assert np.allclose(seen.features, data.seen.features[:6], atol=1e-5)


def test_the_verdict_goes_by_the_interval() -> None:
    """A gain is one whose interval leaves out 0."""
    figures = {"fused": 0.9, "image alone": 0.85, "values alone": 0.7, "projection alone": 0.65}
    metrics = {
        "patients": 500,
        "patients_with_outcome": 90,
        "auc_by_input": figures,
        "auc_by_input_95": {"fused": (0.8, 0.95)},
        "fused_minus_95": {"image alone": (0.01, 0.09), "projection alone": (-0.02, 0.4)},
    }
    assert "Fusion shows a gain over image alone" in verdict.sentences(metrics)[0]
    assert "not shown to go beyond" in verdict.sentences(metrics)[1]
    metrics["fused_minus_95"] = {"image alone": (-0.01, 0.09), "projection alone": (0.1, 0.4)}
    assert "Fusion shows no gain over image alone at 500 patients" in verdict.sentences(metrics)[0]
