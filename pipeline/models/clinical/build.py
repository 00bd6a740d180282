"""From the data folder to a finished artefact: train, export, test, describe."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import torch

from pipeline.adapters.onnx.artefact import MODEL_FILE, REFERENCE_FILE, load
from pipeline.adapters.onnx.scorer import OnnxModel
from pipeline.domain import features
from pipeline.domain.model_answer import ModelReference
from pipeline.models.clinical import card, evaluation
from pipeline.models.clinical.dataset import Matrix, at_end, at_random_times
from pipeline.models.clinical.export import OPSET, export
from pipeline.models.clinical.network import CalibratedRisk, count_parameters
from pipeline.models.clinical.physionet import CITATION, LEFT_OUT, Stay, stays
from pipeline.models.clinical.training import Progress, Recipe, train

MODEL = "clinical_risk"
VERSION = "1"
METRICS_FILE = "metrics.json"
CARD_FILE = "CARD.md"

Step = Callable[[str], None]
"""Told what begins."""


def build(
    data: Path, out: Path, recipe: Recipe, step: Step = lambda what: None, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """Writes the model, its reference, metrics and card into `out`, and returns the metrics. Raises NotFound without data."""
    step("reading set a")
    training = list(stays(data, "a"))
    examples = at_random_times(training, recipe.cuts, recipe.seed)
    step("training")
    model = train(examples, recipe, progress).model
    step("exporting")
    out.mkdir(parents=True, exist_ok=True)
    export(model, out / MODEL_FILE, VERSION)
    reference = _reference(model, (out / MODEL_FILE).read_bytes())
    (out / REFERENCE_FILE).write_bytes(_pretty(reference))
    step("testing on set b")
    figures = _describe(training, list(stays(data, "b")), model, OnnxModel(load(out)), recipe)
    (out / METRICS_FILE).write_bytes(_pretty(figures))
    (out / CARD_FILE).write_text(card.render(figures, reference))
    return figures


def _describe(training: Sequence[Stay], test: Sequence[Stay], model: CalibratedRisk, shipped: OnnxModel, recipe: Recipe) -> dict[str, Any]:
    end = at_end(test)
    return {
        "task": "physionet2012",
        "outcome": card.OUTCOME,
        "citation": CITATION,
        "left_out": LEFT_OUT,
        "n_train": len(training),
        "deaths_train": sum(stay.died for stay in training),
        "parameters": count_parameters(model.parameters()),
        "recipe": asdict(recipe),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "onnxruntime": onnxruntime.__version__},
        "opset": OPSET,
        "onnx_max_difference": _difference(model, shipped, end.x[:500]),
        **evaluation.report(test, evaluation.predictor(shipped)),
        "shortcuts": evaluation.shortcuts(at_end(training), end, test),
    }


def _difference(model: CalibratedRisk, shipped: OnnxModel, x: Matrix) -> float:
    with torch.no_grad():
        ours = model(torch.from_numpy(x))
    return max(float(np.abs(mine.numpy() - theirs).max()) for mine, theirs in zip(ours, shipped.run(x), strict=True))


def _reference(model: CalibratedRisk, onnx: bytes) -> ModelReference:
    low, width = model.network.low.numpy(), model.network.width.numpy()
    used = [row < 1e29 for row in low]
    limits = {
        name: (round(float(edges[0]), 5), round(float((edges + steps)[there][-1]), 5))
        for name, edges, steps, there in zip(features.NAMES, low, width, used, strict=True)
    }
    slope, intercept = model.platt.tolist()
    return ModelReference(
        model=MODEL,
        version=VERSION,
        outcome=card.OUTCOME,
        layout=features.LAYOUT_VERSION,
        features=features.NAMES,
        groups=features.GROUPS,
        limits=limits,
        calibration=(round(slope, 5), round(intercept, 5)),
        sha256=hashlib.sha256(onnx).hexdigest(),
    )


def _pretty(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
