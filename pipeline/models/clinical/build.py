"""From the data folder to a finished artefact: train, export, test, describe."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.adapters.onnx.artefact import DISTRIBUTION_FILE, REFERENCE_FILE, load
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.adapters.onnx.weights import MODEL_FILE
from pipeline.domain import features
from pipeline.domain.model_answer import ModelReference
from pipeline.models.artefacts import pretty
from pipeline.models.clinical import card, eicu, evaluation, rivals, trees
from pipeline.models.clinical.dataset import Examples, Matrix, at_end, at_random_times
from pipeline.models.clinical.distribution import distribution
from pipeline.models.clinical.ensemble import Answer, Questions
from pipeline.models.clinical.export import export
from pipeline.models.clinical.network import count_parameters, limits
from pipeline.models.clinical.physionet import CITATION, LEFT_OUT, Stay, stays
from pipeline.models.clinical.recipe import Recipe
from pipeline.models.clinical.training import Progress, Trained, train
from pipeline.models.onnx_export import OPSET

MODEL = "clinical_risk"
VERSION = "2"
METRICS_FILE = "metrics.json"
CARD_FILE = "CARD.md"
_VERSIONS = ("torch", "lightgbm", "onnxruntime")

Step = Callable[[str], None]
"""Told what begins."""


@dataclass(frozen=True, slots=True)
class _Made:
    """What training left: both parts, and the two modules that the graph was exported from."""

    trained: Trained
    questions: Questions
    answer: Answer

    def ask(self, x: Matrix) -> tuple[NDArray[np.floating], ...]:
        """As the graph answers, by torch and LightGBM."""
        with torch.no_grad():
            network, variants, there, novelty = self.questions(torch.from_numpy(x))
            of_trees = torch.from_numpy(trees.logits(self.trained.boosters, variants.numpy()))
            return *(part.numpy() for part in self.answer(network, of_trees, there)), novelty.numpy()


def build(
    data: Path, out: Path, recipe: Recipe, step: Step = lambda what: None, progress: Progress = lambda what, done, of: None
) -> dict[str, Any]:
    """Writes the model, its reference, metrics and card into `out`, and returns the metrics. Raises NotFound without data."""
    step("reading set a")
    training = list(stays(data, "a"))
    examples = at_random_times(training, recipe.cuts, recipe.seed)
    step("training")
    made = _made(train(examples, recipe, progress), examples, recipe)
    step("exporting")
    out.mkdir(parents=True, exist_ok=True)
    export(made.questions, made.trained.boosters, made.answer, out / MODEL_FILE, VERSION)
    reference = _reference(made, (out / MODEL_FILE).read_bytes())
    (out / REFERENCE_FILE).write_bytes(pretty(reference))
    shipped = OnnxModel(load(out))
    step("keeping what it was made on")
    made_on = distribution(examples.x, evaluation.predictor(shipped)(examples.x))
    (out / DISTRIBUTION_FILE).write_bytes(msgspec.json.encode(made_on) + b"\n")
    step("testing on set b")
    figures = _described(training, examples, list(stays(data, "b")), made, shipped, recipe)
    if (data / eicu.FOLDER).is_dir():
        step("testing on eICU")
        figures["eicu"] = {"citation": eicu.CITATION, **evaluation.external(eicu.stays(data), evaluation.predictor(shipped))}
    (out / METRICS_FILE).write_bytes(pretty(figures))
    (out / CARD_FILE).write_text(card.render(figures, reference))
    return figures


def _made(trained: Trained, examples: Examples, recipe: Recipe) -> _Made:
    return _Made(trained, Questions(trained.network, limits(examples.x, recipe.bins)).eval(), Answer(trained.weights).eval())


def _described(
    training: Sequence[Stay], examples: Examples, test: Sequence[Stay], made: _Made, shipped: OnnxModel, recipe: Recipe
) -> dict[str, Any]:
    end, end_training = at_end(test), at_end(training)
    probability = evaluation.predictor(shipped)(end.x)
    return {
        "task": "physionet2012",
        "outcome": card.OUTCOME,
        "citation": CITATION,
        "left_out": LEFT_OUT,
        "n_train": len(training),
        "deaths_train": sum(stay.died for stay in training),
        "parameters": count_parameters(made.trained.network.parameters()),
        "trees": len(made.trained.boosters) * recipe.rounds,
        "recipe": asdict(recipe),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}},
        "opset": OPSET,
        "onnx_max_difference": _difference(made, shipped, end.x[:500]),
        **evaluation.report(test, shipped),
        "rivals_on_a": rivals.on_training(made.trained, examples, recipe),
        "rivals_on_b": rivals.on_test(made.trained, examples, end, probability),
        "whole_series_on_b": rivals.whole_series(training, test, recipe),
        "shortcuts": evaluation.shortcuts(end_training, end, test),
    }


def _difference(made: _Made, shipped: OnnxModel, x: Matrix) -> float:
    return max(float(np.abs(mine - theirs).max()) for mine, theirs in zip(made.ask(x), shipped.run(x), strict=True))


def _reference(made: _Made, onnx: bytes) -> ModelReference:
    joining = zip(("network", "trees", "intercept"), made.trained.weights.tolist(), strict=True)
    edges = made.questions.limits.tolist()
    return ModelReference(
        model=MODEL,
        version=VERSION,
        outcome=card.OUTCOME,
        layout=features.LAYOUT_VERSION,
        features=features.NAMES,
        groups=features.GROUPS,
        limits={name: (round(low, 5), round(high, 5)) for name, (low, high) in zip(features.NAMES, edges, strict=True)},
        calibration={name: tuple(round(weight, 5) for weight in weights) for name, weights in joining},
        sha256=hashlib.sha256(onnx).hexdigest(),
    )
