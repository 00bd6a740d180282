"""Writes a head as one ONNX graph with its weights in half precision, which any onnxruntime since 1.17 widens again as it loads."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from pipeline.models.artefacts import without_traces
from pipeline.models.imaging.network import Encoder, ImageHead
from pipeline.models.onnx_export import IR_VERSION, exported

INPUT = "image"
OUTPUTS = ("findings", "unlikeness", "activation", "features", "spread")
_WORTH_HALVING = 1024
"""Numbers; smaller tensors stay as they are, biases and scales among them."""


def to_onnx(head: ImageHead, side: int, version: str) -> bytes:
    """Input uint8 [batch, side, side]; outputs as ImageHead.forward says."""
    sample, batch = (torch.zeros((3, side, side), dtype=torch.uint8),), {"image": {0: torch.export.Dim("batch", min=1)}}
    graph = exported(head, sample, [INPUT], OUTPUTS, batch)
    graph.ir_version = IR_VERSION
    graph.producer_name = "readfirst"
    halve(graph.graph)
    without_traces(graph.graph)
    helper.set_model_props(graph, {"model_version": version})
    onnx.checker.check_model(graph, full_check=True)
    body: bytes = graph.SerializeToString()
    return body


def round_weights(encoder: Encoder) -> None:
    """To the very weights that the file will hold, in place: whatever is fitted on its answers is fitted afterwards."""
    for parameter in encoder.parameters():
        if parameter.numel() >= _WORTH_HALVING:
            parameter.data = parameter.data.half().float()


def halve(graph: onnx.GraphProto) -> None:
    """Large float32 initializers become float16 with a cast behind them."""
    casts = []
    for tensor in graph.initializer:
        # The encoder's alone: four dimensions. Read-outs and the check were fitted in full precision.
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < _WORTH_HALVING or len(tensor.dims) != 4:
            continue
        name, half = tensor.name, numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}_half")
        tensor.CopyFrom(half)
        casts.append(helper.make_node("Cast", [half.name], [name], name=f"widen_{name}", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
