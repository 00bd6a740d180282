"""Writes the trained network as one ONNX graph that any onnxruntime since 1.17 and Triton since 24.01 can run."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

from pipeline.domain import features
from pipeline.models.clinical.network import CalibratedRisk

OPSET = 18
IR_VERSION = 9


def export(model: CalibratedRisk, target: Path, version: str) -> None:
    """Input `features` float32 [batch, n], NaN = absent; outputs `risk` [batch, 1] and `contributions` [batch, groups]."""
    graph = onnx.load_from_string(_to_onnx(model))
    graph.ir_version = IR_VERSION
    graph.producer_name = "readfirst"
    onnx.helper.set_model_props(graph, {"model_version": version, "feature_layout": str(features.LAYOUT_VERSION)})
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, target)


def _to_onnx(model: CalibratedRisk) -> bytes:
    sample = torch.from_numpy(np.full((3, len(features.NAMES)), np.nan, dtype=np.float32))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model.eval(),
            (sample,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["features"],
            output_names=["risk", "contributions"],
            dynamic_shapes={"x": {0: torch.export.Dim("batch", min=1)}},
            verbose=False,
        )
    assert program is not None
    program.save(buffer)
    return buffer.getvalue()
