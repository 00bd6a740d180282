"""Writes network, trees and calibration as one ONNX graph that any onnxruntime since 1.17 and Triton since 24.01 can run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from pipeline.domain import features
from pipeline.domain.model_answer import OUTPUTS
from pipeline.models.artefacts import without_traces
from pipeline.models.clinical import trees
from pipeline.models.clinical.ensemble import Answer, Questions
from pipeline.models.onnx_export import IR_VERSION, OPSET, exported

_BEFORE = ("network_logits", "variants", "there", "novelty")


def export(questions: Questions, boosters: Sequence[Any], answer: Answer, target: Path, version: str) -> None:
    """Input `features` float32 [batch, n], NaN = absent; OUTPUTS [batch, 1], but contributions [batch, groups]."""
    rows = 3
    asked = torch.from_numpy(np.full((rows, len(features.NAMES)), np.nan, dtype=np.float32))
    with torch.no_grad():
        network, variants, there, _ = questions(asked)
    before = exported(questions, (asked,), ("features",), _BEFORE, {"x": {0: torch.export.Dim("batch", min=1)}})
    forest = trees.to_onnx(boosters, len(features.NAMES), OPSET)
    forest.ir_version = before.ir_version
    of_trees = torch.zeros((len(variants), len(boosters)))
    dynamic = {name: {0: torch.export.Dim.AUTO} for name in ("network", "trees", "there")}
    after = exported(answer, (network, of_trees, there), ("network_logits", "tree_logits", "there"), OUTPUTS[:3], dynamic)
    graph = _joined(before, forest, after)
    onnx.helper.set_model_props(graph, {"model_version": version, "feature_layout": str(features.LAYOUT_VERSION)})
    without_traces(graph.graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, target)


def _joined(before: onnx.ModelProto, forest: onnx.ModelProto, after: onnx.ModelProto) -> onnx.ModelProto:
    """`before`, then the trees on its variants, then `after` on what both said."""
    kept = [name for name in _BEFORE if name != "variants"]
    after = onnx.compose.add_prefix(after, "after_", rename_inputs=False, rename_outputs=False)
    for model in (before, forest, after):
        model.ir_version = IR_VERSION
        del model.graph.value_info[:]
        del model.functions[:]
    _same_opsets(before, forest, after)
    asked = onnx.compose.merge_models(before, forest, io_map=[("variants", "variants")], outputs=[*kept, "tree_logits"])
    joined = onnx.compose.merge_models(
        asked, after, io_map=[(name, name) for name in ("network_logits", "tree_logits", "there")], outputs=list(OUTPUTS)
    )
    joined.ir_version, joined.producer_name = IR_VERSION, "readfirst"
    return joined


def _same_opsets(*models: onnx.ModelProto) -> None:
    for model in models:
        del model.opset_import[:]
        model.opset_import.extend([onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", trees.ML_OPSET)])
