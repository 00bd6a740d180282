"""Torch modules as ONNX graphs, in the one version of the format that all our model files have."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn

OPSET = 18
IR_VERSION = 9
"""Read by any onnxruntime since 1.17, and so by Triton since 24.01."""


def exported(module: nn.Module, sample: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str], dynamic: Any) -> onnx.ModelProto:
    """dynamic: which dimensions of the inputs may vary, as torch.onnx.export's `dynamic_shapes`."""
    buffer = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which nothing here uses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            sample,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic,
            verbose=False,
        )
    assert program is not None
    program.save(buffer)
    return onnx.load_from_string(buffer.getvalue())
