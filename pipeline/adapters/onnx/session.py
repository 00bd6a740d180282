"""A graph as onnxruntime opens it."""

from __future__ import annotations

import onnxruntime as ort

from pipeline.errors import StackError


def opened(onnx: bytes, threads: int = 1) -> ort.InferenceSession:
    """By default on one thread, since the worker has other things to do. Raises StackError for what is no graph, or another release's."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # it warns of every input that has a default, and a fine-tuned version's all have but one
    try:
        return ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise StackError(f"onnxruntime cannot open the model: {error}", "write it again with this release of Readfirst") from error
