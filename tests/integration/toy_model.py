"""A smallest Triton model: the python backend adds one to its input."""

from __future__ import annotations

from pathlib import Path

_CONFIG = """\
name: "plus_one"
backend: "python"
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [ 1 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ 1 ] }]
"""
_MODEL = """\
import numpy as np
import onnxruntime  # the backend's environment must hold it
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", x + np.float32(1))]))
        return answers
"""


def build(target: Path) -> None:
    """Write the model repository."""
    version = target / "plus_one" / "1"
    version.mkdir(parents=True, exist_ok=True)
    (version.parent / "config.pbtxt").write_text(_CONFIG)
    (version / "model.py").write_text(_MODEL)


def ask(url: str, x: float) -> float:
    """The model's answer over gRPC."""
    import numpy as np
    from tritonclient.grpc import InferenceServerClient, InferInput

    question = InferInput("x", [1, 1], "FP32")
    question.set_data_from_numpy(np.array([[x]], dtype=np.float32))
    client = InferenceServerClient(url)
    try:
        return float(client.infer("plus_one", [question], client_timeout=60).as_numpy("y")[0][0])
    finally:
        client.close()
